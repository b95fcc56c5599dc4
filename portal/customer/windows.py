"""Bounded time for a search of the log: newest first, window by window.

A filter that an index serves goes through a month in a few windows. One that none serves has to look at every row,
which takes seconds for a customer with millions: its windows stay small, and when the time of a page is up the search
stops.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

from gateway.rules.ids import EPOCH_MS, first_id

FIRST = first_id(EPOCH_MS + int(timedelta(hours=2).total_seconds() * 1000))  # as a difference of ids
GROWTH = 4  # at most, from one window to the next: nights are quiet, and the day before may not be
AIM_S = 0.03  # what one window should take
BUDGET_S = 0.08  # after it no other window is begun


def windows(
    least: int, too_late: int, *, at_once: bool = False, budget_s: float = BUDGET_S
) -> Iterator[tuple[int, int]]:
    """(least id, first id too late) of each window, newest first, sized by what the one before took; one for everything
    when the caller knows that an index serves it (`at_once`).

    At least one is given. Whoever ends up with a least id above `least` has not seen everything.
    """
    begun = moment = time.monotonic()
    span = too_late - least if at_once else FIRST
    while True:
        low = max(least, too_late - span)
        yield low, too_late
        now = time.monotonic()
        if low <= least or now - begun > budget_s:
            return
        span = max(1, int(span * min(GROWTH, AIM_S / max(now - moment, 0.001))))
        too_late, moment = low, now
