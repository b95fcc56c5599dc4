"""Scores, categories and thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway.rules.types import Category, Pool

SUSPECT_BOUNDS = (20.0, 70.0)
"""How strict and how loose a customer's own `suspect` threshold may be."""
SPAM_BOUNDS = (50.0, 95.0)

LEAST_SHARE = 0.05
"""Smaller shares (kinds of evidence that the mail has not, mostly) are no reasons to show."""

Combining = Literal["max", "mean", "engines"]
"""How the opinions of several engines become one, see `gateway.spam.combine`."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which score (0..100) a message is suspect, and from which spam. Suspect and spam leave by Bad."""

    suspect: float = 40.0
    spam: float = 75.0


@dataclass(frozen=True, slots=True)
class Symbol:
    """One named reason; `share` = points it adds to the score (negative: it speaks for the mail)."""

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Score:
    """The judgement of one message.

    `value` 0..100; `category` 'clean' | 'suspect' | 'spam'; `kind` 'phishing' | 'scam' | 'extortion' | 'adult' |
    'pharmacy' | 'sales' | 'bulk' or None when nothing tells; `symbols` by descending share, their shares add up to
    `value`; `engine` whose value it is ('embedded', 'rspamd', 'max(embedded,rspamd)', ...); `degraded` engines that
    were asked and did not answer; `features` the vector that `gateway.spam.rescore` takes, without any text.
    """

    value: float
    category: str
    kind: str | None
    symbols: tuple[Symbol, ...]
    engine: str
    degraded: tuple[str, ...]
    features: bytes

    def as_json(self) -> dict[str, Any]:
        """Plain values for the command line and the API; the vector is left out."""
        return {
            "score": round(self.value, 2),
            "category": self.category,
            "kind": self.kind,
            "symbols": [{"name": symbol.name, "share": round(symbol.share, 2)} for symbol in self.symbols],
            "engine": self.engine,
            "degraded": list(self.degraded),
        }


def category_of(value: float, thresholds: Thresholds) -> Category:
    """Category of a score; a value on a threshold belongs to the worse side."""
    if value >= max(thresholds.spam, thresholds.suspect):
        return Category.SPAM
    return Category.SUSPECT if value >= thresholds.suspect else Category.CLEAN


def pool_of(category: str) -> Pool:
    """Suspect and spam leave by Bad, clean mail by Good."""
    return Pool.GOOD if category == Category.CLEAN else Pool.BAD


def bounded(suspect: float | None, spam: float | None, default: Thresholds) -> Thresholds:
    """A customer's own thresholds, None = the operator's, pulled into the bounds; spam never below suspect."""
    low = default.suspect if suspect is None else _within(suspect, SUSPECT_BOUNDS)
    high = default.spam if spam is None else _within(spam, SPAM_BOUNDS)
    return Thresholds(low, max(low, high))


def flipping(symbols: Iterable[Symbol], value: float, threshold: float) -> tuple[str, ...]:
    """Names that would have to go for `value` to fall below `threshold`, judged by their shares: largest first, as
    few as possible; () when the value is below already or all of them together are not enough."""
    gone: list[str] = []
    for symbol in sorted(symbols, key=lambda each: (-each.share, each.name)):
        if value < threshold:
            return tuple(gone)
        if symbol.share <= 0:
            return ()
        gone.append(symbol.name)
        value -= symbol.share
    return tuple(gone) if value < threshold else ()


def ordered(symbols: Iterable[Symbol]) -> Sequence[Symbol]:
    """Largest share first, the name settles ties."""
    return sorted(symbols, key=lambda symbol: (-symbol.share, symbol.name))


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])
