"""Where a message ends, however it is cut, and what must never be inside."""

from __future__ import annotations

import itertools
import time
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.rules import body_framing
from gateway.rules.body_framing import ChunkedBody, DotBody, Fault, has_longer_line

MAX = 100_000
LINE = 2000


def feed_all(body: DotBody, pieces: list[bytes]) -> bytes:
    """What lies behind the end; the end must come with the last piece or before."""
    rest = b""
    ended = False
    for piece in pieces:
        if ended:
            rest += piece
            continue
        answer = body.feed(piece)
        ended, rest = answer is not None, answer or b""
    assert ended
    return rest


def dots(*pieces: bytes, max_bytes: int = MAX, max_line: int = LINE) -> tuple[DotBody, bytes]:
    body = DotBody(max_bytes, max_line)
    return body, feed_all(body, list(pieces))


def chunked(*pieces: bytes, max_bytes: int = MAX, max_line: int = LINE) -> ChunkedBody:
    body = ChunkedBody(max_bytes, max_line)
    for piece in pieces:
        body.feed(piece)
    body.finish()
    return body


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"a\r\n\r\n.\r\n", b"a\r\n\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"...a\r\n..b\r\nc.\r\n.\r\n", b"..a\r\n.b\r\nc.\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n..\r\n.\r\n", b".\r\n.\r\n"),
        (b"\xff\xfe\r\n.\r\n", b"\xff\xfe\r\n"),
    ],
)
def test_the_dot_ends_and_stuffing_is_undone(wire: bytes, message: bytes) -> None:
    body, rest = dots(wire + b"QUIT\r\n")
    assert (body.fault, body.body(), rest) == (Fault.NONE, message, b"QUIT\r\n")
    assert body.received_bytes == len(wire)


@pytest.mark.parametrize(
    "not_an_end",
    [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n\n.\r\n", b"\r\n\x00.\r\n",
     b"\r\r\n.\r\r\n", b"\n.\r", b"\r\n.\r\r\n", b"\x0b.\r\n", b"\x85.\r\n"],
)  # fmt: skip
def test_nothing_but_crlf_dot_crlf_ends(not_an_end: bytes) -> None:
    """The smuggling sequences of CVE-2023-51764, -51765, -51766, CVE-2024-27305 and their relatives."""
    smuggled = b"MAIL FROM:<admin@globex.example>\r\n"
    body, rest = dots(b"Subject: x\r\n\r\nhi" + not_an_end + smuggled + b"\r\n.\r\nQUIT\r\n")
    assert rest == b"QUIT\r\n"
    if not_an_end[:1] in {b"\x0b", b"\x85"}:
        assert smuggled in body.body()
    else:
        assert (body.fault, body.body()) == (Fault.BARE, b"")


@pytest.mark.parametrize("bad", [b"\n", b"\r", b"\0", b"\r\r\n", b"\n\r", b"\r\n\n"])
@pytest.mark.parametrize("before", [b"", b"a", b"a\r\n"])
def test_bare_line_ends_are_faults_wherever_they_are(before: bytes, bad: bytes) -> None:
    for after in (b"", b"b", b"\r\nb"):
        text = before + bad + after
        if text.replace(b"\r\n", b"").strip(b"ab") == b"":
            continue  # "\r\n" + ... formed a pair after all
        body, _rest = dots(text + b"\r\n.\r\n")
        assert body.fault is Fault.BARE, text
        assert chunked(text + b"\r\n").fault is Fault.BARE, text


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"", b""),
        (b"a\r\n", b"a\r\n"),
        (b"a", b"a\r\n"),
        (b".\r\n..\r\n", b".\r\n..\r\n"),
        (b"a\r\n.\r\nb", b"a\r\n.\r\nb\r\n"),
        (b"\r\n", b"\r\n"),
        (b"\r\n\r\n", b"\r\n\r\n"),
    ],
)
def test_chunks_are_taken_literally(octets: bytes, message: bytes) -> None:
    body = chunked(octets)
    assert (body.fault, body.body()) == (Fault.NONE, message)


def test_a_trailing_cr_is_bare() -> None:
    assert chunked(b"a\r").fault is Fault.BARE
    assert chunked(b"a\r", b"\n").fault is Fault.NONE


TEXT = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"a", b"bc", b"\0", b"x" * 40, b".\r\n", b"\r\n."]),
    max_size=30,
).map(b"".join)
CLEAN = st.lists(
    st.sampled_from([b"", b".", b"..", b"a", b".b", b"c" * 50, b"d" * 300, b"\xe4"]), max_size=40
).map(lambda lines: b"".join(line + b"\r\n" for line in lines))
CUTS = st.lists(st.integers(0, 2000), max_size=12)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(marks)]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_framing, "PIECE_BYTES", 16)


