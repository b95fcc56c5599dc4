"""Questions to support, and consent: who of support may look at subjects and bodies, and who did."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages as notes
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway.models import Message
from portal import consent, support_requests
from portal.access import MAX_ID, access_customer, access_message, actor, page
from portal.csv_export import csv_response
from portal.customer.keyset import keyset_page
from portal.forms import add_errors
from portal.models import SupportRequest

HOURS = [
    (1, gettext_lazy("1 hour")), (8, gettext_lazy("8 hours")), (24, gettext_lazy("1 day")),
    (168, gettext_lazy("7 days")),
]  # fmt: skip


class RequestForm(forms.Form):
    subject = forms.CharField(label=gettext_lazy("Subject"), max_length=200)
    topic = forms.ChoiceField(label=gettext_lazy("About"), choices=SupportRequest.Topic.choices)
    text = forms.CharField(
        label=gettext_lazy("Your question"),
        max_length=support_requests.LONGEST_TEXT,
        widget=forms.Textarea({"rows": 7}),
    )
    message = forms.CharField(
        label=gettext_lazy("Message id"), max_length=13, required=False,
        help_text=gettext_lazy("If it is about one message: the id from its page or from the reply “queued as …”."),
    )  # fmt: skip


class ReplyForm(forms.Form):
    text = forms.CharField(
        label=gettext_lazy("Your reply"),
        max_length=support_requests.LONGEST_TEXT,
        widget=forms.Textarea({"rows": 5}),
    )


class GrantForm(forms.Form):
    hours = forms.TypedChoiceField(label=gettext_lazy("For how long"), choices=HOURS, coerce=int, initial=8)
    message = forms.CharField(
        label=gettext_lazy("Message id"),
        max_length=13,
        required=False,
        help_text=gettext_lazy("Empty: all your messages."),
    )
    reason = forms.CharField(label=gettext_lazy("Note"), max_length=500, required=False)


@page("GET")
def request_list(request: HttpRequest) -> HttpResponse:
    customer = access_customer(request)
    found = keyset_page(customer.support_requests.all(), request.GET.get("before", ""))
    return render(request, "customer/requests/list.html", {"found": found})


@page("GET", "POST")
def request_add(request: HttpRequest) -> HttpResponse:
    customer = access_customer(request, write=True)
    form = RequestForm(request.POST or None, initial={"message": request.GET.get("message", "")})
    if request.method == "POST" and form.is_valid():
        try:
            values = form.cleaned_data | {"message": _message(request, form.cleaned_data["message"])}
            made = support_requests.create(customer, actor=actor(request), **values)
        except ValidationError as error:
            add_errors(form, error)
        else:
            notes.success(request, _("Support has it. You are answered within a working day."))
            return redirect("support_request", pk=made.pk)
    return render(request, "customer/requests/add.html", {"form": form}, status=400 if form.errors else 200)


@page("GET", "POST")
def request_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """The conversation; POST adds a word."""
    found = access_request(request, pk, write=request.method == "POST")
    form = ReplyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        support_requests.reply(found, text=form.cleaned_data["text"], actor=actor(request))
        return redirect("support_request", pk=found.pk)
    context = {"found": found, "replies": found.replies.filter(internal=False), "form": form}
    return render(request, "customer/requests/detail.html", context, status=400 if form.errors else 200)


@page("POST")
def request_close(request: HttpRequest, pk: int) -> HttpResponse:
    found = access_request(request, pk, write=True)
    support_requests.close(found, actor=actor(request))
    notes.success(request, _("The request is closed. A reply opens it again."))
    return redirect("support_requests")


@page("GET", "POST")
def consent_page(request: HttpRequest) -> HttpResponse:
    """Grants and the log of looks; POST gives leave."""
    customer = access_customer(request, write=request.method == "POST")
    form = GrantForm(request.POST or None, initial={"message": request.GET.get("message", "")})
    if request.method == "POST" and form.is_valid():
        try:
            values = form.cleaned_data | {"message": _message(request, form.cleaned_data["message"])}
            consent.grant(customer, actor=actor(request), **values)
        except ValidationError as error:
            add_errors(form, error)
        else:
            notes.success(
                request, _("Support may look until the time is over. You can take it back at any time.")
            )
            return redirect("consent")
    context = {
        "form": form,
        "grants": customer.content_grants.all()[:50],
        "found": keyset_page(customer.content_looks.select_related("grant"), request.GET.get("before", "")),
        "broken": consent.broken_link(customer),
    }
    return render(request, "customer/requests/consent.html", context, status=400 if form.errors else 200)


@page("POST")
def consent_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    customer = access_customer(request, write=True)
    consent.revoke(get_object_or_404(customer.content_grants, pk=min(pk, MAX_ID)), actor=actor(request))
    notes.success(request, _("Support may not look any more."))
    return redirect("consent")


@page("GET")
def consent_csv(request: HttpRequest) -> HttpResponseBase:
    customer = access_customer(request)
    looks = customer.content_looks.select_related("grant").order_by("id").iterator()
    rows = (
        [
            row.at.isoformat(),
            row.who,
            row.text_id,
            row.what,
            row.grant.kind,
            row.grant.reason,
            row.previous,
            row.hash,
        ]
        for row in looks
    )
    head = ["time", "who", "message", "what", "grant", "reason", "previous", "hash"]
    return csv_response("looks.csv", head, rows)


def access_request(request: HttpRequest, pk: int, *, write: bool = False) -> SupportRequest:
    customer = access_customer(request, write=write)
    return get_object_or_404(customer.support_requests.select_related("customer"), pk=min(pk, MAX_ID))


def _message(request: HttpRequest, text: str) -> Message | None:
    """The customer's message of this id, None for ''. Raises ValidationError."""
    if not text:
        return None
    try:
        return access_message(request, text.strip())
    except Http404:
        problem: dict[str, Any] = {"message": _("There is no such message.")}
        raise ValidationError(problem) from None
