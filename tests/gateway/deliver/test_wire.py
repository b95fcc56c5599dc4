"""The octets in both directions, without sockets: replies that strangers write, commands that we write."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outbound.commands import (
    BadAddress,
    Features,
    has_bare_line_ends,
    mail_command,
    parse_ehlo,
    rcpt_command,
    stuffed,
    xtext,
)
from gateway.outbound.reading import (
    MAX_LINES,
    MAX_REPLY_BYTES,
    MAX_UNREAD,
    MAX_UNREAD_BYTES,
    NotSmtp,
    ReplyReader,
)
from gateway.rules.route_types import JobRecipient
from gateway.rules.types import Address
from tests.gateway.deliver.helpers import job

ALL = Features(dict.fromkeys(("SIZE", "8BITMIME", "SMTPUTF8", "DSN"), ""))


def read(*chunks: bytes) -> list[tuple[int, tuple[bytes, ...]]]:
    reader = ReplyReader()
    for chunk in chunks:
        reader.feed(chunk)
    return [(reply.code, reply.lines) for reply in reader.replies]


@pytest.mark.parametrize(
    ("chunks", "replies"),
    [
        ([b"250 ok\r\n"], [(250, (b"ok",))]),
        ([b"250\r\n"], [(250, (b"",))]),
        ([b"250 \r\n"], [(250, (b"",))]),
        ([b"250 ok\n"], [(250, (b"ok",))]),  # bare LF: Postfix too is lenient when it listens
        ([b"250-a\r\n250-b\r\n250 c\r\n"], [(250, (b"a", b"b", b"c"))]),
        ([b"25", b"0 o", b"k\r", b"\n"], [(250, (b"ok",))]),
        ([b"250 a\r\n550 b\r\n354"], [(250, (b"a",)), (550, (b"b",))]),
        ([b"250-a\r\n550 b\r\n"], [(550, (b"a", b"b"))]),
        ([b"250 \xff\x00\r\n"], [(250, (b"\xff\x00",))]),
        ([b""], []),
    ],
)
def test_replies(chunks: list[bytes], replies: list[tuple[int, tuple[bytes, ...]]]) -> None:
    assert read(*chunks) == replies


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n",
        b"\r\n",
        b"25 ok\r\n",
        b"2500 ok\r\n",
        b"650 ok\r\n",
        b"150 ok\r\n",
        b"250_ok\r\n",
        b" 250 ok\r\n",
        b"x" * 3000,
        b"250 " + b"x" * 3000 + b"\r\n",
        b"250-x\r\n" * (MAX_LINES + 1),
        (b"250-" + b"x" * 1000 + b"\r\n") * (MAX_REPLY_BYTES // 1000 + 1),
        b"250 x\r\n" * (MAX_UNREAD + 1),
        (b"250 " + b"x" * 1000 + b"\r\n") * (MAX_UNREAD_BYTES // 1000 + 1),
    ],
)
def test_not_smtp(data: bytes) -> None:
    with pytest.raises(NotSmtp):
        read(data)


def test_replies_that_are_taken_make_room() -> None:
    reader = ReplyReader()
    for _ in range(3 * MAX_UNREAD):
        reader.feed(b"250 " + b"x" * 1000 + b"\r\n")
        assert reader.take().lines == (b"x" * 1000,)


@given(st.lists(st.binary(max_size=200)))
def test_any_octets_are_replies_or_not_smtp(chunks: list[bytes]) -> None:
    reader = ReplyReader()
    try:
        for chunk in chunks:
            reader.feed(chunk)
    except NotSmtp:
        return
    for reply in reader.replies:
        assert 200 <= reply.code < 600
        reply.parsed()
        parse_ehlo(reply.texts())


@given(
    st.lists(st.tuples(st.integers(200, 599), st.text("ab 1.-", max_size=20)), max_size=8), st.integers(1, 20)
)
def test_the_cut_into_packets_does_not_matter(replies: list[tuple[int, str]], size: int) -> None:
    wire = "".join(f"{code} {text}\r\n" for code, text in replies).encode()
    assert read(*(wire[start : start + size] for start in range(0, len(wire), size))) == read(wire)


def test_ehlo() -> None:
    features = parse_ehlo(
        ["mx", "SIZE 100", "auth PLAIN login", "AUTH=LOGIN CRAM-MD5", "pipelining", "X-ODD  thing"]
    )
    assert features.size_limit_bytes == 100
    assert features.auth_mechanisms == {"PLAIN", "LOGIN", "CRAM-MD5"}
    assert "PIPELINING" in features
    assert "MX" not in features
    for odd in ("", "0", "-1", "abc", "9" * 50):
        assert parse_ehlo(["mx", f"SIZE {odd}"]).size_limit_bytes == 0


# -- commands


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_no_text_can_make_two_lines(local: str, domain: str, envid: str, orcpt: str) -> None:
    recipient = JobRecipient(1, Address(local, domain), frozenset({"FAILURE"}), orcpt)
    work = job(envid=envid, ret="FULL")
    lines = [mail_command(work, ALL, 10, utf8=False, require_tls=False)]
    with contextlib.suppress(BadAddress):
        lines.append(rcpt_command(recipient, ALL))
    for line in lines:
        assert line.endswith(b"\r\n")
        assert not re.search(rb"[\x00-\x1f\x7f]", line[:-2])


@pytest.mark.parametrize(
    ("raw", "encoded"),
    [("abc", "abc"), ("a+b=c d", "a+2Bb+3Dc+20d"), ("\r\n", "+0D+0A"), ("ü", "+C3+BC"), ("", "")],
)
def test_xtext(raw: str, encoded: str) -> None:
    assert xtext(raw) == encoded


# -- the message


def unstuffed(wire: bytes) -> bytes:
    assert wire.endswith(b".\r\n")
    return (b"\r\n" + wire[:-3]).replace(b"\r\n.", b"\r\n")[2:]


LINES = st.lists(st.sampled_from([b"", b".", b"..", b"text", b".dot", b" ."]), max_size=8)


@given(LINES, st.booleans(), st.integers(1, 20))
def test_stuffing_is_undone_by_the_other_side_and_ends_once(
    lines: list[bytes], complete: bool, piece_bytes: int
) -> None:
    body = b"\r\n".join(lines) + (b"\r\n" if complete and lines else b"")
    wire = b"".join(stuffed(body, piece_bytes))
    assert wire == b"".join(stuffed(body))
    assert (b"\r\n" + wire).find(b"\r\n.\r\n") == len(wire) - 3  # nothing in the message ends it early
    expected = body if not body or body.endswith(b"\r\n") else body + b"\r\n"
    assert unstuffed(wire) == expected


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x"]), max_size=12))
def test_bare_line_ends_are_found(parts: list[bytes]) -> None:
    body = b"".join(parts)
    assert has_bare_line_ends(body) is bool(re.search(rb"\r(?!\n)|(?<!\r)\n", body))
