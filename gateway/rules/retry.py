"""When to try again, and when to give up. Pure: the clock and the dice come in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

JITTER = 0.1


def next_attempt(
    attempts: int, now: datetime, expires_at: datetime, schedule_s: Sequence[int], dice: float
) -> datetime | None:
    """The time of the next attempt after `attempts` that came to nothing; None when the mail has expired.

    The last interval of the schedule repeats. `dice` (0..1) spreads each interval by ten per cent, so that a thousand
    messages deferred together do not come back together. A last attempt is made right at the end of the lifetime.
    """
    if now >= expires_at:
        return None
    interval_s = schedule_s[min(max(attempts, 1), len(schedule_s)) - 1]
    spread_s = interval_s * (1 + JITTER * (2 * dice - 1))
    return min(now + timedelta(seconds=spread_s), expires_at)


def warning_due(received_at: datetime, now: datetime, after_h: int) -> bool:
    """Whether the sender should be told about a delay by now (0 hours: never)."""
    return after_h > 0 and now - received_at >= timedelta(hours=after_h)
