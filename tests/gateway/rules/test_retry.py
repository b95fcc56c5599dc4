"""When to try again, when to give up, when to warn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.retry import next_attempt, warning_due

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
FAR = NOW + timedelta(days=5)
SCHEDULE_S = (60, 300, 900)


@pytest.mark.parametrize(
    ("attempts", "dice", "seconds"),
    [
        (1, 0.5, 60),
        (2, 0.5, 300),
        (3, 0.5, 900),
        (4, 0.5, 900),
        (99, 0.5, 900),
        (0, 0.5, 60),
        (1, 0, 54),
        (1, 1, 66),
    ],
)
def test_the_schedule_is_followed_and_its_last_interval_repeats(
    attempts: int, dice: float, seconds: float
) -> None:
    assert next_attempt(attempts, NOW, FAR, SCHEDULE_S, dice) == NOW + timedelta(seconds=seconds)


def test_a_last_attempt_is_made_at_the_end_of_the_lifetime() -> None:
    soon = NOW + timedelta(seconds=20)
    assert next_attempt(3, NOW, soon, SCHEDULE_S, 0.5) == soon
    assert next_attempt(4, soon, soon, SCHEDULE_S, 0.5) is None


@given(st.integers(0, 1000), st.floats(0, 1), st.integers(-100_000, 600_000))
def test_never_in_the_past_and_never_after_the_end(attempts: int, dice: float, left_s: int) -> None:
    expires_at = NOW + timedelta(seconds=left_s)
    again = next_attempt(attempts, NOW, expires_at, SCHEDULE_S, dice)
    assert again is None if left_s <= 0 else NOW < again <= expires_at  # type: ignore[operator]


@pytest.mark.parametrize(
    ("waited_h", "after_h", "due"), [(4, 4, True), (3.99, 4, False), (100, 0, False), (5, 4, True)]
)
def test_a_warning_is_due_after_the_customers_hours(waited_h: float, after_h: int, due: bool) -> None:
    assert warning_due(NOW - timedelta(hours=waited_h), NOW, after_h) is due
