"""The relay's clock: it tells the time of day, and does not jump when the system's clock does.

Waits, lifetimes, leases and limits are kept as times of day in the database. If one of those clocks were set forward by
a day, everything deferred would be due at once, mail would expire a day early, and leases of the living would look
like leases of the dead. So a relay reads the system's clock once and counts on by a clock that nobody can set
(CLOCK_BOOTTIME: it runs on while a machine sleeps). It follows the system's clock by being at most 5 % faster or
slower, as NTP daemons do; a restart of the whole relay takes over the system's time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

SLEW = 0.05  # a wait may be so much shorter or longer
JUMP_S = 60.0  # a difference that somebody should know of


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """Made before the processes are forked, so that all of a node, restarted ones too, agree."""

    def __init__(self, wall: Callable[[], float] = time.time, uptime: Callable[[], float] = _uptime) -> None:
        self._wall = wall
        self._uptime = uptime
        self._time = wall()
        self._read_at = uptime()

    def utc_now(self) -> datetime:
        """Never earlier than what it said before."""
        uptime = self._uptime()
        elapsed = max(0.0, uptime - self._read_at)
        self._read_at = uptime
        steady = self._time + elapsed
        correction = max(-SLEW * elapsed, min(SLEW * elapsed, self._wall() - steady))
        self._time = steady + correction
        return datetime.fromtimestamp(self._time, UTC)

    @property
    def behind_s(self) -> float:
        """How much the system's clock is ahead of this one (negative: behind it)."""
        return self._wall() - self.utc_now().timestamp()
