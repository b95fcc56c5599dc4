"""The queue in SQL: what the relay writes and reads. Runs in the writer or reader thread of `gateway.db`.

Writing functions take a list of payloads and return one result per payload, all in the caller's transaction.
Counters are sorted before they are upserted, so that two processes never lock the same rows in opposite order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from gateway import rows
from gateway.models import (
    Attempt,
    Body,
    FeatureVector,
    HourlyCount,
    LocalWord,
    Message,
    NdrReport,
    Recipient,
    Refusal,
    SetupEvent,
    SpamException,
    Worker,
)
from gateway.rules.types import Outcome, State

LEASE = timedelta(seconds=300)
STALE = timedelta(seconds=15)

COUNTERS = (
    "accepted",
    "refused",
    "infected",
    "suspect",
    "spam",
    "recipients",
    "delivered",
    "deferred",
    "bounced",
    "expired",
    "held",
    "unknown_user",
    "size_kib",
)
CountKey = tuple[int, datetime, str]  # customer id, hour, sender domain


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
    ndr_of: dict[int, int] = field(default_factory=dict)  # recipient id -> NDR message id


# ---- writing -----------------------------------------------------------------------------------------------------


def insert_messages(payloads: Sequence[NewMessage]) -> list[None]:
    """Queue messages: all rows of all of them, and the counters."""
    rows.insert(Message, (new.message for new in payloads))
    rows.insert(Recipient, (row for new in payloads for row in new.recipients))
    rows.insert(
        Body,
        ({"message_id": new.message["id"], "content": new.content, "spool": new.spool} for new in payloads),
    )
    rows.insert(FeatureVector, (_feature_row(new) for new in payloads if new.features))
    count(_accepted_counts(payloads))
    return [None] * len(payloads)


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
        key = (row["customer_id"], _hour(row["received_at"]), row["sender_domain"])
        counts[key, "accepted"] += 1
        if row["category"] != Message.CategoryChoice.CLEAN:
            counts[key, row["category"]] += 1
        counts[key, "recipients"] += len(new.recipients)
        counts[key, "size_kib"] += 1 + row["size_bytes"] // 1024
    return counts


def settle(payloads: Sequence[Settlement]) -> list[list[str]]:
    """Write outcomes, attempts, reports and counters; delete the bodies of messages with nothing left to do.

    Returns, per settlement, the spool files that may be removed after the commit.
    """
    outcomes = [(item, outcome) for item in payloads for outcome in item.outcomes]
    rows.many(_SETTLE_SQL, [_settle_row(item, outcome) for item, outcome in outcomes])
    rows.insert(Attempt, (_attempt_row(item, outcome) for item, outcome in outcomes))
    rows.insert(NdrReport, (row for item in payloads for row in item.report_rows))
    insert_messages([report for item in payloads for report in item.reports])
    count(_outcome_counts(payloads))
    spooled = delete_finished_bodies({item.message_id for item in payloads})
    return [spooled.get(item.message_id, []) for item in payloads]


_SETTLE_SQL = (
    "UPDATE gateway_recipient SET state = %s, attempts = attempts + 1, next_attempt_at = %s, lease_owner = '',"
    " gateway_id = %s, remote_host = %s, code = %s, enhanced = %s, text = %s, reason = %s, tls = %s,"
    # A person may have cancelled or held it while it was being tried: a delivery still counts, a deferral does not.
    " settled_at = %s, ndr = %s WHERE id = %s AND (state = 'queued' OR %s = 'delivered')"
)


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
    }


def _outcome_counts(payloads: Sequence[Settlement]) -> Counter[tuple[CountKey, str]]:
    counts: Counter[tuple[CountKey, str]] = Counter()
    for item in payloads:
        if item.customer_id is None:
            continue
        for outcome in item.outcomes:
            key = (item.customer_id, _hour(outcome.at), item.sender_domain)
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


def record_refusals(payloads: Sequence[dict[str, Any]]) -> list[None]:
    """Write refusals (rows of Refusal by attribute name) and count those of known customers."""
    rows.insert(Refusal, payloads)
    counts: Counter[tuple[CountKey, str]] = Counter()
    for row in payloads:
        if row.get("customer_id") is not None:
            key = (row["customer_id"], _hour(row["at"]), row.get("sender", "").rpartition("@")[2])
            counts[key, "refused"] += 1
            counts[key, "infected"] += row["reason"] == "virus"
    count(counts)
    return [None] * len(payloads)


def count(counts: Counter[tuple[CountKey, str]]) -> None:
    """Add to the hourly counters, in one statement for each (customer, hour, domain)."""
    by_key: dict[CountKey, dict[str, int]] = {}
    for (key, name), number in counts.items():
        by_key.setdefault(key, dict.fromkeys(COUNTERS, 0))[name] += number
    rows.many(_COUNT_SQL, [[*key, *by_key[key].values()] for key in sorted(by_key)])


_TABLE = HourlyCount._meta.db_table
_COUNT_SQL = (
    f"INSERT INTO {_TABLE} (customer_id, hour, domain, {', '.join(COUNTERS)})"  # noqa: S608
    f" VALUES (%s, %s, %s{', %s' * len(COUNTERS)}) ON CONFLICT (customer_id, hour, domain) DO UPDATE SET "
    + ", ".join(f"{name} = {_TABLE}.{name} + excluded.{name}" for name in COUNTERS)
)


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class RateRequest:
    """Messages one customer wants to hand over now; negative: tokens of refused messages that come back."""

    customer_id: int
    number: int
    limit: int
    now: datetime


def take_tokens(payloads: Sequence[RateRequest]) -> list[int]:
    """Count messages against the customer's running minute; returns how many of each request were granted.

    The minute begins with its first message and is shared by all processes through one row, so never more than
    `limit` messages pass within it.
    """
    return [_take(request) for request in payloads]


_TAKE_SQL = (
    "INSERT INTO gateway_ratewindow (customer_id, started_at, used) VALUES (%s, %s, 0)"
    " ON CONFLICT (customer_id) DO UPDATE SET"
    " used = CASE WHEN gateway_ratewindow.started_at <= %s THEN 0 ELSE gateway_ratewindow.used END,"
    " started_at = CASE WHEN gateway_ratewindow.started_at <= %s THEN excluded.started_at"
    " ELSE gateway_ratewindow.started_at END RETURNING used"
)


def _take(request: RateRequest) -> int:
    window_start = request.now - timedelta(minutes=1)
    with connection.cursor() as cursor:
        cursor.execute(
            _TAKE_SQL, [rows.adapt(v) for v in (request.customer_id, request.now, window_start, window_start)]
        )
        used: int = cursor.fetchone()[0]
        granted = min(request.number, max(0, request.limit - used))
        cursor.execute(
            "UPDATE gateway_ratewindow SET used = %s WHERE customer_id = %s",
            [max(0, used + granted), request.customer_id],
        )
    return granted


# ---- leases ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    owner: str
    pools: tuple[str, ...]
    now: datetime
    limit: int


def claim(payloads: Sequence[ClaimRequest]) -> list[list[int]]:
    """Lease due recipients to their claimers; returns the recipients' ids."""
    return [_claim(request) for request in payloads]


