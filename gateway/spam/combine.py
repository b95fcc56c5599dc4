"""Several opinions into one score: pure arithmetic, the operator's choice of how.

`max` takes the worst opinion, `mean` the weighted mean; an engine that is down has no say, and its weight goes to the
others. `engines` leaves ours out while an engine answers: it is not even formed then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from gateway.rules.spam import LEAST_SHARE, Combining, Score, Symbol, Thresholds, category_of, ordered
from gateway.spam.engines import EngineResult
from gateway.spam.symbols import engine_symbol


@dataclass(frozen=True, slots=True)
class Combination:
    """How opinions are joined. `weights` by engine name ('embedded', 'rspamd', 'spamassassin'), 1 where absent."""

    how: Combining = "max"
    weights: MappingProxyType[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def weight(self, engine: str) -> float:
        """Weight of an engine in the mean; never negative."""
        return max(0.0, self.weights.get(engine, 1.0))


def combine(
    own: Score,
    results: Sequence[EngineResult],
    down: Iterable[str],
    thresholds: Thresholds,
    combination: Combination,
) -> Score:
    """One score from ours and the engines'. Shares still add up to the value: each opinion's are scaled to the part it
    has in it."""
    degraded = tuple(sorted(set(down)))
    if not results or own.value >= 100.0:
        return replace(own, degraded=degraded) if degraded else own
    parts = (
        _parts_of_max(own, results) if combination.how == "max" else _parts_of_mean(own, results, combination)
    )
    value = min(100.0, sum(part for _, part in parts))
    shares = dict(parts)
    symbols = _scaled(own, shares.get(own.engine, 0.0))
    for result in results:
        symbols += _reasons(result, shares.get(result.engine, 0.0))
    names = ",".join((own.engine, *sorted(result.engine for result in results)))
    category = category_of(value, thresholds)
    kind = own.kind if category != "clean" else None
    return Score(
        value, category, kind, tuple(ordered(symbols)), f"{combination.how}({names})", degraded, own.features
    )


def of_engines(results: Sequence[EngineResult], down: Iterable[str], thresholds: Thresholds) -> Score:
    """The score of the engines alone, of which there is at least one: the worst opinion and its reasons."""
    worst = _worst(results)
    names = ",".join(sorted(result.engine for result in results))
    return Score(
        worst.value,
        category_of(worst.value, thresholds),
        None,
        tuple(ordered(_reasons(worst, worst.value))),
        names if len(results) == 1 else f"max({names})",
        tuple(sorted(set(down))),
        b"",
    )


def _worst(results: Sequence[EngineResult]) -> EngineResult:
    return max(results, key=lambda result: (result.value, result.engine))


def _parts_of_max(own: Score, results: Sequence[EngineResult]) -> list[tuple[str, float]]:
    """Our whole value, and what the worst engine adds on top."""
    worst = _worst(results)
    return [(own.engine, own.value), (worst.engine, max(0.0, worst.value - own.value))]


def _parts_of_mean(
    own: Score, results: Sequence[EngineResult], combination: Combination
) -> list[tuple[str, float]]:
    values = [(own.engine, own.value), *((result.engine, result.value) for result in results)]
    total = sum(combination.weight(name) for name, _ in values)
    if not total:
        return [(own.engine, own.value)]
    return [(name, value * combination.weight(name) / total) for name, value in values]


def _scaled(own: Score, ours: float) -> list[Symbol]:
    factor = ours / own.value if own.value else 0.0
    return [Symbol(symbol.name, symbol.share * factor) for symbol in own.symbols]


def _reasons(result: EngineResult, part: float) -> list[Symbol]:
    """An engine's `part` of a score shared out among its rules by their points. What they leave (small ones, and what
    the engine's sum has beyond its rules) is the share of the engine's own symbol."""
    if not part:
        return []
    step = part / result.points
    told = [Symbol(name, points * step) for name, points in result.rules]
    told = [symbol for symbol in told if abs(symbol.share) >= LEAST_SHARE]
    rest = part - sum(symbol.share for symbol in told)
    return told if abs(rest) < LEAST_SHARE / 10 else [*told, Symbol(engine_symbol(result.engine), rest)]
