"""The clients of Rspamd and spamd against servers that behave and that do not."""

from __future__ import annotations

import socket

import pytest

from gateway.spam.engines import MAX_REPLY_BYTES, Asked, EngineDown, ask_rspamd, ask_spamd
from tests.gateway.spam.mails import HAM
from tests.gateway.spam.servers import fake, http

RAW = HAM["en-reply"]
ASKED = Asked(
    "anna@b.example", ["karl@k.example", "x@k.example"], "192.0.2.7", "acme-web", "mail.acme.example", "42"
)
RSPAMD_REPLY = http(
    b'{"score": 7.5, "required_score": 15, "thresholds": {"add header": 6.0, "reject": 15},'
    b' "symbols": {"MIME_HTML_ONLY": {"score": 0.2}, "PHISHING<x>": {"score": 4.0}, "R_OK": {"score": -0.5},'
    b' "R_ANY": {"score": 0}}}'
)
SPAMD_REPLY = (
    b"SPAMD/1.1 0 EX_OK\r\nContent-length: 20\r\nSpam: True ; 12.5 / 5.0\r\n\r\nHTML_MESSAGE,GTUBE\r\n"
)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_rspamd_is_asked_with_the_envelope() -> None:
    async with fake(RSPAMD_REPLY) as server:
        found = await ask_rspamd(f"http://127.0.0.1:{server.port}", RAW, ASKED)
    assert server.request.startswith(b"POST /checkv2 HTTP/1.0\r\n")
    for line in (
        b"From: anna@b.example",
        b"Rcpt: x@k.example",
        b"IP: 192.0.2.7",
        b"User: acme-web",
        b"Queue-Id: 42",
    ):
        assert b"\r\n" + line + b"\r\n" in server.request
    assert server.request.endswith(b"\r\n\r\n" + RAW)
    assert (found.engine, found.points, found.required) == ("rspamd", 7.5, 6.0)
    assert found.value == pytest.approx(48.75)
    assert found.rules == (("RSPAMD:PHISHINGx", 4.0), ("RSPAMD:MIME_HTML_ONLY", 0.2), ("RSPAMD:R_OK", -0.5))


async def test_an_envelope_cannot_add_header_lines() -> None:
    async with fake(RSPAMD_REPLY) as server:
        await ask_rspamd(
            f"127.0.0.1:{server.port}", RAW, Asked("a@b.example\r\nPass: all", (), "", "x\nSettings: {}")
        )
    head = server.request.partition(b"\r\n\r\n")[0]
    assert [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]] == [
        b"Host",
        b"Content-Length",
        b"Connection",
        b"From",
        b"User",
    ]


async def test_spamd_is_asked_for_symbols() -> None:
    async with fake(SPAMD_REPLY) as server:
        found = await ask_spamd("127.0.0.1", server.port, RAW, ASKED)
    assert (
        server.request
        == b"SYMBOLS SPAMC/1.5\r\nContent-length: %d\r\nUser: acme-web\r\n\r\n" % len(RAW) + RAW
    )
    assert (found.engine, found.points, found.required, found.value) == ("spamassassin", 12.5, 5.0, 81.25)
    assert found.rules == (("SPAMASSASSIN:GTUBE", 6.25), ("SPAMASSASSIN:HTML_MESSAGE", 6.25))


BAD_RSPAMD = {
    "closes": b"",
    "no-http": b"220 mail ESMTP\r\n",
    "error": http(b"{}", "500 Oops"),
    "no-json": http(b"<html>"),
    "no-score": http(b"{}"),
    "text-score": http(b'{"score": "much", "required_score": 15}'),
    "nan": http(b'{"score": NaN, "required_score": 15}'),
    "infinite-symbol": http(b'{"score": 1, "required_score": 15, "symbols": {"A": {"score": Infinity}}}'),
    "list": http(b"[1, 2]"),
    "symbols-list": http(b'{"score": 1, "required_score": 15, "symbols": [1]}'),
    "deep": http(b"[" * 100_000),
    "endless": http(b"x" * (MAX_REPLY_BYTES + 1)),
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_RSPAMD)
async def test_a_bad_rspamd_is_down(name: str) -> None:
    async with fake(BAD_RSPAMD[name]) as server:
        with pytest.raises(EngineDown, match="rspamd") as caught:
            await ask_rspamd(f"http://127.0.0.1:{server.port}", RAW, ASKED)
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:1", "ftp://x.example", "http://", "http://127.0.0.1:99999"]
)
async def test_an_address_that_cannot_be_asked(url: str) -> None:
    with pytest.raises(EngineDown):
        await ask_rspamd(url, RAW, ASKED)


BAD_SPAMD = {
    "closes": b"",
    "other": b"HTTP/1.1 200 OK\r\n\r\n",
    "error": b"SPAMD/1.0 76 Bad header line\r\n\r\n",
    "no-verdict": b"SPAMD/1.1 0 EX_OK\r\n\r\n",
    "no-number": b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; ... / 5.0\r\n\r\n",
    "endless": b"SPAMD/1.1 0 EX_OK\r\n" + b"a" * (MAX_REPLY_BYTES + 1),
}


@pytest.mark.parametrize("name", BAD_SPAMD)
async def test_a_bad_spamd_is_down(name: str) -> None:
    async with fake(BAD_SPAMD[name]) as server:
        with pytest.raises(EngineDown, match="spamassassin"):
            await ask_spamd("127.0.0.1", server.port, RAW, ASKED)


async def test_silence_ends_at_the_deadline() -> None:
    async with fake(None) as server:
        with pytest.raises(EngineDown, match=r"no answer within 0\.05 s"):
            await ask_rspamd(f"http://127.0.0.1:{server.port}", RAW, ASKED, 0.05)
        with pytest.raises(EngineDown, match=r"no answer within 0\.05 s"):
            await ask_spamd("127.0.0.1", server.port, RAW, ASKED, 0.05)


async def test_nobody_listens() -> None:
    port = closed_port()
    with pytest.raises(EngineDown, match="not reachable"):
        await ask_rspamd(f"http://127.0.0.1:{port}", RAW, ASKED)
    with pytest.raises(EngineDown, match="not reachable"):
        await ask_spamd("127.0.0.1", port, RAW, ASKED)
