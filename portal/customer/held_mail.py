"""What the abuse fuse holds of one login: look, narrow down, release or delete. Counted before anything is done."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages as notes
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from gateway.control.queue_filter import apply, touched
from gateway.models import Credential, Recipient
from portal.access import access_credential, access_customer, actor, page
from portal.customer.stopped import held_mail

LISTED = 50
TOP = 10
POOLS = [("", gettext_lazy("any")), ("good", gettext_lazy("Good")), ("bad", gettext_lazy("Bad"))]


class HeldFilter(forms.Form):
    """What tells a thief's mail from one's own; every field may be empty, the values stand in the URL."""

    client_ip = forms.GenericIPAddressField(label=gettext_lazy("Handed over from"), required=False)
    sender_domain = forms.CharField(label=gettext_lazy("Sender domain"), max_length=255, required=False)
    destination = forms.CharField(label=gettext_lazy("Recipient domain"), max_length=255, required=False)
    pool = forms.ChoiceField(label=gettext_lazy("Pool"), choices=POOLS, required=False)
    older_than_h = forms.IntegerField(
        label=gettext_lazy("Older than hours"), min_value=1, max_value=10_000, required=False
    )


@page("GET")
def held_list(request: HttpRequest, pk: int) -> HttpResponse:
    credential = access_credential(request, pk)
    form = HeldFilter(request.GET or None)
    rows = _rows(credential, form)
    context = {
        "credential": credential,
        "form": form,
        "filtered": any(request.GET.values()),
        "number": rows.count(),
        "servers": _top(rows, "message__client_ip"),
        "domains": _top(rows, "domain"),
        "rows": rows.select_related("message").order_by("message_id")[:LISTED],
        "listed": LISTED,
    }
    return render(request, "customer/held_mail.html", context, status=400 if form.errors else 200)


@page("GET", "POST")
def held_release(request: HttpRequest, pk: int) -> HttpResponse:
    return _act(request, pk, "release")


@page("GET", "POST")
def held_delete(request: HttpRequest, pk: int) -> HttpResponse:
    return _act(request, pk, "cancel")


def _act(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """GET counts what the verb means right now; POST does it."""
    access_customer(request, write=True)
    credential = access_credential(request, pk, write=True)
    form = HeldFilter(request.GET or None)
    back = f"{reverse('credential_held', args=[pk])}?{request.GET.urlencode()}"
    if form.errors:  # never more than what was asked for
        return redirect(back)
    rows = _rows(credential, form)
    if request.method == "POST":
        _tell(request, apply(verb, rows, actor=actor(request)))
        return redirect("credential_held", pk=pk)
    context = {"credential": credential, "verb": verb, "number": touched(verb, rows).count(), "back": back}
    return render(request, "customer/held_mail_verb.html", context | {"domains": _top(rows, "domain")})


def _rows(credential: Credential, form: HeldFilter) -> QuerySet[Recipient]:
    values: dict[str, Any] = form.cleaned_data if form.is_bound and form.is_valid() else {}
    return held_mail(credential, **values).rows()


def _top(rows: QuerySet[Recipient], field: str) -> list[dict[str, Any]]:
    """The values with the most recipients: [{value, number}]."""
    grouped = rows.order_by().values_list(field).annotate(number=Count("pk")).order_by("-number")[:TOP]
    return [{"value": value, "number": number} for value, number in grouped]


def _tell(request: HttpRequest, changed: int) -> None:
    if not changed:
        notes.warning(request, _("There was nothing left to do: the state has changed in the meantime."))
        return
    text = ngettext("Done for %(number)s recipient.", "Done for %(number)s recipients.", changed)
    notes.success(request, text % {"number": changed})
