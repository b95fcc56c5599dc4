"""The relay's clock beside a system's clock that jumps."""

from __future__ import annotations

import pytest

from gateway.clock import SLEW, SteadyClock

DAY_S = 86400.0


class Hands:
    """A system's two clocks, moved by hand."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.uptime = 1000.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.uptime += seconds


def made() -> tuple[Hands, SteadyClock]:
    hands = Hands()
    return hands, SteadyClock(lambda: hands.wall, lambda: hands.uptime)


def test_it_tells_the_systems_time_while_nothing_happens() -> None:
    hands, clock = made()
    for _ in range(100):
        hands.pass_by(3.7)
        assert clock.utc_now().timestamp() == pytest.approx(hands.wall, abs=1e-3)
    assert abs(clock.behind_s) < 1e-3


@pytest.mark.parametrize("jump", [DAY_S, -DAY_S])
def test_a_jump_of_a_day_moves_it_by_no_more_than_the_slew(jump: float) -> None:
    hands, clock = made()
    before = clock.utc_now().timestamp()
    hands.wall += jump
    assert clock.utc_now().timestamp() == pytest.approx(before, abs=1e-3)
    assert clock.behind_s == pytest.approx(jump, abs=1e-2)
    hands.pass_by(600)
    assert abs(clock.utc_now().timestamp() - before - 600) == pytest.approx(600 * SLEW, abs=1e-2)


def test_a_small_step_is_followed_in_time_and_not_overrun() -> None:
    hands, clock = made()
    hands.wall += 20
    for _ in range(500):
        hands.pass_by(1)
        clock.utc_now()
    assert clock.utc_now().timestamp() == pytest.approx(hands.wall, abs=1e-3)


def test_it_never_goes_back() -> None:
    hands, clock = made()
    hands.wall -= DAY_S
    seen = [clock.utc_now()]
    for _ in range(50):
        hands.pass_by(0.5)
        seen.append(clock.utc_now())
    assert seen == sorted(seen)
