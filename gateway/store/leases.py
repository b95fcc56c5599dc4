"""Who works on which recipient: claims, leases, postponing, and held mail whose time has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from gateway import rows
from gateway.models import (
    Recipient,
)
from gateway.rules.types import State

LEASE = timedelta(seconds=300)


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    owner: str
    pools: tuple[str, ...]
    now: datetime
    limit: int
    not_customers: tuple[int, ...] = ()  # they have enough in the claimer's memory already


def claim(payloads: Sequence[ClaimRequest]) -> list[list[int]]:
    """Lease due recipients to their claimers; returns the recipients' ids."""
    return [_claim(request) for request in payloads]


def _claim(request: ClaimRequest) -> list[int]:
    lock = "FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    sql = (
        "UPDATE gateway_recipient SET lease_owner = %s, next_attempt_at = %s WHERE id IN"  # noqa: S608
        " (SELECT id FROM gateway_recipient WHERE state = 'queued' AND next_attempt_at <= %s"
        f" AND pool IN ({rows.marks(request.pools)}) {_without(request.not_customers)}"
        f" ORDER BY next_attempt_at LIMIT %s {lock}) RETURNING id"
    )
    values = [
        request.owner, request.now + LEASE, request.now, *request.pools, *request.not_customers, request.limit
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(sql, [rows.adapt(value) for value in values])
        return [row[0] for row in cursor.fetchall()]


def _without(customers: Sequence[int]) -> str:
    return f"AND (customer_id IS NULL OR customer_id NOT IN ({rows.marks(customers)}))" if customers else ""


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


RENEW_CHUNK = 500


def renew_leases(payloads: Sequence[tuple[str, list[int], datetime]]) -> list[int]:
    """(owner, recipient ids, now): push the ends of these leases of an owner out again; how many there were."""
    return [_renew(*payload) for payload in payloads]


def _renew(owner: str, ids: list[int], now: datetime) -> int:
    held = Recipient.objects.filter(lease_owner=owner, state=State.QUEUED)
    chunks = (ids[start : start + RENEW_CHUNK] for start in range(0, len(ids), RENEW_CHUNK))
    return sum(held.filter(id__in=chunk).update(next_attempt_at=now + LEASE) for chunk in chunks)


def release_leases(payloads: Sequence[tuple[str, datetime]]) -> list[int]:
    """(owner, now): make everything an owner holds due at once."""
    return [
        Recipient.objects.filter(lease_owner=owner, state=State.QUEUED).update(
            next_attempt_at=now, lease_owner=""
        )
        for owner, now in payloads
    ]


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
