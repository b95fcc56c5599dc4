"""The message log: list with filters, CSV, one message, and what may be done with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.contrib import messages as notes
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from gateway.control import appeal_requests, queue
from gateway.models import Message, Recipient
from portal.access import MAX_ID, access_customer, access_message, actor, page, sees_content
from portal.csv_export import csv_response
from portal.customer.message_rows import Row, shown_state
from portal.customer.message_search import MessageFilter, every_page, search
from portal.customer.stopped import REASON, stopped_logins
from portal.customer.timeline import SHOWN_RECIPIENTS, stories
from portal.customer.trace_words import symbol_lines, symbol_words, trace_lines

Verb = Callable[..., int]


@page("GET")
def message_list(request: HttpRequest) -> HttpResponse:
    customer = access_customer(request)
    form = MessageFilter(request.GET or None)
    wanted = wishes(request, form)
    found = search(customer, wanted, cursor=request.GET.get("before", ""))
    newest = found.rows[0].message.id if found.rows and not request.GET.get("before") else 0
    context = {
        "form": form, "found": found, "filtered": is_filtered(request.GET), "newest": newest,
        "stopped": stopped_logins(customer),
    }  # fmt: skip
    return render(request, "customer/messages.html", context)


@page("GET")
def message_news(request: HttpRequest) -> HttpResponse:
    """A fragment for the list: whether anything newer than `after` would be in it."""
    customer = access_customer(request)
    form = MessageFilter(request.GET)
    wanted = wishes(request, form)
    after = request.GET.get("after", "")
    known = int(after) if after.isdecimal() and len(after) < 20 else MAX_ID
    number = len(search(customer, wanted, size=20, after=known).rows)
    return render(request, "customer/parts/message_news.html", {"number": number, "more": number == 20})


@page("GET")
def message_csv(request: HttpRequest) -> HttpResponseBase:
    """The filtered list, a line per recipient, streamed."""
    customer = access_customer(request)
    form = MessageFilter(request.GET)
    wanted = wishes(request, form)
    head = [
        "id",
        "received",
        "sender",
        "from",
        "subject",
        "recipient",
        "state",
        "category",
        "score",
        "gateway",
        "code",
        "reply",
    ]
    return csv_response(
        "messages.csv", head, _csv_rows(every_page(customer, wanted), subjects=sees_content(request))
    )


def _csv_rows(pages: Iterator[list[Row]], *, subjects: bool) -> Iterator[list[Any]]:
    for rows in pages:
        messages = {row.message.id: row.message for row in rows}
        recipients = Recipient.objects.filter(message_id__in=messages).select_related("gateway")
        for recipient in recipients.order_by("-message_id", "id").iterator():
            yield _csv_row(messages[recipient.message_id], recipient, subjects=subjects)


def _csv_row(message: Message, recipient: Recipient, *, subjects: bool) -> list[Any]:
    gateway = recipient.gateway.name if recipient.gateway else ""
    subject = message.subject if subjects else ""
    head = [message.text_id, message.received_at.isoformat(), message.sender, message.header_from, subject]
    judged = [message.category, f"{message.score:g}", gateway, recipient.code or "", recipient.text]
    return [*head, recipient.address, shown_state(recipient), *judged]


@page("GET")
def message_detail(request: HttpRequest, text_id: str) -> HttpResponse:
    message = access_message(request, text_id)
    told = stories(message)
    states = {story.recipient.state for story in told}
    context = {
        "message": message,
        "stories": told,
        "more": max(message.recipient_count - SHOWN_RECIPIENTS, 0),
        "trace": trace_lines(message.trace),
        "symbols": symbol_lines(message.symbols),
        "flip": [symbol_words(name) for name in appeal_requests.flip_set(message)],
        "pool": told[0].recipient.pool if told else "",
        "appeal": message.appeals.first(),
        "may_appeal": message.category != Message.CategoryChoice.CLEAN,
        "queued": Recipient.StateChoice.QUEUED in states,
        "held": Recipient.StateChoice.HELD in states,
        "stopped": any(_is_stopped(story.recipient) for story in told),
    }
    return render(request, "customer/message.html", context)


@page("POST")
def retry(request: HttpRequest, text_id: str) -> HttpResponse:
    return _act(request, text_id, queue.retry)


@page("POST")
def release(request: HttpRequest, text_id: str) -> HttpResponse:
    return _act(request, text_id, queue.release)


@page("GET", "POST")
def cancel(request: HttpRequest, text_id: str) -> HttpResponse:
    """Asks on its own page, because nobody gets a report about a cancelled message."""
    access_customer(request, write=True)
    if request.method == "POST":
        return _act(request, text_id, queue.cancel)
    message = access_message(request, text_id)
    number = _open(message.recipients.all()).count()
    return render(request, "customer/message_cancel.html", {"message": message, "number": number})


@page("POST")
def appeal(request: HttpRequest, text_id: str) -> HttpResponse:
    """'This is not spam': goes to support with the message's symbols."""
    access_customer(request, write=True)
    message = access_message(request, text_id)
    try:
        appeal_requests.ask(message, actor=actor(request), comment=request.POST.get("comment", ""))
    except ValidationError as error:
        notes.error(request, " ".join(error.messages))
    else:
        notes.success(request, _("Support looks at it. You find the answer here."))
    return redirect("message", text_id=message.text_id)


def _act(request: HttpRequest, text_id: str, verb: Verb) -> HttpResponse:
    """A queue verb on one message's recipients, or on the one that the form names."""
    customer = access_customer(request, write=True)
    message = access_message(request, text_id)
    recipients = Recipient.objects.filter(message=message)
    chosen = request.POST.get("recipient", "")
    if chosen.isdecimal() and len(chosen) < 19:
        recipients = recipients.filter(pk=int(chosen))
    changed = verb(recipients, actor=actor(request), customer=customer)
    if changed:
        notes.success(
            request,
            ngettext("Done for %(number)s recipient.", "Done for %(number)s recipients.", changed)
            % {"number": changed},
        )
    else:
        notes.warning(request, _("There was nothing left to do: the state has changed in the meantime."))
    return redirect("message", text_id=message.text_id)


def _is_stopped(recipient: Recipient) -> bool:
    return recipient.state == Recipient.StateChoice.HELD and recipient.reason == REASON


def _open(recipients: QuerySet[Recipient]) -> QuerySet[Recipient]:
    return recipients.filter(state__in=queue.OPEN)


def wishes(request: HttpRequest, form: MessageFilter) -> dict[str, Any]:
    """The filters that may be applied; support cannot find out subjects by searching for them."""
    wanted = dict(form.cleaned_data) if form.is_bound and form.is_valid() else {}
    return wanted if sees_content(request) else wanted | {"q": ""}


def is_filtered(values: QueryDict) -> bool:
    return any(value for name, value in values.items() if name not in ("before", "range"))
