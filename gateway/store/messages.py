"""Messages in and out of the queue: what is inserted with a 250, what an attempt settles, when bodies may go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from gateway import rows
from gateway.models import (
    Attempt,
    Body,
    FeatureVector,
    Message,
    NdrReport,
    Recipient,
)
from gateway.rules.ids import ids_of
from gateway.rules.notify import Report
from gateway.rules.types import Outcome, State
from gateway.store.counters import CountKey, count, hour_of
from gateway.store.reports import replace_report, waiting_report


@dataclass(slots=True)
class NewMessage:
    """Rows of one message to be queued, by attribute name. `content` is None when the body is in the spool."""

    message: dict[str, Any]
    recipients: list[dict[str, Any]]
    content: bytes | None
    spool: str = ""
    features: bytes = b""
    score: float = 0.0


@dataclass(slots=True)
class Settlement:
    """What one attempt changes: the outcomes, when to try again, the reports that follow. Committed as one."""

    message_id: int
    customer_id: int | None
    sender_domain: str
    outcomes: list[Outcome]
    next_attempts: dict[int, datetime] = field(
        default_factory=dict
    )  # recipient id -> time, of the deferred ones
    reports: list[NewMessage] = field(default_factory=list)  # NDRs to queue
    report_rows: list[dict[str, Any]] = field(default_factory=list)  # NdrReport
    signed_by: str = ""  # the DKIM key that signed what was sent, 'selector._domainkey.domain'
    ndr_of: dict[int, int] = field(default_factory=dict)  # recipient id -> NDR message id
    replaced: dict[int, int] = field(default_factory=dict)  # NDR that was waiting -> the one that lists more
    reported_at: datetime | None = None  # when it was looked what waits


def insert_messages(payloads: Sequence[NewMessage]) -> list[None]:
    """Queue messages: all rows of all of them, and the counters."""
    with rows.together():
        rows.insert(Message, (new.message for new in payloads))
        rows.insert(Recipient, (row for new in payloads for row in new.recipients))
        rows.insert(Body, (_body_row(new) for new in payloads))
        rows.insert(FeatureVector, (_feature_row(new) for new in payloads if new.features))
    count(_accepted_counts(payloads))
    return [None] * len(payloads)


def _body_row(new: NewMessage) -> dict[str, Any]:
    return {"message_id": new.message["id"], "content": new.content, "spool": new.spool}


def _feature_row(new: NewMessage) -> dict[str, Any]:
    return {
        "message_id": new.message["id"],
        "customer_id": new.message["customer_id"],
        "at": new.message["received_at"],
        "score": new.score,
        "vector": new.features,
    }


def _accepted_counts(payloads: Sequence[NewMessage]) -> Counter[tuple[CountKey, str]]:
    counts: Counter[tuple[CountKey, str]] = Counter()
    for new in payloads:
        row = new.message
        if row["kind"] != Message.Kind.CUSTOMER or row["customer_id"] is None:
            continue
        key = (row["customer_id"], hour_of(row["received_at"]), row["sender_domain"])
        counts[key, "accepted"] += 1
        if row["category"] != Message.CategoryChoice.CLEAN:
            counts[key, row["category"]] += 1
        counts[key, "recipients"] += len(new.recipients)
        counts[key, "size_kib"] += 1 + row["size_bytes"] // 1024
    return counts


def settle(payloads: Sequence[Settlement]) -> list[list[str] | None]:
    """Write outcomes, attempts, reports and counters; delete the bodies of messages with nothing left to do.

    Returns, per settlement, the spool files that may be removed after the commit. None: nothing of it was written,
    since another process has queued a report of the same kind about the message, which this one must take in.
    """
    late = _overtaken(payloads)
    spooled = _settle([item for place, item in enumerate(payloads) if place not in late])
    return [
        None if place in late else spooled.get(item.message_id, []) for place, item in enumerate(payloads)
    ]


def _overtaken(payloads: Sequence[Settlement]) -> set[int]:
    """Places of settlements that do not know of a report that waits. Of two processes whose recipients of a message
    fail in the same instant the second waits here for the first one's commit."""
    reporting = [(place, item) for place, item in enumerate(payloads) if item.reports]
    if not reporting:
        return set()
    ids = {item.message_id for _, item in reporting}
    list(Message.objects.select_for_update().filter(id__in=ids).order_by("id").values_list("id"))
    return {place for place, item in reporting if _misses_a_report(item)}


def _misses_a_report(item: Settlement) -> bool:
    made = {row["kind"] for row in item.report_rows if row["report"] is not None} - {Report.DELAYED.value}
    if item.reported_at is None:
        return False
    waiting = [waiting_report(item.message_id, kind, item.reported_at) for kind in made]
    return any(found is not None and found.id not in item.replaced for found in waiting)


