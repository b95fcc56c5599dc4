"""Message ids: unique, growing, readable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.ids import EPOCH_MS, IdMaker, created_ms, from_text, id_at, ids_in, ids_of, to_text

NOW = EPOCH_MS + 90_000_000_000


def test_ids_grow_and_never_repeat_within_a_millisecond() -> None:
    maker = IdMaker(5)
    ids = [maker.next(NOW) for _ in range(10_000)]
    assert len(set(ids)) == 10_000
    assert ids == sorted(ids)
    assert created_ms(ids[0]) == NOW
    assert created_ms(ids[-1]) == NOW + 2  # 4096 a millisecond, the rest is borrowed


def test_ids_grow_when_the_clock_goes_back() -> None:
    maker = IdMaker(0)
    assert maker.next(NOW) < maker.next(NOW - 5000) < maker.next(NOW - 4999) < maker.next(NOW + 1)


def test_two_nodes_never_make_the_same_id() -> None:
    one, other = IdMaker(0), IdMaker(1023)
    assert not {one.next(NOW) for _ in range(5000)} & {other.next(NOW) for _ in range(5000)}


@pytest.mark.parametrize("node", [-1, 1024])
def test_nodes_have_ten_bits(node: int) -> None:
    with pytest.raises(ValueError, match="0 to 1023"):
        IdMaker(node)


@given(st.integers(0, 2**63 - 1))
def test_text_and_back(number: int) -> None:
    text = to_text(number)
    assert len(text) == 13
    assert from_text(text) == from_text(text.upper()) == number


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_text_sorts_like_the_number(one: int, other: int) -> None:
    assert (to_text(one) < to_text(other)) == (one < other)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0" * 12, "0" * 14, "000000000000u", "000000000000l", "z" * 13, "00000000000 0", "é" * 13],
)
def test_text_that_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="not a message id"):
        from_text(text)


@pytest.mark.parametrize("number", [-1, 2**63])
def test_numbers_that_are_no_id(number: int) -> None:
    with pytest.raises(ValueError, match="63 bits"):
        to_text(number)


def test_only_what_is_an_id_counts() -> None:
    assert list(ids_of(["nonsense", to_text(7), "", to_text(8)])) == [7, 8]


@given(st.integers(0, 2 * 10**9), st.integers(0, 4 * 10**7))
def test_ids_of_moments_are_as_far_apart_as_their_span(second: int, seconds: int) -> None:
    moment, span = datetime.fromtimestamp(EPOCH_MS // 1000 + second, UTC), timedelta(seconds=seconds)
    assert id_at(moment + span) - id_at(moment) == ids_in(span)
    assert created_ms(id_at(moment)) == EPOCH_MS + 1000 * second


def test_before_the_first_id_is_nothing() -> None:
    assert id_at(datetime(2001, 1, 1, tzinfo=UTC)) == 0
