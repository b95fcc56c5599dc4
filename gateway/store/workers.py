"""The relay processes: heartbeats, their numbers, and what dead ones leave behind."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from gateway.models import (
    Worker,
)
from gateway.store.leases import release_leases

STALE = timedelta(seconds=15)


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
