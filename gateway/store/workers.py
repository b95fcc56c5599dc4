"""The relay processes: heartbeats, their numbers, and what dead ones leave behind."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from gateway.models import (
    Worker,
)
from gateway.rules.liveness import Beat
from gateway.store.leases import release_leases


def beat(payloads: Sequence[tuple[dict[str, Any], Collection[str]]]) -> list[bool]:
    """(row of Worker, owners found dead): write heartbeats and take over from the dead. False for a process that
    others have buried meanwhile: what it leased is not its own any more."""
    return [_beat(row, dead) for row, dead in payloads]


def _beat(row: dict[str, Any], dead: Collection[str]) -> bool:
    bury([(dead, row["seen_at"])])
    news = {name: value for name, value in row.items() if name != "owner"}
    return Worker.objects.filter(owner=row["owner"]).update(**news) == 1


def beats() -> list[Beat]:
    """The last sign of life of every relay process that is known."""
    return [Beat(*row) for row in Worker.objects.values_list("owner", "node", "pid", "seen_at")]


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