def _claim(request: ClaimRequest) -> list[int]:
    lock = "FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    sql = (
        "UPDATE gateway_recipient SET lease_owner = %s, next_attempt_at = %s WHERE id IN"  # noqa: S608
        " (SELECT id FROM gateway_recipient WHERE state = 'queued' AND next_attempt_at <= %s"
        f" AND pool IN ({rows.marks(request.pools)}) ORDER BY next_attempt_at LIMIT %s {lock}) RETURNING id"
    )
    values = [request.owner, request.now + LEASE, request.now, *request.pools, request.limit]
    with connection.cursor() as cursor:
        cursor.execute(sql, [rows.adapt(value) for value in values])
        return [row[0] for row in cursor.fetchall()]


def load(recipient_ids: Sequence[int]) -> list[Recipient]:
    """The claimed recipients with their messages, still queued ones only."""
    return list(
        Recipient.objects.filter(id__in=recipient_ids, state=State.QUEUED)
        .select_related("message")
        .order_by("id")
    )


def load_body(message_id: int) -> tuple[bytes | None, str]:
    """(content, spool file name); raises Body.DoesNotExist."""
    body = Body.objects.get(message_id=message_id)
    return (bytes(body.content) if body.content is not None else None), body.spool


def postpone(payloads: Sequence[tuple[list[int], datetime]]) -> list[None]:
    """Give leases back untried: the recipients become due at the given time."""
    flat = [[at, recipient_id] for ids, at in payloads for recipient_id in sorted(ids)]
    rows.many(
        "UPDATE gateway_recipient SET lease_owner = '', next_attempt_at = %s WHERE id = %s AND state = 'queued'",
        flat,
    )
    return [None] * len(payloads)


