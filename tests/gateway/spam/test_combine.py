"""Joining opinions: numbers, names, shares."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from gateway.rules.spam import Thresholds
from gateway.spam import score
from gateway.spam.combine import Combination, combine
from gateway.spam.engines import EngineResult, on_our_scale
from tests.gateway.spam.mails import HAM, SPAM

HAM_SCORE = score(HAM["en-reply"])
SPAM_SCORE = score(SPAM["en-extortion"])
MEAN = Combination("mean")


def result(engine: str, value: float) -> EngineResult:
    return EngineResult(engine, value, value / 10, 4.0, ())


@pytest.mark.parametrize(
    ("own", "others", "combination", "expected"),
    [
        (HAM_SCORE, [("rspamd", 90)], Combination("max"), 90),
        (HAM_SCORE, [("rspamd", 1), ("spamassassin", 2)], Combination("max"), HAM_SCORE.value),
        (HAM_SCORE, [("rspamd", 60), ("spamassassin", 90)], MEAN, (HAM_SCORE.value + 150) / 3),
        (SPAM_SCORE, [("rspamd", 0)], MEAN, SPAM_SCORE.value / 2),
        (
            HAM_SCORE,
            [("rspamd", 80)],
            Combination("mean", MappingProxyType({"rspamd": 3})),
            (HAM_SCORE.value + 240) / 4,
        ),
        (
            HAM_SCORE,
            [("rspamd", 80)],
            Combination("mean", MappingProxyType({"rspamd": 1, "embedded": 0})),
            80,
        ),
        (
            HAM_SCORE,
            [("rspamd", 80)],
            Combination("mean", MappingProxyType({"rspamd": 0, "embedded": 0})),
            HAM_SCORE.value,
        ),
    ],
)
def test_value_and_shares(own, others, combination, expected) -> None:  # type: ignore[no-untyped-def]
    found = combine(own, [result(*each) for each in others], [], Thresholds(), combination)
    assert found.value == pytest.approx(expected)
    assert sum(symbol.share for symbol in found.symbols) == pytest.approx(expected)
    assert found.features == own.features


def test_engine_names_and_category() -> None:
    found = combine(
        HAM_SCORE, [result("rspamd", 90), result("spamassassin", 5)], [], Thresholds(), Combination("max")
    )
    assert found.engine == "max(embedded,rspamd,spamassassin)"
    assert found.category == "spam"
    assert found.symbols[0].name == "RSPAMD"


def test_an_engine_that_is_down_has_no_say_and_is_named() -> None:
    found = combine(HAM_SCORE, [], ["spamassassin", "rspamd"], Thresholds(), MEAN)
    assert (found.value, found.engine) == (HAM_SCORE.value, "embedded")
    assert found.degraded == ("rspamd", "spamassassin")


def test_mean_without_the_missing_engine() -> None:
    found = combine(HAM_SCORE, [result("rspamd", 80)], ["spamassassin"], Thresholds(), MEAN)
    assert found.value == pytest.approx((HAM_SCORE.value + 80) / 2)
    assert found.degraded == ("spamassassin",)


@pytest.mark.parametrize(
    ("points", "required", "expected"),
    [
        (-3, 5, 0),
        (0, 5, 0),
        (2.5, 5, 20),
        (5, 5, 40),
        (10, 5, 75),
        (15, 5, 87.5),
        (20, 5, 100),
        (99, 5, 100),
        (5, 0, 40),
    ],
)
def test_scale_of_engines(points: float, required: float, expected: float) -> None:
    assert on_our_scale(points, required) == pytest.approx(expected)
