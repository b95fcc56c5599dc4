"""A deadline that is moved with every command. One timer per connection, which is only set anew when it fires early:
moving is two assignments, not a cancelled and a new timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_NEVER = float("inf")


class Deadline:
    """Calls `on_expiry` once the time is up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_expiry: Callable[[], None]) -> None:
        self._loop = loop
        self._on_expiry = on_expiry
        self._at = _NEVER
        self._timer: asyncio.TimerHandle | None = None

    def limit(self, seconds: float) -> None:
        """The client has this long from now."""
        self.limit_at(self._loop.time() + seconds)

    def limit_at(self, moment: float) -> None:
        """The client has until this moment of the loop's clock."""
        self._at = moment
        if self._timer is None or self._timer.when() > moment:
            self.cancel_timer()
            self._timer = self._loop.call_at(moment, self._fired)

    def suspend(self) -> None:
        """It is our turn; what we do has limits of its own."""
        self._at = _NEVER

    def cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _fired(self) -> None:
        self._timer = None
        if self._at == _NEVER:
            return
        if self._loop.time() < self._at:
            self._timer = self._loop.call_at(self._at, self._fired)
        else:
            self._on_expiry()
