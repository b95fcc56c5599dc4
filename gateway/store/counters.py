"""Hourly counters: upserted in the transactions that settle or refuse mail, so that overviews never scan the log."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from gateway import rows
from gateway.models import (
    HourlyCount,
)

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


def count(counts: Counter[tuple[CountKey, str]]) -> None:
    """Add to the hourly counters, in one statement for each (customer, hour, domain)."""
    by_key: dict[CountKey, dict[str, int]] = {}
    for (key, name), number in counts.items():
        by_key.setdefault(key, dict.fromkeys(COUNTERS, 0))[name] += number
    rows.many_last(_COUNT_SQL, [(key, [*key, *numbers.values()]) for key, numbers in by_key.items()])


_TABLE = HourlyCount._meta.db_table
_COUNT_SQL = (
    f"INSERT INTO {_TABLE} (customer_id, hour, domain, {', '.join(COUNTERS)})"  # noqa: S608
    f" VALUES (%s, %s, %s{', %s' * len(COUNTERS)}) ON CONFLICT (customer_id, hour, domain) DO UPDATE SET "
    + ", ".join(f"{name} = {_TABLE}.{name} + excluded.{name}" for name in COUNTERS)
)


def hour_of(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
