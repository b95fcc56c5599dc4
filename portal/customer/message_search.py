"""Finding messages: the filter form, and the search behind it.

Made for ten million rows. Ids grow with time, so a time range is an id range; pages go by the last id, never by offset;
nothing is ever counted. Filters on recipients walk the recipients (newest first, by their own indexes), the others walk
the messages; both go back window by window (portal/windows.py) and stop when a page is full or its time is used up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.models import Customer, Gateway, Message, Recipient
from gateway.rules.ids import from_text, id_at, ids_in
from portal.customer.message_rows import Page, Row, page_of
from portal.windows import Look, before, gather, too_late, windows

PAGE_SIZE = 50
RECIPIENTS_AT_ONCE = 400  # read from the recipients' index before asking for their messages
LONGEST_DATA = timedelta(hours=1)  # a recipient's id is made after its message's, within one transaction
OPEN = ("queued", "held")
FILTERS = ("q", "sender", "recipient", "status", "category", "gateway", "reply")

RANGES = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
RANGE_CHOICES = [
    ("24h", _("last 24 hours")), ("1h", _("last hour")), ("7d", _("last 7 days")), ("30d", _("last 30 days")),
    ("custom", _("from … to …")),
]  # fmt: skip
STATUS_CHOICES = [
    ("", _("any")), ("open", _("still open")), *[(value, label) for value, label in Recipient.StateChoice.choices],
]  # fmt: skip
CATEGORY_CHOICES = [
    ("", _("any")), ("clean", _("clean")), ("suspect", _("suspect")), ("spam", _("spam")),
    ("bad", _("suspect or spam")),
]  # fmt: skip


class MessageFilter(forms.Form):
    """The filter bar; every field may be empty, the values stand in the URL."""

    q = forms.CharField(label=_("Subject contains"), max_length=100, required=False)
    sender = forms.CharField(label=_("Sender"), max_length=320, required=False)
    recipient = forms.CharField(label=_("Recipient"), max_length=320, required=False)
    id = forms.CharField(label=_("Id or Message-ID"), max_length=300, required=False)
    status = forms.ChoiceField(label=_("State"), choices=STATUS_CHOICES, required=False)
    category = forms.ChoiceField(label=_("Category"), choices=CATEGORY_CHOICES, required=False)
    gateway = forms.ModelChoiceField(
        Gateway.objects.all(), label=_("Gateway"), required=False, empty_label=_("any")
    )
    reply = forms.CharField(label=_("Reply contains"), max_length=100, required=False)
    range = forms.ChoiceField(label=_("Time"), choices=RANGE_CHOICES, required=False)
    start = forms.DateField(label=_("from"), required=False, widget=forms.DateInput({"type": "date"}))
    end = forms.DateField(label=_("to"), required=False, widget=forms.DateInput({"type": "date"}))

    def clean(self) -> dict[str, Any]:
        found = dict(super().clean() or {})
        start, end = found.get("start"), found.get("end")
        if start and end and end < start:
            self.add_error("end", _("The end lies before the beginning."))
        return found


def search(
    customer: Customer, wanted: dict[str, Any], *, cursor: str = "", size: int = PAGE_SIZE, after: int = 0
) -> Page:
    """One page of the customer's messages, newest first. `wanted` is MessageFilter.cleaned_data; a cursor that makes no
    sense counts as none. Only messages with a greater id than `after`, if that is given."""
    least, end = _ids(wanted, after)
    if recipient_filter(wanted):
        look, latest = _by_recipients(customer, wanted, least, end), _later(end)
    else:
        look, latest = _by_messages(customer, wanted, size), end
    spans = windows(least, before(cursor, latest), at_once=is_served(wanted))
    return page_of(gather(look, spans, least, size), Message.objects.filter(customer=customer))


def every_page(customer: Customer, wanted: dict[str, Any]) -> Iterator[list[Row]]:
    """All rows of a search, page by page: for exports."""
    cursor = ""
    while True:
        page = search(customer, wanted, cursor=cursor, size=200)
        yield page.rows
        if not page.next_cursor:
            return
        cursor = page.next_cursor


def message_filter(wanted: dict[str, Any], prefix: str = "") -> Q:
    """The filters that concern the message itself, without its time; an id says it all."""
    if wanted.get("id"):
        return _by_id(wanted["id"].strip(), prefix)
    condition = Q()
    if wanted.get("sender"):
        condition &= _address(wanted["sender"], f"{prefix}sender", f"{prefix}sender_domain")
    if wanted.get("q"):
        condition &= Q(**{f"{prefix}subject__icontains": wanted["q"]})
    category = wanted.get("category")
    if category:
        chosen = ["suspect", "spam"] if category == "bad" else [category]
        condition &= Q(**{f"{prefix}category__in": chosen})
    return condition


def recipient_filter(wanted: dict[str, Any]) -> Q:
    """The filters that concern a recipient; empty when there are none."""
    condition = Q()
    if wanted.get("recipient"):
        condition &= _address(wanted["recipient"], "address", "domain")
    if wanted.get("status"):
        condition &= Q(state__in=OPEN if wanted["status"] == "open" else [wanted["status"]])
    if wanted.get("gateway"):
        condition &= Q(gateway=wanted["gateway"])
    if wanted.get("reply"):
        text = wanted["reply"].strip()
        condition &= (
            Q(code=int(text))
            if text.isdecimal() and len(text) == 3
            else Q(text__icontains=text) | Q(enhanced=text)
        )
    return condition


def id_range(wanted: dict[str, Any]) -> tuple[int, int | None]:
    """(least id, first id that is too late or None) of the time range."""
    chosen = wanted.get("range") or "24h"
    if chosen in RANGES:
        return id_at(timezone.now() - RANGES[chosen]), None
    start, end = wanted.get("start"), wanted.get("end")
    return id_at(_midnight(start)) if start else 0, id_at(_midnight(end) + timedelta(days=1)) if end else None


def _by_id(text: str, prefix: str) -> Q:
    try:
        return Q(**{f"{prefix}id": from_text(text)})
    except ValueError:
        return Q(**{f"{prefix}message_id__in": [text, f"<{text.strip('<>')}>"]})


def _ids(wanted: dict[str, Any], after: int) -> tuple[int, int]:
    """(least id, first id that is too late) of the messages; what is looked for by id is found at any time."""
    now = too_late()
    if wanted.get("id"):
        return after + 1, now
    least, end = id_range(wanted)
    return max(least, after + 1), min(now, end or now)


def is_served(wanted: dict[str, Any]) -> bool:
    """Whether one index finds it all, in the order of the list: by id, or by one of these filters alone."""
    if wanted.get("id"):
        return True
    given = [name for name in FILTERS if wanted.get(name)]
    if given == ["sender"]:
        return bool(re.fullmatch(r".+@.+", wanted["sender"].strip()))
    return given in ([], ["recipient"], ["status"], ["category"])


def _by_messages(customer: Customer, wanted: dict[str, Any], size: int) -> Look:
    messages = Message.objects.filter(message_filter(wanted), customer=customer).order_by("-id")

    def look(low: int, high: int) -> Iterator[tuple[int, int]]:
        ids = messages.filter(id__gte=low, id__lt=high).values_list("id", flat=True)[: size + 1]
        return ((pk, pk) for pk in ids)

    return look


def _by_recipients(customer: Customer, wanted: dict[str, Any], least: int, end: int) -> Look:
    """Walk the recipients of the messages with these ids."""
    walk = Recipient.objects.filter(
        recipient_filter(wanted), customer=customer, message_id__gte=least, message_id__lt=end
    )
    of_message = message_filter(wanted, "message__")
    if of_message:
        walk = walk.filter(of_message, message__customer=customer)  # named again: its indexes begin with it
    return lambda low, high: _walk(walk.filter(id__gte=low), high)


def _walk(recipients: QuerySet[Recipient], before: int) -> Iterator[tuple[int, int]]:
    """(recipient id, message id), newest first, read in blocks."""
    while True:
        pairs = list(
            recipients.filter(id__lt=before)
            .order_by("-id")
            .values_list("id", "message_id")[:RECIPIENTS_AT_ONCE]
        )
        yield from pairs
        if len(pairs) < RECIPIENTS_AT_ONCE:
            return
        before = pairs[-1][0]


def _address(text: str, whole: str, domain: str) -> Q:
    """'dora@example.org' is an address, '@example.org' and 'example.org' are domains, 'dora@' a local part."""
    text = text.strip()
    local, at, host = text.rpartition("@")
    if at and local and host:
        return Q(**{whole: f"{local}@{host.lower()}"})
    if text.endswith("@"):
        return Q(**{f"{whole}__startswith": text})
    return Q(**{domain: host.lower()})


def _later(number: int) -> int:
    """A position of recipients behind those of all messages before `number`."""
    return number + ids_in(LONGEST_DATA)


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
