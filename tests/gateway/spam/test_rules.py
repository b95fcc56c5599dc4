"""Thresholds, categories and backtests as tables."""

from __future__ import annotations

import pytest

from gateway.rules.backtest import Stored, Tally, replay
from gateway.rules.spam import Symbol, Thresholds, bounded, category_of, flipping, pool_of
from gateway.rules.types import Pool

DEFAULT = Thresholds()


@pytest.mark.parametrize(
    ("value", "category", "pool"),
    [
        (0.0, "clean", Pool.GOOD),
        (39.999, "clean", Pool.GOOD),
        (40.0, "suspect", Pool.BAD),
        (74.999, "suspect", Pool.BAD),
        (75.0, "spam", Pool.BAD),
        (100.0, "spam", Pool.BAD),
    ],
)
def test_category_and_pool(value: float, category: str, pool: Pool) -> None:
    assert category_of(value, DEFAULT) == category
    assert pool_of(category) is pool


def test_spam_threshold_below_suspect_does_not_make_clean_mail_spam() -> None:
    assert category_of(45, Thresholds(50, 30)) == "clean"
    assert category_of(55, Thresholds(50, 30)) == "spam"


@pytest.mark.parametrize(
    ("suspect", "spam", "expected"),
    [
        (None, None, Thresholds(40, 75)),
        (30, None, Thresholds(30, 75)),
        (1, 1, Thresholds(20, 50)),
        (99, 99, Thresholds(70, 95)),
        (70, 50, Thresholds(70, 70)),
    ],
)
def test_customers_thresholds_stay_within_bounds(
    suspect: float | None, spam: float | None, expected: Thresholds
) -> None:
    assert bounded(suspect, spam, DEFAULT) == expected


@pytest.mark.parametrize(
    ("shares", "value", "expected"),
    [
        ([("A", 30), ("B", 20), ("C", -5)], 45, ("A",)),
        ([("A", 30), ("B", 20)], 50.5, ("A",)),
        ([("A", 5), ("B", 4), ("BASE", 3)], 48, ("A", "B")),
        ([("A", 5)], 90, ()),
        ([("A", 5)], 39, ()),
        ([], 50, ()),
        ([("A", -5)], 50, ()),
    ],
)
def test_flipping_by_shares(shares: list[tuple[str, float]], value: float, expected: tuple[str, ...]) -> None:
    assert flipping([Symbol(*each) for each in shares], value, 40) == expected


ROWS = [Stored(1, 10, 35.0), Stored(2, 10, 41.0), Stored(3, 20, 80.0), Stored(4, 20, 10.0)]


def test_backtest_of_a_stricter_threshold_names_who_moves() -> None:
    found = replay(ROWS, lambda _: DEFAULT, lambda _: Thresholds(suspect=30))
    assert (found.messages, found.to_bad, found.to_good, found.unreadable) == (4, 1, 0, 0)
    assert [(move.message_id, move.to) for move in found.moves] == [(1, Pool.BAD)]
    assert found.by_customer == {10: Tally(2, 1, 0), 20: Tally(2, 0, 0)}


def test_backtest_of_one_customers_looser_threshold() -> None:
    found = replay(
        ROWS, lambda _: DEFAULT, lambda customer: Thresholds(suspect=60) if customer == 10 else DEFAULT
    )
    assert [(move.message_id, move.to) for move in found.moves] == [(2, Pool.GOOD)]


def test_backtest_of_a_new_score_counts_what_cannot_be_read() -> None:
    scores = {1: 90.0, 2: 41.0, 3: None, 4: 50.0}
    found = replay(ROWS, lambda _: DEFAULT, lambda _: DEFAULT, lambda row: scores[row.message_id], limit=1)
    assert (found.messages, found.to_bad, found.unreadable) == (3, 2, 1)
    assert [(move.message_id, move.before, move.after) for move in found.moves] == [(1, 35.0, 90.0)]
