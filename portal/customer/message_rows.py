"""What lists show of a message: itself, one state for all its recipients, the first address."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Prefetch, QuerySet

from gateway.models import Message, Recipient
from portal.windows import Found

FEW = 20  # recipients that a list reads of each message; one may have a thousand
SOME_RECIPIENTS = Prefetch("recipients", Recipient.objects.order_by("id")[:FEW], to_attr="some_recipients")


@dataclass(frozen=True, slots=True)
class Row:
    message: Message
    state: str
    first_address: str
    more: int  # recipients beside the first


@dataclass(frozen=True, slots=True)
class Page:
    rows: list[Row]
    next_cursor: str  # '' = there is nothing older
    searched_to: datetime | None = None  # the page is not full because its time was up here


def page_of(found: Found, messages: QuerySet[Message]) -> Page:
    """The rows of what was found, newest first, read from `messages`."""
    read = messages.filter(pk__in=found.ids).order_by("-id").prefetch_related(SOME_RECIPIENTS)
    return Page(rows_of(read), found.next_cursor, found.searched_to)


def rows_of(messages: Iterable[Message]) -> list[Row]:
    """One row per message; they must have been read with SOME_RECIPIENTS."""
    return [row_of(message, message.some_recipients) for message in messages]  # type: ignore[attr-defined]


def row_of(message: Message, recipients: list[Recipient]) -> Row:
    first = recipients[0].address if recipients else ""
    state = joint_state(recipients) if message.recipient_count <= FEW else "mixed"
    return Row(message, state, first, max(message.recipient_count - 1, 0))


def joint_state(recipients: list[Recipient]) -> str:
    """The one state of all, else 'mixed'; a queued one that was tried before is 'deferred'."""
    states = {shown_state(recipient) for recipient in recipients}
    return states.pop() if len(states) == 1 else "mixed"


def shown_state(recipient: Recipient) -> str:
    deferred = recipient.state == Recipient.StateChoice.QUEUED and recipient.attempts and recipient.code
    return "deferred" if deferred else str(recipient.state)
