"""/healthz and /readyz of a relay node: for what starts it again, and for what sends it customers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping

from gateway.metrics.server import Answer
from gateway.pulse import Pulse
from gateway.rules.readiness import DOWN, hung, readiness


class Health:
    """One per node, in the process that has the listener."""

    def __init__(self, pulse: Pulse, degraded: Callable[[], Mapping[str, str]]) -> None:
        self._pulse = pulse
        self._degraded = degraded
        self._written_at = time.monotonic()

    def written(self) -> None:
        """The database has taken a heartbeat."""
        self._written_at = time.monotonic()

    async def live(self) -> Answer:
        """200 while the event loop of every process turns."""
        silent = hung(self._pulse.ages_s())
        if silent:
            return Answer(503, f"processes that hang: {', '.join(map(str, silent))}\n".encode())
        return Answer(200, b"ok\n")

    async def ready(self) -> Answer:
        """200 while mail can be taken; the state of every part as JSON."""
        found = readiness(time.monotonic() - self._written_at, self._degraded())
        status = 503 if found["status"] == DOWN else 200
        return Answer(status, json.dumps(found).encode() + b"\n", "application/json")
