"""Up to where in the queue a claimer need not look again, when what is due first is not wanted just now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FORGET_S = 300.0  # then it looks from the beginning: whatever came there late is found


@dataclass(slots=True)
class Front:
    """Everything due before `place` is of the kinds in `unwanted` (a customer, a destination, a pool that has enough).

    The place holds for every claim that does not want these either. A claim that wants one of them begins at the
    beginning, where the oldest of it stands.
    """

    unwanted: frozenset[tuple[str, Any]] = frozenset()
    place: Any = None  # the database's, not looked into
    since: float = 0.0  # monotonic: when the looking began

    def after(self, unwanted: frozenset[tuple[str, Any]], now: float) -> Any:
        """Where to look from; None = from the beginning."""
        return self.place if self.unwanted <= unwanted and now - self.since < FORGET_S else None

    def note(self, unwanted: frozenset[tuple[str, Any]], after: Any, passed: Any, now: float) -> bool:
        """A claim looked from `after` up to `passed`. True when that was a step on: there is more to look at."""
        if passed == after:
            return False
        if after is None:
            self.since = now
        self.unwanted, self.place = unwanted, passed
        return True
