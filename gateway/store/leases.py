"""Who works on which recipient: claims, leases, postponing, and held mail whose time has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from gateway import rows
from gateway.models import (
    Recipient,
)
from gateway.rules.types import Pool, State

LEASE = timedelta(seconds=300)

# The words of the indexes' conditions: SQLite uses such an index only where the query has them as they stand.
QUEUED = "state = 'queued'"
FREE = f"{QUEUED} AND lease_owner = ''"
LEASED = f"{QUEUED} AND NOT (lease_owner = '')"
OPEN = "state IN ('queued', 'held')"
HELD = "state = 'held'"

# Where a recipient stands in the queue: next_attempt_at as the database gives it, and the id.
Place = tuple[datetime, int]


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    owner: str
    pools: tuple[str, ...]
    now: datetime
    limit: int
    not_customers: tuple[int, ...] = ()  # they have enough in the claimer's memory already
    not_domains: tuple[str, ...] = ()  # likewise
    after: Place | None = None  # nothing up to here is wanted: an earlier claim's `passed`

    @property
    def is_picky(self) -> bool:
        return bool(self.not_customers or self.not_domains or set(self.pools) != set(Pool))


@dataclass(frozen=True, slots=True)
class Claimed:
    """The recipients, and up to where nothing (more) is wanted by this request."""

    ids: list[int]
    passed: Place | None


# One claim looks at so many due recipients that may not be wanted. The next one goes on after them, so that a million
# of them in front cost every claimer one look in all.
LOOK = 10_000
# Behind this age nothing comes into the queue any more but by a clock that is wrong; the claimer forgets now and then.
SETTLED = timedelta(seconds=10)


def claim(payloads: Sequence[ClaimRequest]) -> list[Claimed]:
    """Lease due recipients to their claimers, in the order in which they became due."""
    return [_claim(request) for request in payloads]


def _claim(request: ClaimRequest) -> Claimed:
    _end_leases(request.now)
    until = _end_of_look(request) if request.is_picky else None
    ids = _lease(request, until)
    is_passed = until is not None and len(ids) < request.limit and _moment(until) <= request.now - SETTLED
    return Claimed(ids, until if is_passed else request.after)


def _end_leases(now: datetime) -> None:
    """What somebody leased and forgot stands in the queue again."""
    sql = (
        "UPDATE gateway_recipient SET lease_owner = '', next_attempt_at = %s WHERE id IN (SELECT id FROM"  # noqa: S608
        f" gateway_recipient WHERE {LEASED} AND next_attempt_at <= %s ORDER BY next_attempt_at LIMIT %s {_lock()})"
    )
    _run(sql, [now, now, POSTPONE_CHUNK])


def _end_of_look(request: ClaimRequest) -> Place | None:
    """Where the look ends; None when the rest of the queue is short."""
    where, values = _due(request, None)
    sql = (
        f"SELECT next_attempt_at, id FROM gateway_recipient WHERE {where}"  # noqa: S608
        " ORDER BY next_attempt_at, id LIMIT 1 OFFSET %s"
    )
    found = _run(sql, [*values, LOOK])
    return (found[0][0], found[0][1]) if found else None


def _lease(request: ClaimRequest, until: Place | None) -> list[int]:
    where, values = _due(request, until)
    for column, unwanted in (("customer_id", request.not_customers), ("domain", request.not_domains)):
        if unwanted:
            where += f" AND ({column} IS NULL OR {column} NOT IN ({rows.marks(unwanted)}))"
            values.extend(unwanted)
    sql = (
        "UPDATE gateway_recipient SET lease_owner = %s, next_attempt_at = %s WHERE id IN"  # noqa: S608
        f" (SELECT id FROM gateway_recipient WHERE {where} AND pool IN ({rows.marks(request.pools)})"
        f" ORDER BY next_attempt_at, id LIMIT %s {_lock()}) RETURNING id"
    )
    found = _run(sql, [request.owner, request.now + LEASE, *values, *request.pools, request.limit])
    return [row[0] for row in found]


def _due(request: ClaimRequest, until: Place | None) -> tuple[str, list[Any]]:
    """Due behind `request.after`, and up to `until`. Not `(next_attempt_at, id) > (%s, %s)`: for a comparison of pairs
    SQLite reads every row, and this it answers from the index, thirty times faster."""
    where = f"{FREE} AND next_attempt_at <= %s"
    values: list[Any] = [until[0] if until else request.now]
    if until is not None:
        where += " AND (next_attempt_at < %s OR id <= %s)"
        values.extend(until)
    if request.after is not None:
        where += " AND next_attempt_at >= %s AND (next_attempt_at > %s OR id > %s)"
        values.extend([request.after[0], *request.after])
    return where, values


def _moment(place: Place) -> datetime:
    """SQLite's cursor gives a time without its zone, which is UTC."""
    return place[0] if place[0].tzinfo else place[0].replace(tzinfo=UTC)


