"""A programmable next hop: an SMTP server that misbehaves as told.

    async with FakeNextHop() as hop:                       # takes everything
        hop.say("RCPT", "550 5.1.1 no such user")          # ... from now on
        hop.say("RCPT", "250 ok", "451 later")             # one after the other, the last one stays
        hop.port, hop.messages[0].body, hop.commands

Stages: BANNER, EHLO, HELO, STARTTLS, AUTH, MAIL, RCPT, DATA, DOT, RSET. What can be said, besides a reply (several
lines separated by '\\n'): DROP (hang up), STALL (say nothing), ENDLESS (a reply that never ends), GARBAGE, HTTP,
LONG_LINE, or bytes, which go out as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

DROP, STALL, ENDLESS, GARBAGE, HTTP, LONG_LINE = (
    "\0drop",
    "\0stall",
    "\0endless",
    "\0garbage",
    "\0http",
    "\0long",
)

_DEFAULTS = {
    "BANNER": "220 fake.example ESMTP",
    "HELO": "250 fake.example",
    "STARTTLS": "220 2.0.0 go ahead",
    "AUTH": "235 2.7.0 welcome",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 go on",
    "DOT": "250 2.0.0 taken",
    "RSET": "250 2.0.0 ok",
}


@dataclass
class Received:
    """One message as it arrived; `body` is un-stuffed, `raw` is not."""

    mail: str
    rcpts: list[str]
    raw: bytes
    encrypted: bool
    helo: str
    peer: str  # the address it came from

    @property
    def body(self) -> bytes:
        return (b"\r\n" + self.raw).replace(b"\r\n.", b"\r\n")[2:]


@dataclass
class FakeNextHop:
    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None  # offers STARTTLS with it
    features: Sequence[str] = (
        "PIPELINING",
        "SIZE 10000000",
        "8BITMIME",
        "SMTPUTF8",
        "DSN",
        "ENHANCEDSTATUSCODES",
    )
    after_starttls: bytes = b""  # octets sent in clear in the same write as the 220
    delay_s: float = 0.0  # before every reply
    tls_alert: int = 0  # answers the ClientHello with this alert: 40 handshake_failure, 70 protocol_version
    messages: list[Received] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    peers: list[str] = field(default_factory=list)
    _replies: dict[str, list[Any]] = field(default_factory=dict)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def say(self, stage: str, *replies: str | bytes) -> None:
        self._replies[stage] = list(replies)

    def reply_for(self, stage: str) -> str | bytes:
        replies = self._replies.get(stage)
        if not replies:
            return _DEFAULTS[stage]
        return replies.pop(0) if len(replies) > 1 else replies[0]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, self.port, limit=1 << 26)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def drop_all(self) -> None:
        """Hang up on everybody (an idle connection that the host closes) and let the news arrive."""
        for writer in list(self.writers):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await asyncio.sleep(0.02)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.writers.add(writer)
        self.peers.append(writer.get_extra_info("peername")[0])
        dialogue = _Dialogue(self, reader, writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, TimeoutError):
            await dialogue.run()
        self.writers.discard(dialogue.writer)
        self.writers.discard(writer)
        with contextlib.suppress(Exception):
            dialogue.writer.close()


class _HangUp(ConnectionError):
    pass


class _Dialogue:
    def __init__(self, hop: FakeNextHop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hop, self.reader, self.writer = hop, reader, writer
        self.encrypted = False
        self.mail = ""
        self.rcpts: list[str] = []
        self.helo = ""

    async def run(self) -> None:
        await self._answer("BANNER")
        while line := await self.reader.readline():
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self.hop.commands.append(text)
            if not await self._command(text.split(" ", 1)[0].upper(), text):
                break

    async def _command(self, verb: str, text: str) -> bool:
        if verb == "QUIT":
            await self._send("221 2.0.0 bye")
            return False
        handler = {
            "EHLO": self._ehlo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "DATA": self._data,
        }.get(verb)
        if handler is not None:
            await handler(text)
        elif verb == "RCPT" and not self.mail:
            await self._send("503 5.5.1 MAIL first")
        elif verb in _DEFAULTS:
            reply = await self._answer(verb)
            self._remember(verb, text, taken=reply.startswith("2"))
        else:
            await self._send("500 5.5.1 what?")
        return True

    def _remember(self, verb: str, text: str, *, taken: bool) -> None:
        if verb == "MAIL" and taken:
            self.mail, self.rcpts = text[10:], []
        elif verb == "RCPT" and taken:
            self.rcpts.append(text[8:])
        elif verb == "RSET":
            self.mail, self.rcpts = "", []

    async def _ehlo(self, text: str) -> None:
        self.helo = text[5:]
        if self.hop._replies.get("EHLO"):
            await self._answer("EHLO")
            return
        offered = list(self.hop.features)
        if self.hop.tls is not None and not self.encrypted:
            offered.append("STARTTLS")
        lines = ["fake.example", *offered]
        await self._send(
            "\n".join(f"250{'-' if n < len(lines) - 1 else ' '}{line}" for n, line in enumerate(lines))
        )

    async def _starttls(self, _text: str) -> None:
        if self.hop.after_starttls:
            self.writer.write(b"220 go\r\n" + self.hop.after_starttls)
            await self.writer.drain()
            await asyncio.sleep(1)
            return
        reply = await self._answer("STARTTLS")
        if self.hop.tls_alert:
            await self.reader.read(10_000)
            self.writer.write(b"\x15\x03\x01\x00\x02\x02" + bytes([self.hop.tls_alert]))
            await self.writer.drain()
            raise _HangUp
        if reply.startswith("220") and self.hop.tls is not None:
            await self.writer.start_tls(self.hop.tls)
            self.encrypted = True

    async def _auth(self, text: str) -> None:
        if text.upper() == "AUTH LOGIN":
            for prompt in ("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"):
                await self._send(prompt)
                self.hop.commands.append((await self.reader.readline()).decode().rstrip())
        await self._answer("AUTH")

    async def _data(self, _text: str) -> None:
        if not self.rcpts and not self.hop._replies.get("DATA"):
            await self._send("503 5.5.1 no valid recipients")
            return
        reply = await self._answer("DATA")
        if not reply.startswith("354"):
            return
        self.reader._buffer[:0] = b"\r\n"  # type: ignore[attr-defined]  # so that a dot in the first line counts
        raw = await self.reader.readuntil(b"\r\n.\r\n")
        await self._answer("DOT", commit=raw[2:-3])
        self.mail, self.rcpts = "", []

    async def _answer(self, stage: str, commit: bytes | None = None) -> str:
        reply = self.hop.reply_for(stage)
        if commit is not None and isinstance(reply, str) and reply.startswith("2"):
            peer = self.writer.get_extra_info("peername")[0]
            received = Received(self.mail, list(self.rcpts), commit, self.encrypted, self.helo, peer)
            self.hop.messages.append(received)
        await self._send(reply)
        return reply if isinstance(reply, str) else reply.decode("latin-1")

    async def _send(self, reply: str | bytes) -> None:
        await asyncio.sleep(self.hop.delay_s)
        if isinstance(reply, str) and reply.startswith("\0"):
            await self._misbehave(reply)
            return
        wire = (
            reply
            if isinstance(reply, bytes)
            else reply.replace("\n", "\r\n").encode("utf-8", "replace") + b"\r\n"
        )
        self.writer.write(wire)
        await self.writer.drain()

    async def _misbehave(self, how: str) -> None:
        if how == DROP:
            raise _HangUp
        if how == STALL:
            await asyncio.Event().wait()
        if how == GARBAGE:
            self.writer.write(b"\x00\xff\x16\x03\x01 this is not SMTP\r\n")
        if how == HTTP:
            self.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        if how == LONG_LINE:
            self.writer.write(b"250 " + b"x" * 1_000_000)
        if how == ENDLESS:
            while True:
                self.writer.write(b"250-and on and on\r\n" * 100)
                await self.writer.drain()
        await self.writer.drain()
