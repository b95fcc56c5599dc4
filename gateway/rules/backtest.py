"""Backtest: what a changed threshold, weight or rule would have done to the mail of the last days.

Pure: stored vectors go in with two ways to score them, and out comes who would move from one pool to the other. No
text of any message is needed or kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gateway.rules.spam import Thresholds, category_of, pool_of
from gateway.rules.types import Pool


@dataclass(frozen=True, slots=True)
class Stored:
    """One judged message as it was kept: `score` 0..100 at the time, `vector` as `Score.features`."""

    message_id: int
    customer_id: int
    score: float
    vector: bytes = b""


@dataclass(frozen=True, slots=True)
class Move:
    """A message that would leave by the other pool."""

    message_id: int
    customer_id: int
    before: float
    after: float
    to: Pool


@dataclass(frozen=True, slots=True)
class Tally:
    """Numbers of one customer: messages looked at, and how many would go to each pool that did not before."""

    messages: int = 0
    to_bad: int = 0
    to_good: int = 0

    def plus(self, to: Pool | None) -> Tally:
        """The tally with one more message, which moves to `to` (None: stays)."""
        return Tally(self.messages + 1, self.to_bad + (to is Pool.BAD), self.to_good + (to is Pool.GOOD))


@dataclass(frozen=True, slots=True)
class Backtest:
    """Everything that would change. `moves` are the first `limit` ones, largest change first;
    `by_customer` is whole."""

    messages: int
    to_bad: int
    to_good: int
    unreadable: int
    by_customer: Mapping[int, Tally] = field(default_factory=dict)
    moves: tuple[Move, ...] = ()


ScoreOf = Callable[[Stored], float | None]
"""New score of a stored message; None when its vector can no longer be read."""


def replay(
    rows: Iterable[Stored],
    old: Callable[[int], Thresholds],
    new: Callable[[int], Thresholds],
    new_score: ScoreOf = lambda row: row.score,
    limit: int = 100,
) -> Backtest:
    """Compare pools before and after. `old` and `new` give a customer's thresholds; `new_score` the changed score
    (by default the old one, for a change of thresholds alone)."""
    tallies: dict[int, Tally] = {}
    moves: list[Move] = []
    unreadable = 0
    for row in rows:
        after = new_score(row)
        if after is None:
            unreadable += 1
            continue
        move = _move(row, after, old(row.customer_id), new(row.customer_id))
        tallies[row.customer_id] = tallies.get(row.customer_id, Tally()).plus(move.to if move else None)
        if move is not None:
            moves.append(move)
    moves.sort(key=lambda move: (-abs(move.after - move.before), move.message_id))
    return Backtest(
        sum(tally.messages for tally in tallies.values()),
        sum(tally.to_bad for tally in tallies.values()),
        sum(tally.to_good for tally in tallies.values()),
        unreadable,
        tallies,
        tuple(moves[:limit]),
    )


def _move(row: Stored, after: float, old: Thresholds, new: Thresholds) -> Move | None:
    before_pool, after_pool = pool_of(category_of(row.score, old)), pool_of(category_of(after, new))
    if before_pool is after_pool:
        return None
    return Move(row.message_id, row.customer_id, row.score, after, after_pool)
