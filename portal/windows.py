"""Bounded time for a search of the log: newest first, window by window.

A filter that an index serves goes through a month in a few windows. One that none serves has to look at every row,
which takes seconds among millions: its windows stay small, and when the time of a page is up the search stops. The page
says how far it got, and its cursor goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from gateway.rules.ids import created_ms, id_at, ids_in

FIRST = ids_in(timedelta(hours=2))
GROWTH = 4  # at most, from one window to the next: nights are quiet, and the day before may not be
AIM_S = 0.03  # what one window should take
BUDGET_S = 0.08  # after it no other window is begun
CLOCKS = timedelta(minutes=1)  # the relays' clocks may be ahead of ours by this

Look = Callable[[int, int], Iterable[tuple[int, int]]]  # (position, message id) of a window, newest first


@dataclass(frozen=True, slots=True)
class Found:
    """A page of message ids, newest first."""

    ids: list[int]
    next_cursor: str  # '' = there is nothing older
    searched_to: datetime | None = None  # the page is not full because its time was up here


def gather(look: Look, spans: Iterable[tuple[int, int]], least: int, size: int) -> Found:
    """Up to `size` messages that `look` finds in the windows `spans`, which go back to `least`. Positions are of the
    windows' kind: ids of messages or of recipients."""
    found: dict[int, None] = {}
    low, last = least, 0
    for low, high in spans:
        for position, message_id in look(low, high):
            if message_id not in found and len(found) == size:
                return Found(list(found), str(last))
            found[message_id] = None
            last = position
    if low <= least:
        return Found(list(found), "")
    return Found(list(found), str(low), datetime.fromtimestamp(created_ms(low) / 1000, UTC))


def before(cursor: str, latest: int) -> int:
    """Where a page begins: at its cursor; one that makes no sense counts as none."""
    return min(int(cursor), latest) if cursor.isdecimal() and len(cursor) < 20 else latest


def too_late() -> int:
    """The first id that is of no message yet."""
    return id_at(timezone.now() + CLOCKS)


def windows(
    least: int, end: int, *, at_once: bool = False, budget_s: float = BUDGET_S
) -> Iterator[tuple[int, int]]:
    """(least id, first id too late) of each window, newest first, sized by what the one before took; one for everything
    when the caller knows that an index serves it (`at_once`).

    At least one is given. Whoever ends up with a least id above `least` has not seen everything.
    """
    begun = moment = time.monotonic()
    span = end - least if at_once else FIRST
    while True:
        low = max(least, end - span)
        yield low, end
        now = time.monotonic()
        if low <= least or now - begun > budget_s:
            return
        span = max(1, int(span * min(GROWTH, AIM_S / max(now - moment, 0.001))))
        end, moment = low, now
