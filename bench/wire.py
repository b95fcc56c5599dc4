"""Both ends of a load: a plain SMTP client in a thread, and a next hop that keeps book of what arrived.

A message carries its number in the Subject and the digest of its text in X-Digest, so that the next hop can tell
what is missing, doubled or damaged.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Self

WORDS = (
    "invoice meeting tomorrow please attached report quarter delivery order thanks regards number project"
    " customer review document Monday update question answer shipping address contract draft version"
).split()


def text_of(size: int, seed: int = 1) -> bytes:
    """Ordinary words in lines of about 70 octets, CRLF at the end of each; `size` octets or a few more."""
    dice, lines, length = random.Random(seed), [], 0
    while length < size:
        line = " ".join(dice.choices(WORDS, k=9)).encode() + b".\r\n"
        lines.append(line)
        length += len(line)
    return b"".join(lines)


def letter(number: int, text: bytes, sender: str = "web@acme.example") -> bytes:
    """A whole message as it goes over the wire, without the dot at its end."""
    head = (
        f"From: Web shop <{sender}>\r\nTo: someone@partner.example\r\nSubject: no-{number}\r\n"
        f"Date: Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{number}.bench@acme.example>\r\n"
        f"X-Digest: {hashlib.sha256(text).hexdigest()}\r\n\r\n"
    )
    return head.encode() + text


class Refused(Exception):
    """The server's answer was not the hoped-for one; `code` is its number."""

    def __init__(self, line: bytes) -> None:
        super().__init__(line.decode("utf-8", "replace").strip())
        self.code = int(line[:3]) if line[:3].isdigit() else 0


class PlainClient:
    """One SMTP session in the clear from a registered network. Raises Refused, OSError."""

    def __init__(self, port: int, timeout_s: float = 15.0, source: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s, (source, 0))
        self._file = self._socket.makefile("rb")
        self._expect("2")
        self.ask(b"EHLO client.acme.example\r\n")

    def ask(self, data: bytes, expected: str = "2") -> bytes:
        self._socket.sendall(data)
        return self._expect(expected)

    def _expect(self, expected: str) -> bytes:
        while (line := self._file.readline())[3:4] == b"-":
            pass
        if not line:
            raise ConnectionError("closed without an answer")
        if not line.startswith(expected.encode()):
            raise Refused(line)
        return line

    def envelope(self, sender: str, recipient: str) -> None:
        self.ask(f"MAIL FROM:<{sender}>\r\n".encode())
        self.ask(f"RCPT TO:<{recipient}>\r\n".encode())
        self.ask(b"DATA\r\n", "3")

    def send(self, message: bytes, recipient: str, sender: str = "web@acme.example") -> float:
        """One message; returns the seconds from its last octet to the 250."""
        self.envelope(sender, recipient)
        self._socket.sendall(message)
        started = time.monotonic()
        self.ask(b".\r\n")
        return time.monotonic() - started

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
            self._socket.close()


@dataclass
class Book:
    """What arrived at the next hop."""

    copies: Counter[int] = field(default_factory=Counter)  # by number
    damaged: list[int] = field(default_factory=list)
    reports: int = 0  # mail from <>
    arrived: int = 0
    times: dict[int, float] = field(default_factory=dict)  # first arrival, monotonic

    def enter(self, sender: bytes, raw: bytes) -> None:
        self.arrived += 1
        if b"<>" in sender:
            self.reports += 1
            return
        head, _, text = (b"\r\n" + raw).replace(b"\r\n.", b"\r\n")[2:].partition(b"\r\n\r\n")
        found = {}
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b": ")
            found.setdefault(name.lower(), value.decode())
        number = int(found[b"subject"].removeprefix("no-"))
        self.copies[number] += 1
        self.times.setdefault(number, time.monotonic())
        if hashlib.sha256(text).hexdigest() != found[b"x-digest"]:
            self.damaged.append(number)


class NextHop:
    """An SMTP server in a thread of its own. `mood`: ok, defer (451 at RCPT), away (connections are refused).

    Recipients whose address begins with 'nobody' do not exist (550)."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.book = Book()
        self.mood = "ok"
        self.host = host
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="next-hop", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self.set_mood("away")
        self._call(self._hang_up())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def set_mood(self, mood: str) -> None:
        self.mood = mood
        self._call(self._close() if mood == "away" else self._listen())

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=1 << 26)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _hang_up(self) -> None:
        for task in asyncio.all_tasks(self._loop) - {asyncio.current_task()}:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._converse(reader, writer)
        writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hop.example ESMTP\r\n")
        sender, recipients = b"", 0
        while (line := await reader.readline()) and self.mood != "away":
            verb = line[:4].upper()
            if verb == b"MAIL":
                sender, recipients = line, 0
            if verb == b"DATA" and recipients:
                writer.write(b"354 go on\r\n")
                raw = await reader.readuntil(b"\r\n.\r\n")
                self.book.enter(sender, raw[:-3])
                writer.write(b"250 2.0.0 taken\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 bye\r\n")
                return
            else:
                answer = self._answer(verb, line)
                recipients += verb == b"RCPT" and answer.startswith(b"2")
                writer.write(answer)

    def _answer(self, verb: bytes, line: bytes) -> bytes:
        if verb == b"EHLO":
            return b"250-hop.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
        if verb == b"RCPT" and b"<nobody" in line:
            return b"550 5.1.1 no such user\r\n"
        if verb == b"RCPT" and self.mood == "defer":
            return b"451 4.3.2 come back later\r\n"
        if verb == b"DATA":
            return b"554 5.5.1 no valid recipients\r\n"
        return b"250 2.0.0 ok\r\n"