def _lock() -> str:
    return "FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""


def _run(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement that gives any."""
    with connection.cursor() as cursor:
        cursor.execute(sql, [rows.adapt(value) for value in values])
        return cursor.fetchall() if cursor.description else []


def _changed(sql: str, values: Sequence[Any]) -> int:
    """How many rows a statement changed."""
    with connection.cursor() as cursor:
        cursor.execute(sql, [rows.adapt(value) for value in values])
        return int(cursor.rowcount)


def load(recipient_ids: Sequence[int]) -> list[Recipient]:
    """The claimed recipients with their messages, still queued ones only."""
    return list(
        Recipient.objects.filter(id__in=recipient_ids, state=State.QUEUED)
        .select_related("message")
        .order_by("id")
    )


def still_leased(recipient_ids: Sequence[int], owner: str) -> set[int]:
    """Which of the recipients are queued and the owner's, as they were when it took them."""
    found = Recipient.objects.filter(id__in=recipient_ids, state=State.QUEUED, lease_owner=owner)
    return set(found.values_list("id", flat=True))


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
    """(pool, domain, now, until): what is due for a dead destination waits until then, or its expiry, without being
    loaded. At most POSTPONE_CHUNK recipients at a time, so that new mail never waits long for the transaction."""
    return [_postpone_domain(*payload) for payload in payloads]


def _postpone_domain(pool: str, domain: str, now: datetime, until: datetime) -> int:
    sql = (
        "UPDATE gateway_recipient SET next_attempt_at = CASE WHEN expires_at < %s THEN expires_at ELSE %s END"  # noqa: S608
        f" WHERE id IN (SELECT id FROM gateway_recipient WHERE {OPEN} AND {FREE} AND pool = %s AND domain = %s"
        " AND next_attempt_at <= %s AND expires_at > %s LIMIT %s)"
    )
    return _changed(sql, [until, until, pool, domain, now, now, POSTPONE_CHUNK])


RENEW_CHUNK = 500


def renew_leases(payloads: Sequence[tuple[str, list[int], datetime]]) -> list[int]:
    """(owner, recipient ids, now): push the ends of these leases of an owner out again; how many there were."""
    return [_renew(*payload) for payload in payloads]


def _renew(owner: str, ids: list[int], now: datetime) -> int:
    held = Recipient.objects.filter(lease_owner=owner, state=State.QUEUED)
    chunks = (ids[start : start + RENEW_CHUNK] for start in range(0, len(ids), RENEW_CHUNK))
    return sum(held.filter(id__in=chunk).update(next_attempt_at=now + LEASE) for chunk in chunks)


def release_leases(payloads: Sequence[tuple[str, datetime]]) -> list[None]:
    """(owner, now): make everything an owner holds due at once."""
    sql = (
        "UPDATE gateway_recipient SET lease_owner = '', next_attempt_at = %s"  # noqa: S608
        f" WHERE {LEASED} AND lease_owner = %s"
    )
    for owner, now in payloads:
        _run(sql, [now, owner])
    return [None] * len(payloads)


def due_held(now: datetime, limit: int) -> list[int]:
    """Held recipients whose lifetime has ended."""
    sql = f"SELECT id FROM gateway_recipient WHERE {HELD} AND expires_at <= %s LIMIT %s"  # noqa: S608
    return [row[0] for row in _run(sql, [now, limit])]


def load_any(recipient_ids: Sequence[int]) -> list[Recipient]:
    return list(Recipient.objects.filter(id__in=recipient_ids).select_related("message").order_by("id"))


def resume_held(payloads: Sequence[datetime]) -> list[int]:
    """Held mail that is to be tried again (a forced TLS rule's `hold`) goes back into the queue when its time comes."""
    return [_resume_held(now) for now in payloads]


def _resume_held(now: datetime) -> int:
    sql = (
        "UPDATE gateway_recipient SET state = 'queued', next_attempt_at = %s"  # noqa: S608
        f" WHERE id IN (SELECT id FROM gateway_recipient WHERE {HELD} AND next_attempt_at <= %s LIMIT %s)"
    )
    return _changed(sql, [now, now, POSTPONE_CHUNK])


def requeue(payloads: Sequence[tuple[list[int], str, datetime]]) -> list[int]:
    """(held recipient ids, owner, now): lease expired held mail to an owner, who will settle it."""
    return [
        Recipient.objects.filter(id__in=ids, state=State.HELD).update(
            state=State.QUEUED, lease_owner=owner, next_attempt_at=now + LEASE
        )
        for ids, owner, now in payloads
    ]
