"""SMTP logins: create (the secret is shown once), change, rotate with overlap, revoke, release a blown fuse."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages as notes
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway.control import credentials
from gateway.models import Credential
from portal.access import access_credential, access_customer, actor, page
from portal.customer.client_configs import client_configs
from portal.customer.stopped import held_mail, in_words
from portal.forms import LinesField, add_errors

OVERLAPS = [
    (0, gettext_lazy("end at once")),
    (24, gettext_lazy("1 day")),
    (72, gettext_lazy("3 days")),
    (168, gettext_lazy("7 days")),
]


class CredentialForm(forms.Form):
    username = forms.CharField(
        label=gettext_lazy("User name"), max_length=100,
        help_text=gettext_lazy("Letters, digits and . _ @ + - only; unique among all customers: begin with your name."),
    )  # fmt: skip
    label = forms.CharField(
        label=gettext_lazy("Used by"), max_length=200, required=False,
        help_text=gettext_lazy("Which server or program: one login each makes it easy to stop a single one."),
    )  # fmt: skip
    networks = LinesField(
        label=gettext_lazy("Only from these networks"), required=False,
        help_text=gettext_lazy("One per line, like 192.0.2.10 or 192.0.2.0/28. Empty: from anywhere."),
    )  # fmt: skip
    senders = LinesField(
        label=gettext_lazy("Only these senders"), required=False,
        help_text=gettext_lazy("Addresses or domains, one per line. Empty: all your proven domains."),
    )  # fmt: skip
    expires_at = forms.DateTimeField(
        label=gettext_lazy("Expires"), required=False,
        widget=forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"], help_text=gettext_lazy("Empty: never."),
    )  # fmt: skip


class ChangeForm(CredentialForm):
    username = None  # type: ignore[assignment]


class RotateForm(forms.Form):
    overlap_h = forms.TypedChoiceField(
        label=gettext_lazy("The old secret stays valid for"), choices=OVERLAPS, coerce=int, initial=24,
    )  # fmt: skip


@page("GET")
def credential_list(request: HttpRequest) -> HttpResponse:
    customer = access_customer(request)
    now = timezone.now()
    rows = [(row, state_of(row, now)) for row in customer.credentials.order_by("block", "username")]
    fused = [row for row, _state in rows if row.block == Credential.Block.FUSE]
    context = {"rows": rows, "networks": customer.networks.all(), "stopped": in_words(customer, fused)}
    return render(request, "customer/credentials.html", context)


@page("GET", "POST")
def credential_add(request: HttpRequest) -> HttpResponse:
    customer = access_customer(request, write=True)
    form = CredentialForm(request.POST or None, initial={"username": suggested_name(customer.slug)})
    if request.method == "POST" and form.is_valid():
        try:
            credential, secret = credentials.create(customer, actor=actor(request), **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
        else:
            return _show_secret(request, credential, secret)
    return render(request, "customer/credential_add.html", {"form": form}, status=400 if form.errors else 200)


@page("GET", "POST")
def credential_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One login with its configurations; POST changes it."""
    credential = access_credential(request, pk, write=request.method == "POST")
    form = ChangeForm(request.POST or None, initial=_initial(credential))
    if request.method == "POST" and form.is_valid():
        try:
            credentials.change(credential, actor=actor(request), **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
            credential.refresh_from_db()
        else:
            notes.success(request, _("Saved. The relay knows it within a second."))
            return redirect("credential", pk=credential.pk)
    is_fused = credential.block == Credential.Block.FUSE
    context = {
        "credential": credential,
        "state": state_of(credential, timezone.now()),
        "stopped": in_words(credential.customer, [credential])[0] if is_fused else None,
        "held": held_mail(credential).rows().count(),
        "form": form,
        # A secret that may be stolen must not stay good for a day.
        "rotate_form": RotateForm(initial={"overlap_h": 0} if is_fused else None),
        "configs": client_configs(credential),
    }
    return render(request, "customer/credential.html", context, status=400 if form.errors else 200)


@page("POST")
def credential_rotate(request: HttpRequest, pk: int) -> HttpResponse:
    credential = access_credential(request, pk, write=True)
    form = RotateForm(request.POST)
    try:
        overlap_h = form.cleaned_data["overlap_h"] if form.is_valid() else credentials.OVERLAP_H
        secret = credentials.rotate(credential, actor=actor(request), overlap_h=overlap_h)
    except ValidationError as error:
        notes.error(request, " ".join(error.messages))
        return redirect("credential", pk=credential.pk)
    return _show_secret(request, credential, secret)


@page("GET", "POST")
def credential_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    credential = access_credential(request, pk, write=True)
    if request.method == "POST":
        credentials.revoke(credential, actor=actor(request))
        notes.success(
            request, _("%(name)s is revoked; running sessions end.") % {"name": credential.username}
        )
        return redirect("access")
    return render(request, "customer/credential_revoke.html", {"credential": credential})


@page("POST")
def credential_release(request: HttpRequest, pk: int) -> HttpResponse:
    """After the abuse fuse: the owner has looked, perhaps rotated, and lets the login send again."""
    credential = access_credential(request, pk, write=True)
    if credentials.release_fuse(credential, actor=actor(request)):
        notes.success(request, _("%(name)s may send again.") % {"name": credential.username})
    return redirect("credential", pk=credential.pk)


def state_of(credential: Credential, now: Any) -> str:
    if credential.block:
        return credential.block
    return "expired" if credential.expires_at and credential.expires_at <= now else ""


def suggested_name(slug: str) -> str:
    number = 1
    while Credential.objects.filter(username__iexact=f"{slug}-mail{number}").exists():
        number += 1
    return f"{slug}-mail{number}"


def _initial(credential: Credential) -> dict[str, Any]:
    expires = timezone.localtime(credential.expires_at) if credential.expires_at else None
    shared = {name: getattr(credential, name) for name in ("label", "networks", "senders")}
    return shared | {"expires_at": expires}


def _show_secret(request: HttpRequest, credential: Credential, secret: str) -> HttpResponse:
    """The only page that ever shows it; it is an answer to a POST, so going back does not bring it again."""
    context = {"credential": credential, "secret": secret, "configs": client_configs(credential, secret)}
    return render(request, "customer/credential_secret.html", context)