def _settle(payloads: Sequence[Settlement]) -> dict[int, list[str]]:
    outcomes = [(item, outcome) for item in payloads for outcome in item.outcomes]
    with rows.together():
        rows.many(_SETTLE_SQL, [_settle_row(item, outcome) for item, outcome in outcomes])
        rows.insert(Attempt, (_attempt_row(item, outcome) for item, outcome in outcomes))
        rows.insert(NdrReport, (row for item in payloads for row in item.report_rows))
    reports = [report for item in payloads for report in item.reports]
    if reports:
        insert_messages(reports)
    for item in payloads:
        for old, new in item.replaced.items():
            replace_report(item.message_id, old, new)
    count(_outcome_counts(payloads))
    return delete_finished_bodies({item.message_id for item in payloads})


_SETTLE_SQL = (
    "UPDATE gateway_recipient SET state = %s, attempts = attempts + 1, next_attempt_at = %s, lease_owner = '',"
    " gateway_id = %s, remote_host = %s, code = %s, enhanced = %s, text = %s, reason = %s, tls = %s,"
    # A person may have cancelled or held it while it was being tried: a delivery still counts, a deferral does not.
    " settled_at = %s, ndr = %s WHERE id = %s AND (state = 'queued' OR %s = 'delivered')"
)


def mark_delivered(payloads: Sequence[tuple[list[int], datetime]]) -> list[None]:
    """(recipient ids, time): settle delivered recipients whose outcome cannot be written as a whole."""
    for ids, at in payloads:
        Recipient.objects.filter(id__in=ids, state=State.QUEUED).update(
            state=State.DELIVERED, reason="delivered", settled_at=at, next_attempt_at=None, lease_owner=""
        )
    return [None] * len(payloads)


def _settle_row(item: Settlement, outcome: Outcome) -> list[Any]:
    is_open = outcome.state in (State.QUEUED, State.HELD)
    return [
        outcome.state.value,
        item.next_attempts.get(outcome.recipient_id),
        outcome.gateway_id,
        outcome.remote_host[:255],
        outcome.reply.code,
        outcome.reply.enhanced,
        outcome.reply.text,
        outcome.reason,
        outcome.tls.as_json() if outcome.tls else None,
        None if is_open else outcome.at,
        item.ndr_of.get(outcome.recipient_id),
        outcome.recipient_id,
        outcome.state.value,
    ]


def _attempt_row(item: Settlement, outcome: Outcome) -> dict[str, Any]:
    return {
        "message_id": item.message_id,
        "recipient": outcome.recipient_id,
        "at": outcome.at,
        "state": outcome.state.value,
        "stage": outcome.stage.value,
        "gateway_id": outcome.gateway_id,
        "remote_host": outcome.remote_host[:255],
        "remote_ip": outcome.remote_ip or None,
        "code": outcome.reply.code,
        "enhanced": outcome.reply.enhanced,
        "text": outcome.reply.text,
        "reason": outcome.reason,
        "tls": outcome.tls.as_json() if outcome.tls else None,
        "duration_ms": outcome.duration_ms,
        "signed_by": item.signed_by,
    }


def _outcome_counts(payloads: Sequence[Settlement]) -> Counter[tuple[CountKey, str]]:
    counts: Counter[tuple[CountKey, str]] = Counter()
    for item in payloads:
        if item.customer_id is None:
            continue
        for outcome in item.outcomes:
            key = (item.customer_id, hour_of(outcome.at), item.sender_domain)
            counts[key, "deferred" if outcome.state == State.QUEUED else outcome.state.value] += 1
            counts[key, "unknown_user"] += outcome.reason == "unknown_user" and outcome.state == State.BOUNCED
    return counts


def delete_finished_bodies(message_ids: Collection[int]) -> dict[int, list[str]]:
    """Delete bodies of messages without open recipients; returns the spool files they leave behind, by message."""
    if not message_ids:
        return {}
    ids = sorted(message_ids)
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM gateway_body WHERE message_id IN ({rows.marks(ids)}) AND NOT EXISTS"  # noqa: S608
            " (SELECT 1 FROM gateway_recipient r WHERE r.message_id = gateway_body.message_id"
            " AND r.state IN ('queued', 'held')) RETURNING message_id, spool",
            ids,
        )
        return {message_id: [spool] for message_id, spool in cursor.fetchall() if spool}


def load_body(message_id: int) -> tuple[bytes | None, str]:
    """(content, spool file name); raises Body.DoesNotExist."""
    body = Body.objects.get(message_id=message_id)
    return (bytes(body.content) if body.content is not None else None), body.spool


def mark_warned(payloads: Sequence[tuple[int, datetime]]) -> list[bool]:
    """(message id, time): claim the one delay warning of a message; True for whoever comes first."""
    return [
        Message.objects.filter(id=message_id, warned_at__isnull=True).update(warned_at=at) == 1
        for message_id, at in payloads
    ]


def known_spool_files(names: Iterable[str]) -> set[str]:
    """Which of the files a row names. A file is called as its message, so that the key finds the row."""
    found = Body.objects.filter(message_id__in=list(ids_of(names))).exclude(spool="")
    return set(found.values_list("spool", flat=True))


@transaction.atomic
def write_now(new: NewMessage) -> None:
    """Queue one message from a process that has no writer thread (portal, scheduler)."""
    insert_messages([new])
