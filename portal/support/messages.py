"""Search over all customers' messages: metadata only. Subject and content by consent, each look written down."""

from __future__ import annotations

import heapq
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages as notes
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway.control.content import read_body
from gateway.models import Customer, Message, Recipient
from gateway.rules.ids import from_text
from portal import consent
from portal.access import actor
from portal.customer.message_rows import Page, page_of
from portal.customer.message_search import PAGE_SIZE
from portal.forms import add_errors
from portal.models import ContentLook
from portal.support.base import RANGE_CHOICES, TooSlowError, bounded, id_since, span_of, staff_page
from portal.windows import BUDGET_S, before, gather, too_late, windows

MOST_CUSTOMERS = 2000
PATIENCE_S = 1.0  # of somebody who searches further back
SHOWN_CHARS = 64 * 1024
PLACES = [
    ("", gettext_lazy("everywhere")), ("recipient", gettext_lazy("Recipient")), ("sender", gettext_lazy("Sender")),
    ("answer", gettext_lazy("Remote server and its answer")),
]  # fmt: skip


class SearchForm(forms.Form):
    q = forms.CharField(
        label=gettext_lazy("Id, address, domain, IP address, Message-ID or text of a remote answer"),
        max_length=300,
    )
    where = forms.ChoiceField(label=gettext_lazy("Where to look"), choices=PLACES, required=False)
    range = forms.ChoiceField(label=gettext_lazy("Time"), choices=RANGE_CHOICES, required=False)


class BreakGlassForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"), min_length=consent.SHORTEST_REASON, max_length=500,
        help_text=gettext_lazy("The customer gets it by mail at once."),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """What a search asks of the log; no condition = nothing of that kind fits."""

    messages: Q | None = None
    recipients: Q | None = None
    is_served: bool = False  # by indexes
    anytime: bool = False  # found whenever it was


@staff_page("GET")
def message_search(request: HttpRequest) -> HttpResponse:
    form = SearchForm(request.GET or None)
    found, problem = Page([], ""), ""
    if form.is_bound and form.is_valid():
        asked = question(form.cleaned_data["q"].strip(), form.cleaned_data["where"])
        try:
            with bounded():
                found = search(asked, span_of(request), request.GET.get("before", ""))
        except TooSlowError:
            problem = _("This takes too long. Choose a shorter time.")
    context = {"form": form, "found": found, "problem": problem, "searched": form.is_bound}
    return render(request, "support/messages.html", context)


def search(asked: Question, span: timedelta, cursor: str = "") -> Page:
    """One page of the messages that fit, newest first. Who goes on where the time was up waits longer for more."""
    least = 0 if asked.anytime else id_since(span)
    budget_s = PATIENCE_S if cursor else BUDGET_S
    spans = windows(least, before(cursor, too_late()), at_once=asked.is_served, budget_s=budget_s)
    found = gather(lambda low, high: _look(asked, low, high), spans, least, PAGE_SIZE)
    return page_of(found, Message.objects.select_related("customer"))


def question(term: str, where: str = "") -> Question:
    """`where`: '' everywhere, or 'sender', 'recipient', 'answer'."""
    if where == "answer":
        return Question(recipients=_of_answer(term))
    try:
        return Question(messages=Q(id=from_text(term)), is_served=True, anytime=True)
    except ValueError:
        pass
    if term.startswith("<") and term.endswith(">"):
        return Question(messages=Q(message_id=term), is_served=True, anytime=True)
    if _is_ip(term):
        return Question(messages=Q(client_ip=term))
    if "@" in term:
        return _about_address(term, where)
    if where or ("." in term and " " not in term):
        return _about_domain(term.lower(), where)
    return Question(recipients=_of_answer(term))


def _about_address(term: str, where: str) -> Question:
    local, _at, domain = term.rpartition("@")
    address, everybody = f"{local}@{domain.lower()}", _everybody()
    sender, recipient = everybody & Q(sender=address), everybody & Q(address=address)
    return Question(
        sender if where != "recipient" else None, recipient if where != "sender" else None, is_served=True
    )


def _about_domain(domain: str, where: str) -> Question:
    if where == "recipient":
        return Question(recipients=_everybody() & Q(domain=domain), is_served=True)
    if where == "sender":
        return Question(messages=Q(sender_domain=domain))
    return Question(messages=Q(sender_domain=domain), recipients=Q(domain=domain) | _of_answer(domain))


def _of_answer(term: str) -> Q:
    return Q(text__icontains=term) | Q(remote_host=term.lower())


def _everybody() -> Q:
    """All customers by name: so the indexes by customer serve a search over all of them."""
    customers = Customer.objects.values_list("pk", flat=True)[:MOST_CUSTOMERS]
    return Q(customer__in=list(customers)) | Q(customer=None)


def _look(asked: Question, low: int, high: int) -> Iterator[tuple[int, int]]:
    found = []
    if asked.messages:
        found.append(_ids(Message.objects.filter(asked.messages), "id", low, high))
    if asked.recipients:
        found.append(_ids(Recipient.objects.filter(asked.recipients), "message_id", low, high))
    return ((pk, pk) for pk in heapq.merge(*found, reverse=True))


def _ids(rows: QuerySet[Any], name: str, low: int, high: int) -> list[int]:
    inside = rows.filter(**{f"{name}__gte": low, f"{name}__lt": high}).order_by(f"-{name}")
    return list(inside.values_list(name, flat=True).distinct()[: PAGE_SIZE + 1])


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