POSTPONE_CHUNK = 5000


def postpone_domain(payloads: Sequence[tuple[str, str, datetime, datetime]]) -> list[int]:
    """(owner, domain, now, until): what is due for a dead destination waits until then, or its expiry, without being
    loaded. At most POSTPONE_CHUNK recipients at a time, so that new mail never waits long for the transaction."""
    return [_postpone_domain(*payload) for payload in payloads]


def _postpone_domain(owner: str, domain: str, now: datetime, until: datetime) -> int:
    sql = (
        "UPDATE gateway_recipient SET lease_owner = '',"
        " next_attempt_at = CASE WHEN expires_at < %s THEN expires_at ELSE %s END WHERE id IN"
        " (SELECT id FROM gateway_recipient WHERE state = 'queued' AND domain = %s AND next_attempt_at <= %s"
        " AND lease_owner <> %s AND expires_at > %s LIMIT %s)"
    )
    values = [until, until, domain, now, owner, now, POSTPONE_CHUNK]
    with connection.cursor() as cursor:
        cursor.execute(sql, [rows.adapt(value) for value in values])
        return int(cursor.rowcount)


def renew_leases(payloads: Sequence[tuple[str, datetime]]) -> list[int]:
    """(owner, now): push the end of all leases of an owner out again."""
    return [
        Recipient.objects.filter(lease_owner=owner, state=State.QUEUED).update(next_attempt_at=now + LEASE)
        for owner, now in payloads
    ]


def release_leases(payloads: Sequence[tuple[str, datetime]]) -> list[int]:
    """(owner, now): make everything an owner holds due at once."""
    return [
        Recipient.objects.filter(lease_owner=owner, state=State.QUEUED).update(
            next_attempt_at=now, lease_owner=""
        )
        for owner, now in payloads
    ]


def beat(payloads: Sequence[tuple[dict[str, Any], bool]]) -> list[list[str]]:
    """(row of Worker, may bury): write heartbeats, take over from owners that fell silent. Returns the dead owners.

    Only a process whose own beats came through all the time may call others dead: after an outage of the database
    everybody has been silent.
    """
    return [_beat(row, may_bury=may_bury) for row, may_bury in payloads]


def _beat(row: dict[str, Any], *, may_bury: bool) -> list[str]:
    Worker.objects.update_or_create(
        owner=row["owner"], defaults={k: v for k, v in row.items() if k != "owner"}
    )
    if not may_bury:
        return []
    dead = list(Worker.objects.filter(seen_at__lt=row["seen_at"] - STALE).values_list("owner", flat=True))
    bury([(dead, row["seen_at"])])
    return dead


def slots() -> set[int]:
    """The numbers of all relay processes that are known."""
    return set(Worker.objects.values_list("slot", flat=True))


def take_slot(payloads: Sequence[dict[str, Any]]) -> list[bool]:
    """(row of Worker): True if its slot was free and is now its own."""
    for row in payloads:
        Worker.objects.bulk_create([Worker(**row)], ignore_conflicts=True)
    return [_has_slot(row) for row in payloads]


def _has_slot(row: dict[str, Any]) -> bool:
    return Worker.objects.filter(owner=row["owner"], slot=row["slot"]).exists()


def bury(payloads: Sequence[tuple[Collection[str], datetime]]) -> list[None]:
    """(owners, now): release what dead owners held and forget them."""
    for owners, now in payloads:
        if not owners:
            continue
        release_leases([(owner, now) for owner in sorted(owners)])
        Worker.objects.filter(owner__in=owners).delete()
    return [None] * len(payloads)