@pytest.mark.usefixtures("small_pieces")
@given(message=CLEAN, rest=st.sampled_from([b"", b"QUIT\r\n", b".\r\n", b"\r\n.\r\n"]), places=CUTS)
def test_every_split_of_data_gives_the_same_message(message: bytes, rest: bytes, places: list[int]) -> None:
    stuffed = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
    body, behind = dots(*cut(stuffed + b".\r\n" + rest, places))
    assert (body.fault, body.body(), behind) == (Fault.NONE, message, rest)


@pytest.mark.usefixtures("small_pieces")
@given(
    text=TEXT, places=CUTS, max_bytes=st.sampled_from([10, 100, MAX]), max_line=st.sampled_from([5, 60, LINE])
)
@example(text=b"\r\n.", places=[1, 2], max_bytes=MAX, max_line=LINE)
def test_every_split_gives_the_same_answer(
    text: bytes, places: list[int], max_bytes: int, max_line: int
) -> None:
    """Whatever is sent, whole or in pieces: the same end, and a fault or the same body (which fault is told may depend
    on what was seen first)."""
    wire = text + b"\r\n.\r\nQUIT\r\n"
    whole, behind = dots(wire, max_bytes=max_bytes, max_line=max_line)
    split, behind_split = dots(*cut(wire, places), max_bytes=max_bytes, max_line=max_line)
    assert behind == behind_split
    assert bool(whole.fault) == bool(split.fault)
    assert whole.body() == split.body()
    assert whole.received_bytes == split.received_bytes


@pytest.mark.usefixtures("small_pieces")
@given(
    text=TEXT, places=CUTS, max_bytes=st.sampled_from([10, 100, MAX]), max_line=st.sampled_from([5, 60, LINE])
)
def test_every_split_into_chunks_gives_the_same_answer(
    text: bytes, places: list[int], max_bytes: int, max_line: int
) -> None:
    whole = chunked(text, max_bytes=max_bytes, max_line=max_line)
    split = chunked(*cut(text, places), max_bytes=max_bytes, max_line=max_line)
    assert bool(whole.fault) == bool(split.fault)
    assert whole.body() == split.body()
    if not whole.fault:
        assert whole.body() in {text, text + b"\r\n"}


@pytest.mark.parametrize(("length", "fault"), [(LINE, Fault.NONE), (LINE + 1, Fault.LINE)])
@pytest.mark.parametrize("before", [b"", b"short\r\n" * 300])
@pytest.mark.parametrize("after", [b"", b"\r\nshort" * 300])
def test_the_longest_line(length: int, fault: Fault, before: bytes, after: bytes) -> None:
    text = before + b"x" * length + after
    body, _rest = dots(text + b"\r\n.\r\n")
    assert body.fault is fault
    assert chunked(text).fault is fault


def test_lines_beyond_998_octets_pass_unchanged() -> None:
    text = b"x" * 1999 + b"\r\n"
    body, _rest = dots(text + b".\r\n")
    assert body.body() == text


@given(st.lists(st.integers(0, 12), max_size=12), st.integers(1, 12))
def test_longest_line_as_counted_the_slow_way(lengths: list[int], limit: int) -> None:
    lines = b"\r\n".join([b""] + [b"x" * length for length in lengths])
    assert has_longer_line(lines, limit) == any(length > limit for length in lengths)


def test_the_size_limit_is_exact() -> None:
    line = b"x" * 98 + b"\r\n"
    at_limit, _rest = dots(line * 10 + b".\r\n", max_bytes=1000)
    above, _rest = dots(line * 10 + b"y\r\n.\r\n", max_bytes=1000)
    assert (at_limit.fault, len(at_limit.body())) == (Fault.NONE, 1000)
    assert (above.fault, above.body()) == (Fault.TOO_BIG, b"")


@pytest.mark.parametrize(
    "piece",
    [b"x" * 65_536, b"x" * 98 + b"\r\n", b"\r" * 65_536, b"\n" * 65_536, b".\r\r\n" * 10_000, b"\r\n" * 30_000,
     b"\0" * 65_536],
    ids=["endless line", "lines", "CR", "LF", "dots", "empty lines", "NUL"],
)  # fmt: skip
@pytest.mark.parametrize("kind", [DotBody, ChunkedBody])
def test_memory_is_bounded_whatever_comes(kind: type[DotBody | ChunkedBody], piece: bytes) -> None:
    body = kind(1_000_000, 65_536)
    piece *= 65_536 // len(piece)
    tracemalloc.start()
    for _ in range(1000):  # 64 MB
        body.feed(piece)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert body.fault
    assert peak < 2_500_000


def test_single_octets_cost_little() -> None:
    """A quadratic reader would need minutes for this."""
    body = DotBody(10_000_000, 1_000_000)
    started = time.process_time()
    for _ in range(150_000):
        body.feed(b"x")
    assert body.feed(b"\r\n.\r\n") == b""
    assert (body.fault, len(body.body())) == (Fault.NONE, 150_002)
    assert time.process_time() - started < 5
