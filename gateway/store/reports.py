"""Reports that wait a little for each other, so that the sender of a message gets one and not one per destination.

A report is a message of our own with rows in the queue from the beginning; "waiting" means that it is not yet due and
that nobody works on it. What is waiting can be replaced by one that lists more recipients.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, Q, QuerySet, Subquery

from gateway.models import Attempt, Body, Message, NdrReport, Recipient
from gateway.rules.types import State


@dataclass(frozen=True, slots=True)
class WaitingReport:
    """A report that can still be replaced: its message id, when it is due, and the recipients it lists."""

    id: int
    due: datetime
    told: tuple[Recipient, ...]  # with `stage` and `tried_at` of the last attempt


def others_in_work(message_id: int, besides: Collection[int], until: datetime) -> bool:
    """Whether other recipients of the message are being tried, or will be (or expire) until then."""
    soon = ~Q(lease_owner="") | Q(next_attempt_at__lte=until) | Q(expires_at__lte=until)
    open_ones = Recipient.objects.filter(message_id=message_id, state__in=[State.QUEUED, State.HELD])
    return open_ones.exclude(id__in=besides).filter(soon).exists()


def still_deferred(message_id: int, besides: Collection[int]) -> list[Recipient]:
    """The other recipients of a message that were tried and wait, with `stage` and `tried_at` of the last attempt."""
    waiting = Recipient.objects.filter(message_id=message_id, state__in=[State.QUEUED, State.HELD])
    return list(
        _with_last_attempt(waiting.exclude(id__in=besides).filter(attempts__gt=0, code__isnull=False))
    )


def waiting_report(message_id: int, kind: str, now: datetime) -> WaitingReport | None:
    """The report of this kind about a message that is not yet due; None when there is none."""
    rows = NdrReport.objects.filter(
        message_id=message_id, kind=kind, report__isnull=False, recipient__isnull=False
    )
    told = dict(rows.values_list("recipient", "report"))
    waits = Recipient.objects.filter(_untouched(), message_id__in=set(told.values()), next_attempt_at__gt=now)
    found = waits.order_by("-id").first()
    if found is None or found.next_attempt_at is None:
        return None
    ids = [recipient for recipient, report in told.items() if recipient and report == found.message_id]
    listed = _with_last_attempt(Recipient.objects.filter(id__in=ids))
    return WaitingReport(found.message_id, found.next_attempt_at, tuple(listed))


def hold_reports(payloads: Sequence[tuple[int, datetime]]) -> list[bool]:
    """(report's message id, until): nobody sends it before then. False: it is gone, or being sent."""
    return [
        Recipient.objects.filter(_untouched(), message_id=report_id).update(next_attempt_at=until) == 1
        for report_id, until in payloads
    ]


def replace_report(message_id: int, old: int, new: int) -> None:
    """The report `old` about a message gives way to `new`, which is in the queue already and lists the same and more.

    Should `old` be on its way in spite of its hold (a database that was away for longer), both are sent: told twice is
    better than not at all.
    """
    if not Recipient.objects.filter(_untouched(), message_id=old).delete()[0]:
        return
    Body.objects.filter(message_id=old).delete()
    Message.objects.filter(id=old).delete()
    NdrReport.objects.filter(message_id=message_id, report=old).update(report=new)
    Recipient.objects.filter(message_id=message_id, ndr=old).update(ndr=new)


def _untouched() -> Q:
    return Q(state=State.QUEUED, attempts=0, lease_owner="")


def _with_last_attempt(recipients: QuerySet[Recipient]) -> QuerySet[Recipient]:
    last = Attempt.objects.filter(message_id=OuterRef("message_id"), recipient=OuterRef("id")).order_by("-id")
    return recipients.order_by("id").annotate(
        stage=Subquery(last.values("stage")[:1]), tried_at=Subquery(last.values("at")[:1])
    )
