"""Command and reply lines, and what the acceptor forgets when TLS starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accept import Acceptor
from gateway.reception import Reception
from gateway.rules.ids import IdMaker
from gateway.rules.types import Reply, TlsInfo
from gateway.smtp.lines import parse_command, reply_line
from tests.gateway.accept.house import ALICE, FakeGatekeeper, make_config


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (Reply(250, "2.0.0", "Ok"), b"250 2.0.0 Ok\r\n"),
        (Reply(550, "", "Sender Domain must resolve"), b"550 Sender Domain must resolve\r\n"),
        (Reply(554, "5.7.1", "a\r\n250 b"), b"554 5.7.1 a??250 b\r\n"),
        (Reply(554, "5.7.1", "a\nb\0c\x7f"), b"554 5.7.1 a?b?c?\r\n"),
        (Reply(554, "5.7.1", "Gr\u00fc\u00dfe"), b"554 5.7.1 Gr??e\r\n"),
        (Reply(554, "5.7.1", "x" * 1000), b"554 5.7.1 " + b"x" * 480 + b"\r\n"),
        (Reply(334, "", ""), b"334 \r\n"),
    ],
)
def test_reply_lines(reply: Reply, line: bytes) -> None:
    assert reply_line(reply) == line


@given(st.text())
def test_no_text_can_end_a_reply_line(text: str) -> None:
    line = reply_line(Reply(554, "5.7.1", text))
    assert line.endswith(b"\r\n")
    assert line.isascii()
    assert len(line) <= 512
    assert line[:-2].decode().isprintable()


@pytest.mark.parametrize(
    ("line", "verb", "argument"),
    [
        (b"NOOP\r\n", "NOOP", ""),
        (b"mail FROM:<a@b.example>  \r\n", "MAIL", "FROM:<a@b.example>"),
        (b"MAIL  FROM:<a@b.example>\r\n", "MAIL", "FROM:<a@b.example>"),
        (b"\r\n", "", ""),
        (b"AUTH PLAIN " + b"A" * 5000 + b"\r\n", "AUTH", "PLAIN " + "A" * 5000),
        ("RCPT TO:<\u00fc@b.example>\r\n".encode(), "RCPT", "TO:<\u00fc@b.example>"),
    ],
)
def test_commands(line: bytes, verb: str, argument: str) -> None:
    assert parse_command(line) == (verb, argument, None)


@given(st.binary(max_size=60))
def test_any_line_is_a_command_or_a_fault(line: bytes) -> None:
    verb, argument, fault = parse_command(line + b"\n")
    if fault:
        assert (verb, argument, fault.code) == ("", "", 500)
    else:
        assert line.endswith(b"\r")
        assert not any(ord(character) < 32 for character in verb + argument)


def test_long_commands_are_for_auth_only() -> None:
    fault = parse_command(b"NOOP " + b"x" * 2048 + b"\r\n")[2]
    assert str(fault) == "500 5.5.2 Command line too long"


def test_tls_forgets_whatever_was_there_before(tmp_path: Path) -> None:
    reception = Reception(make_config(tmp_path), FakeGatekeeper(), IdMaker(1))
    acceptor = Acceptor(reception, reception.open_session("192.0.2.1", 4444))
    acceptor.hello("mail.acme.example", extended=True)
    acceptor.session.login = ALICE
    acceptor.tls_started(TlsInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384"))
    session = acceptor.session
    assert (session.login, session.helo, session.extended) == (None, "", False)