def workers_of(node: str) -> list[tuple[str, int]]:
    """(owner, pid) of all processes that this node has ever started and not buried."""
    return list(Worker.objects.filter(node=node).values_list("owner", "pid"))


# ---- small things ------------------------------------------------------------------------------------------------


def note_logins(payloads: Sequence[tuple[int, str, datetime]]) -> list[None]:
    """(credential id, client address, time): last use, the latest of each login."""
    latest = {credential: (at, ip, credential) for credential, ip, at in payloads}
    sql = "UPDATE gateway_credential SET last_used_at = %s, last_used_ip = %s WHERE id = %s"
    rows.many(sql, [latest[key] for key in sorted(latest)])
    return [None] * len(payloads)


def note_setup(payloads: Sequence[tuple[datetime, list[tuple[int, str, str, str, str]]]]) -> list[None]:
    """(time, [(customer id, session, stage, client address, reply)]): how far a watched customer's server got."""
    fields = ("customer_id", "session", "stage", "client_ip", "reply")
    rows.insert(
        SetupEvent,
        ({"at": at, **dict(zip(fields, event, strict=True))} for at, events in payloads for event in events),
    )
    return [None] * len(payloads)


def set_bars(payloads: Sequence[tuple[int, str, datetime, str]]) -> list[None]:
    """(gateway id, destination, until, reason): do not try this destination from there until then."""
    from gateway.models import Bar

    for gateway_id, destination, until, reason in payloads:
        Bar.objects.update_or_create(
            gateway_id=gateway_id, destination=destination, defaults={"until": until, "reason": reason[:500]}
        )
    return [None] * len(payloads)


def mark_warned(payloads: Sequence[tuple[int, datetime]]) -> list[bool]:
    """(message id, time): claim the one delay warning of a message; True for whoever comes first."""
    return [
        Message.objects.filter(id=message_id, warned_at__isnull=True).update(warned_at=at) == 1
        for message_id, at in payloads
    ]


def known_spool_files(names: Iterable[str]) -> set[str]:
    return set(Body.objects.filter(spool__in=list(names)).values_list("spool", flat=True))


@dataclass(frozen=True, slots=True)
class Learned:
    """What this installation learned: word counts (id, ham, spam), and exceptions (customer, domain, symbols, until)."""

    words: list[tuple[int, int, int]]
    exceptions: list[tuple[int, str, list[str], datetime]]


def load_learned() -> Learned:
    return Learned(
        words=list(LocalWord.objects.values_list("feature", "ham", "spam")),
        exceptions=list(
            SpamException.objects.values_list("customer_id", "sender_domain", "symbols", "expires_at")
        ),
    )


def due_held(now: datetime, limit: int) -> list[int]:
    """Held recipients whose lifetime has ended."""
    return list(
        Recipient.objects.filter(state=State.HELD, expires_at__lte=now).values_list("id", flat=True)[:limit]
    )


def load_any(recipient_ids: Sequence[int]) -> list[Recipient]:
    return list(Recipient.objects.filter(id__in=recipient_ids).select_related("message").order_by("id"))


def resume_held(payloads: Sequence[datetime]) -> list[int]:
    """Held mail that is to be tried again (a forced TLS rule's `hold`) goes back into the queue when its time comes."""
    return [
        Recipient.objects.filter(state=State.HELD, next_attempt_at__lte=now).update(state=State.QUEUED)
        for now in payloads
    ]


def requeue(payloads: Sequence[tuple[list[int], str, datetime]]) -> list[int]:
    """(held recipient ids, owner, now): lease expired held mail to an owner, who will settle it."""
    return [
        Recipient.objects.filter(id__in=ids, state=State.HELD).update(
            state=State.QUEUED, lease_owner=owner, next_attempt_at=now + LEASE
        )
        for ids, owner, now in payloads
    ]


def end_bars(payloads: Sequence[datetime]) -> list[int]:
    """Forget bars that are over."""
    from gateway.models import Bar

    return [Bar.objects.filter(until__lte=now).delete()[0] for now in payloads]


@transaction.atomic
def write_now(new: NewMessage) -> None:
    """Queue one message from a process that has no writer thread (portal, scheduler)."""
    insert_messages([new])
