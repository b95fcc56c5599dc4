"""Search over all customers' messages: metadata only. Subject and content by consent, each look written down."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta

from django import forms
from django.contrib import messages as notes
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway.control.content import read_body
from gateway.models import Customer, Message, Recipient
from gateway.rules.ids import from_text
from portal import consent
from portal.access import actor
from portal.customer.message_rows import SOME_RECIPIENTS, Row, rows_of
from portal.forms import add_errors
from portal.models import ContentLook
from portal.support.base import RANGE_CHOICES, RANGES, TooSlowError, bounded, id_since, staff_page

MOST = 100
MOST_CUSTOMERS = 2000
SHOWN_CHARS = 64 * 1024


class SearchForm(forms.Form):
    q = forms.CharField(
        label=gettext_lazy("Id, address, domain, IP address, Message-ID or text of a remote answer"),
        max_length=300,
    )
    range = forms.ChoiceField(label=gettext_lazy("Time"), choices=RANGE_CHOICES, required=False)


class BreakGlassForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"), min_length=consent.SHORTEST_REASON, max_length=500,
        help_text=gettext_lazy("The customer gets it by mail at once."),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    rows: list[Row]
    problem: str = ""


@staff_page("GET")
def message_search(request: HttpRequest) -> HttpResponse:
    form = SearchForm(request.GET or None)
    found = Found([])
    if form.is_bound and form.is_valid():
        found = search(form.cleaned_data["q"].strip(), RANGES.get(form.cleaned_data["range"], RANGES["24h"]))
    context = {"form": form, "found": found, "searched": form.is_bound, "most": MOST}
    return render(request, "support/messages.html", context)


def search(term: str, span: timedelta) -> Found:
    """The latest messages that fit; an id is found whenever it was."""
    try:
        with bounded():
            return Found(rows_of(_newest(_ids(term, span))))
    except TooSlowError:
        return Found([], _("This takes too long. Choose a shorter time."))


def _newest(ids: set[int]) -> list[Message]:
    rows = Message.objects.filter(pk__in=sorted(ids, reverse=True)[:MOST]).select_related("customer")
    return list(rows.order_by("-id").prefetch_related(SOME_RECIPIENTS))


def _ids(term: str, span: timedelta) -> set[int]:
    """Message ids by what the term is, most exact first."""
    try:
        return {from_text(term)}
    except ValueError:
        pass
    if term.startswith("<") and term.endswith(">"):
        return _messages(Q(message_id=term))
    since = id_since(span)
    if _is_ip(term):
        return _messages(Q(client_ip=term, id__gte=since))
    if "@" in term:
        return _by_address(term, since)
    by_answer = _recipients(Q(text__icontains=term) | Q(remote_host=term.lower()), since)
    if "." not in term or " " in term:
        return by_answer
    domain = term.lower()
    by_sender = _messages(Q(sender_domain=domain, id__gte=since))
    return by_answer | by_sender | _recipients(_everybody() & Q(domain=domain), since)


def _by_address(term: str, since: int) -> set[int]:
    local, _at, domain = term.rpartition("@")
    address = f"{local}@{domain.lower()}"
    everybody = _everybody()
    by_sender = _messages(everybody & Q(sender=address, id__gte=since))
    return by_sender | _recipients(everybody & Q(address=address), since)


def _everybody() -> Q:
    """All customers by name: so the indexes by customer serve a search over all of them."""
    customers = Customer.objects.values_list("pk", flat=True)[:MOST_CUSTOMERS]
    return Q(customer__in=list(customers)) | Q(customer=None)


def _messages(condition: Q) -> set[int]:
    return set(Message.objects.filter(condition).order_by("-id").values_list("id", flat=True)[:MOST])


def _recipients(condition: Q, since: int) -> set[int]:
    rows = Recipient.objects.filter(condition, id__gte=since).order_by("-id")
    return set(rows.values_list("message_id", flat=True)[: 2 * MOST])


def _is_ip(term: str) -> bool:
    try:
        ipaddress.ip_address(term)
    except ValueError:
        return False
    return True


@staff_page("GET")
def message_detail(request: HttpRequest, text_id: str) -> HttpResponse:
    return _page(request, access_message_as_support(text_id))


@staff_page("POST")
def message_look(request: HttpRequest, text_id: str) -> HttpResponse:
    """Show subject or body once. The look is written down before anything is read; without a grant it is 403."""
    message = access_message_as_support(text_id)
    what = ContentLook.What.BODY if "body" in request.POST else ContentLook.What.SUBJECT
    consent.look(message, what=what, actor=actor(request))
    body = read_body(message) if what == ContentLook.What.BODY else None
    text = body[:SHOWN_CHARS].decode("utf-8", "replace") if body is not None else ""
    shown = {
        "what": what,
        "body": text,
        "has_body": body is not None,
        "cut": body is not None and len(body) > SHOWN_CHARS,
    }
    return _page(request, message, looked=shown)


@staff_page("GET", "POST")
def message_break_glass(request: HttpRequest, text_id: str) -> HttpResponse:
    message = access_message_as_support(text_id)
    form = BreakGlassForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            consent.break_glass(message, reason=form.cleaned_data["reason"], actor=actor(request))
        except ValidationError as error:
            add_errors(form, error)
        else:
            notes.warning(request, _("You may look for an hour. The customer was told."))
            return redirect("support_message", text_id=message.text_id)
    context = {"message": message, "form": form}
    return render(request, "support/message_break_glass.html", context, status=400 if form.errors else 200)


def access_message_as_support(text_id: str) -> Message:
    try:
        number = from_text(text_id)
    except ValueError as error:
        raise Http404 from error
    rows = Message.objects.select_related("customer", "credential").defer("subject")
    return get_object_or_404(rows, pk=number)


def _page(request: HttpRequest, message: Message, **extra: object) -> HttpResponse:
    context = {
        "message": message,
        "recipients": message.recipients.select_related("gateway")[:200],
        "attempts": message.attempts.select_related("gateway").order_by("-id")[:100],
        "grant": consent.valid_grant(message, actor(request)),
        "looks": ContentLook.objects.filter(customer=message.customer_id, message_id=message.pk)[:20],
    }
    return render(request, "support/message.html", context | extra)
