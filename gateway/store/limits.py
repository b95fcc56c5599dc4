"""The rate limit's running minute: one row per customer, shared by all processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from gateway import rows


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
    `limit` messages pass within it. Rows are locked in one order by all.
    """
    granted = {place: _take(payloads[place]) for place in _in_order(payloads)}
    return [granted[place] for place in range(len(payloads))]


def _in_order(payloads: Sequence[RateRequest]) -> list[int]:
    return sorted(range(len(payloads)), key=lambda place: payloads[place].customer_id)


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
