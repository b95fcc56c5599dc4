"""Which relay processes are dead: by what was seen of them, and by nobody's clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

# A process of another node; with beats every 2 s and a claim every second its mail is taken over within 13 s.
SILENCE_S = 8.0
# A process of our own node that runs, but does not beat (or whose number another one has now).
HUNG_S = 60.0
# Who could not look for so long cannot say that others were silent: perhaps the database was away.
GAP_S = 6.0


@dataclass(frozen=True, slots=True)
class Beat:
    """One row of Worker."""

    owner: str
    node: str
    pid: int
    seen_at: datetime


class Watch:
    """One per relay process. `is_alive`: whether a process of this node runs."""

    def __init__(self, owner: str, node: str, is_alive: Callable[[int], bool]) -> None:
        self._owner = owner
        self._node = node
        self._is_alive = is_alive
        # owner -> its last beat, and when we first saw that one
        self._seen: dict[str, tuple[datetime, float]] = {}
        self._looked_at = float("-inf")

    def dead(self, beats: Sequence[Beat], now: float) -> list[str]:
        """Owners that are gone, as of `now` (monotonic)."""
        before = self._seen if now - self._looked_at <= GAP_S else {}
        self._looked_at = now
        self._seen = {beat.owner: self._news(beat, before, now) for beat in beats}
        return [
            beat.owner
            for beat in beats
            if beat.owner != self._owner and self._is_dead(beat, now - self._seen[beat.owner][1])
        ]

    @staticmethod
    def _news(beat: Beat, before: dict[str, tuple[datetime, float]], now: float) -> tuple[datetime, float]:
        known = before.get(beat.owner)
        return known if known is not None and known[0] == beat.seen_at else (beat.seen_at, now)

    def _is_dead(self, beat: Beat, silent_s: float) -> bool:
        if beat.node != self._node:
            return silent_s > SILENCE_S
        return not self._is_alive(beat.pid) or silent_s > HUNG_S
