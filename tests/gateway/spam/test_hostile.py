"""No message makes the scorer fail or keeps it busy: hostile cases by name, and whatever hypothesis thinks of."""
# ruff: noqa: E501  (a table of pieces)

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.spam import rescore, score
from tests.gateway.spam.hostile import CASES
from tests.gateway.spam.mails import HAM, SPAM

BOUND_S = 0.25
"""Far above what is measured (2 to 5 ms, docs/judging.md), far below what a quadratic reader would need."""


@pytest.mark.parametrize("name", CASES)
def test_hostile_mail_is_scored_in_bounded_time(name: str) -> None:
    score(b"")  # the tables are read
    started = time.process_time()
    found = score(CASES[name])
    assert time.process_time() - started < BOUND_S
    assert 0 <= found.value <= 100
    assert rescore(found.features) == found


def test_a_vector_stays_small_whatever_comes() -> None:
    assert max(len(score(raw).features) for raw in CASES.values()) < 8_000


@given(st.binary(max_size=3_000))
def test_any_bytes(raw: bytes) -> None:
    found = score(raw)
    assert 0 <= found.value <= 100
    assert rescore(found.features) == found


PIECES = st.sampled_from([
    b"\r\n", b"\n", b"\r\n\r\n", b"--b\r\n", b"--b--\r\n", b"From: ", b"To: a@b.example\r\n", b"Subject: =?utf-8?b?",
    b"?=", b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: text/html; charset=", b"utf-16", b"koi8-r",
    b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n", b"<a href=", b"http://",
    b"1.2.3.4", b"@", b'"', b"<", b">", b"<!--", b"-->", b"<style>", b"&#x41;", b"=3D", b"\xff", "\u200bß".encode(), b"$1,000,000",
    b"verify your account ", b"the and of to is ", b"der die und nicht ", b";", b":", b"(", b"%", b"\x00",
])  # fmt: skip


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=60))
def test_any_order_of_telling_pieces(pieces: list[bytes]) -> None:
    found = score(b"".join(pieces))
    assert 0 <= found.value <= 100
    assert abs(sum(symbol.share for symbol in found.symbols) - found.value) < 1e-6


@given(st.sampled_from(sorted({**HAM, **SPAM})), st.integers(0, 4_000), st.binary(max_size=20))
def test_damaged_mail(name: str, at: int, damage: bytes) -> None:
    raw = {**HAM, **SPAM}[name]
    assert 0 <= score(raw[:at] + damage + raw[at + len(damage) :]).value <= 100
    assert 0 <= score(raw[:at]).value <= 100
