"""Whether one more message may come in: not when the disk that has to keep it is nearly full.

Refused at MAIL with 452 4.3.1, before the body is sent and while there still is room to write down what was accepted:
outcomes, reports, the log. A full disk would hit those first.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.config import Config
from gateway.rules.admission import Space, is_short
from gateway.rules.reasons import refuse
from gateway.rules.types import Refused

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


def measured(place: Path) -> Space:
    """Raises OSError."""
    found = os.statvfs(place)
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


class Admission:
    """One per relay process; asks the file systems at most once a second."""

    def __init__(
        self,
        places: Iterable[Path],
        monotonic: Callable[[], float],
        measure: Callable[[Path], Space] = measured,
    ) -> None:
        self._places = list(places)
        self._monotonic = monotonic
        self._measure = measure
        self._looked_at = float("-inf")
        self._spaces: dict[Path, Space] = {}
        self.is_full = False  # even for a small message, as of the last look

    @classmethod
    def from_config(cls, config: Config, monotonic: Callable[[], float]) -> Admission:
        """The directories of the database file and of the spool."""
        return cls({config.var_dir, config.spool_dir or config.var_dir}, monotonic)

    def check(self, size_bytes: int) -> Refused | None:
        """`size_bytes`: what the client announced (SIZE), 0 = nothing."""
        self._look()
        short = [str(place) for place, space in self._spaces.items() if is_short(space, size_bytes)]
        return refuse("disk", {"places": short}) if short else None

    def _look(self) -> None:
        now = self._monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        self._spaces = {place: self._measure(place) for place in self._places if place.exists()}
        was_full, self.is_full = self.is_full, any(is_short(space, 0) for space in self._spaces.values())
        if self.is_full != was_full:
            text = "no space left for new mail" if self.is_full else "there is space for new mail again"
            log.warning(text, extra={"free_bytes": {str(p): s.free_bytes for p, s in self._spaces.items()}})
