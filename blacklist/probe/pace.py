"""Politeness towards the lists, and giving up on those that fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

IN_FLIGHT = 100  # 200 and more overflow the sockets' buffers: missed answers, seen as silence
IN_FLIGHT_PER_LIST = 4
FAILURES = 5
ROUNDING = 1e-9
Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Pace:
    """Time, as the probe sees it; tests bring their own."""

    clock: Clock = time.monotonic
    sleep: Sleep = asyncio.sleep
    jitter_s: float = 0.0  # each list starts at a random moment of this span
    faster: float = 1.0  # multiplies every rate


class Bucket:
    """A token bucket: `rate` questions a second, a burst of one second's worth (at most ten)."""

    def __init__(self, rate_qps: float, pace: Pace) -> None:
        self._rate = rate_qps * pace.faster
        self._size = max(1.0, min(self._rate, 10.0 * pace.faster))
        self._tokens = self._size
        self._pace = pace
        self._filled = pace.clock()

    async def take(self) -> None:
        """Wait for the next question's turn. Waiters are served by asking again: order among them does not matter."""
        while True:
            now = self._pace.clock()
            self._tokens = min(self._size, self._tokens + (now - self._filled) * self._rate)
            self._filled = now
            if self._tokens >= 1.0 - ROUNDING:  # or a waiter could sleep for 1e-17 s for ever
                self._tokens -= 1.0
                return
            await self._pace.sleep((1.0 - self._tokens) / self._rate)


class Breaker:
    """Opens after five failures in a row, or one error code: asking on would be useless, and rude."""

    def __init__(self) -> None:
        self._failures = 0
        self.why = ""

    @property
    def is_open(self) -> bool:
        return bool(self.why)

    def success(self) -> None:
        self._failures = 0

    def failure(self, why: str, *, stop: bool = False) -> None:
        self._failures += 1
        if stop or self._failures >= FAILURES:
            self.why = self.why or why
