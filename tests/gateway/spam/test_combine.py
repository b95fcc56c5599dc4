"""Joining opinions: numbers, names, shares."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from gateway.rules.spam import Thresholds
from gateway.spam import score
from gateway.spam.combine import Combination, combine, of_engines
from gateway.spam.engines import EngineResult, on_our_scale
from gateway.spam.symbols import describe
from tests.gateway.spam.mails import HAM, SPAM

HAM_SCORE = score(HAM["en-reply"])
SPAM_SCORE = score(SPAM["en-extortion"])
MEAN = Combination("mean")


def result(engine: str, value: float) -> EngineResult:
    """An opinion of `value`, no reasons told."""
    ratio = value / 40 if value <= 40 else 1 + (value - 40) / 35 if value <= 75 else 2 + (value - 75) / 12.5
    return EngineResult(engine, 4.0 * ratio, 4.0)


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


TOLD = EngineResult(
    "rspamd",
    8.0,
    4.0,
    (("RSPAMD:SCAM", 7.0), ("RSPAMD:OLD", 2.0), ("RSPAMD:TINY", 0.001), ("RSPAMD:GOOD", -1.5)),
)
"""Twice what is required: 75. Its rules explain 7.501 of its 8 points."""


def test_an_engines_part_is_shared_out_among_its_rules() -> None:
    alone = of_engines([TOLD, result("spamassassin", 60)], [], Thresholds())
    assert [(symbol.name, round(symbol.share, 2)) for symbol in alone.symbols] == [
        ("RSPAMD:SCAM", 65.62),
        ("RSPAMD:OLD", 18.75),
        ("RSPAMD", 4.69),
        ("RSPAMD:GOOD", -14.06),
    ]
    joined = combine(HAM_SCORE, [TOLD], [], Thresholds(), Combination("max"))
    assert (
        next(symbol.name for symbol in joined.symbols if symbol.name.startswith("RSPAMD:")) == "RSPAMD:SCAM"
    )
    for found in (alone, joined):
        assert sum(symbol.share for symbol in found.symbols) == pytest.approx(found.value)


def test_a_rule_of_an_engine_is_named_in_the_readers_language() -> None:
    assert describe("RSPAMD:SCAM") == "Judgement of Rspamd: SCAM"
    assert describe("RSPAMD:SCAM", "de") == "Urteil von Rspamd: SCAM"
    assert describe("SOMETHING:ELSE") == "SOMETHING:ELSE"


def test_an_engine_that_finds_nothing_gives_no_reasons() -> None:
    good = EngineResult("rspamd", -1.0, 4.0, (("RSPAMD:OLD", 0.5), ("RSPAMD:GOOD", -1.5)))
    assert of_engines([good], [], Thresholds()).symbols == ()


@pytest.mark.parametrize(
    ("without", "points", "rules"),
    [
        ((), 8.0, 4),
        (("FREEMAIL", "RSPAMD"), 8.0, 4),
        (("RSPAMD:SCAM",), 1.0, 3),
        (("RSPAMD:GOOD", "RSPAMD:OLD"), 7.5, 2),
    ],
)
def test_an_exception_for_a_rule_takes_its_points_away(
    without: tuple[str, ...], points: float, rules: int
) -> None:
    found = TOLD.excused(without)
    assert (found.points, len(found.rules)) == (points, rules)


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
