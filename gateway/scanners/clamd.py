"""Asks clamd whether a message is infected (INSTREAM, clamd(8)).

Only an explicit "OK" is clean and only an explicit "FOUND" is infected. Everything else (unreachable, time-out, ERROR,
too big to scan, garbage) raises ScannerDown, and the client is told to come back later: never a pass.

Connections are kept for the next message (IDSESSION), which saves most of what asking costs. Each carries one scan at
a time, so that whoever is cancelled or loses patience takes nobody's answer along. One that clamd has closed meanwhile
(idle, restarted) is noticed before or instead of an answer, and another is opened. There are no more of them than
clamd would serve at once: mail waits here for its turn, and what is judged after it comes a few at a time, so that
deliveries keep pace with a rush of clients.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from gateway.config import Endpoint

Scan = Callable[[bytes], Awaitable[str | None]]
CHUNK_BYTES = 1 << 20
REPLY_LIMIT_BYTES = 4096
SCAN_TIMEOUT_S = 60.0
PING_TIMEOUT_S = 5.0
MAX_SESSIONS = 10  # connections to each clamd: what it scans at once (MaxThreads) unless told otherwise
MAX_SCANS = 1000  # over one connection


class ScannerDown(Exception):
    """No verdict could be had; the text says why, for the log and the status page."""


class _Stale(Exception):
    """A kept connection was closed before it answered."""


class Scanner:
    """Asks every configured clamd; one per event loop."""

    def __init__(self, endpoints: Sequence[Endpoint], timeout_s: float = SCAN_TIMEOUT_S) -> None:
        self._clamds = [_Clamd(endpoint, timeout_s) for endpoint in endpoints]

    async def __call__(self, content: bytes) -> str | None:
        """The name of the virus, None when every scanner says clean. Raises ScannerDown if one of them cannot say."""
        if len(self._clamds) == 1:
            return await self._clamds[0].scan(content)
        results = await asyncio.gather(*(clamd.scan(content) for clamd in self._clamds))
        return next((name for name in results if name), None)

    def close(self) -> None:
        """Close the connections that are kept."""
        for clamd in self._clamds:
            clamd.close()


def scanner(endpoints: Sequence[Endpoint]) -> Scanner | None:
    """A Scanner for the configured clamds; None when there are none."""
    return Scanner(endpoints) if endpoints else None


async def ping(endpoint: Endpoint, timeout_s: float = PING_TIMEOUT_S) -> None:
    """Raises ScannerDown unless clamd answers PONG."""
    clamd = _Clamd(endpoint, timeout_s)
    try:
        if await clamd.ask(b"zPING\0", b"") != b"PONG":
            raise ScannerDown(f"{endpoint}: no PONG")
    finally:
        clamd.close()


class _Clamd:
    """One clamd and the connections to it that are idle."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._idle: list[_Session] = []
        self._turns = asyncio.Semaphore(MAX_SESSIONS)

    async def scan(self, content: bytes) -> str | None:
        return _verdict(self._endpoint, await self.ask(b"zINSTREAM\0", content))

    async def ask(self, command: bytes, content: bytes) -> bytes:
        """The answer to one command. Raises ScannerDown."""
        try:
            async with asyncio.timeout(self._timeout_s), self._turns:
                return await self._ask_in_turn(command, content)
        except (OSError, TimeoutError, _Stale, _Garbage) as error:
            raise ScannerDown(
                f"{self._endpoint}: {type(error).__name__.strip('_')} {error}".rstrip()
            ) from error

    async def _ask_in_turn(self, command: bytes, content: bytes) -> bytes:
        while self._idle:
            try:
                return await self._ask(self._idle.pop(), command, content)
            except _Stale:
                continue
        return await self._ask(await self._connect(), command, content)

    async def _ask(self, session: _Session, command: bytes, content: bytes) -> bytes:
        try:
            answer = await session.ask(command, content)
        except BaseException:
            session.abort()
            raise
        if session.is_reusable:
            self._idle.append(session)
        else:
            session.abort()
        return answer

    async def _connect(self) -> _Session:
        loop = asyncio.get_running_loop()
        if self._endpoint.path:
            _, session = await loop.create_unix_connection(_Session, self._endpoint.path)
        else:
            _, session = await loop.create_connection(_Session, self._endpoint.host, self._endpoint.port)
        return session

    def close(self) -> None:
        for session in self._idle:
            session.abort()
        self._idle.clear()


def _verdict(endpoint: Endpoint, answer: bytes) -> str | None:
    text = answer.decode("utf-8", "replace")
    if text == "stream: OK":
        return None
    if text.startswith("stream: ") and text.endswith(" FOUND"):
        return text.removeprefix("stream: ").removesuffix(" FOUND")[:100]
    raise ScannerDown(f"{endpoint}: {text[:200] or 'closed without an answer'}")


class _Garbage(Exception):
    """What came is not the answer to what was asked."""


class _Session(asyncio.Protocol):
    """One connection: a question, its answer, the next question."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._number = 0  # of the last question; clamd puts it in front of the answer
        self._answer: asyncio.Future[bytes] | None = None
        self._buffer = b""
        self._writable: asyncio.Future[Any] | None = None
        self._is_open = True

    @property
    def is_reusable(self) -> bool:
        return self._is_open and not self._buffer and self._number < MAX_SCANS

    async def ask(self, command: bytes, content: bytes) -> bytes:
        """One command with its stream (none if empty). Raises _Garbage; _Stale when it was closed."""
        if not self._is_open:
            raise _Stale("closed without an answer")
        self._number += 1
        answered = self._answer = self._loop.create_future()
        try:
            await self._send(command, content, answered)
            return self._unnumbered(await answered)
        finally:
            self._answer = None

    async def _send(self, command: bytes, content: bytes, answered: asyncio.Future[Any]) -> None:
        begin = (b"zIDSESSION\0" if self._number == 1 else b"") + command
        view = memoryview(content)
        for start in range(0, len(view), CHUNK_BYTES):
            chunk = view[start : start + CHUNK_BYTES]
            end = b"\0\0\0\0" if start + CHUNK_BYTES >= len(view) else b""
            self._transport.writelines([begin, struct.pack("!I", len(chunk)), chunk, end])
            begin = b""
            if self._writable is not None:
                await asyncio.wait((self._writable, answered), return_when=asyncio.FIRST_COMPLETED)
            if answered.done():  # it has had enough: the stream is too big, and the answer says so
                return
        if begin:
            self._transport.write(begin)

    def _unnumbered(self, answer: bytes) -> bytes:
        number, _, text = answer.partition(b": ")
        if number != b"%d" % self._number:
            raise _Garbage(f"{answer[:200]!r}")
        return text.strip()

    def _fail(self, error: Exception) -> None:
        self._is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def abort(self) -> None:
        self._is_open = False
        self._transport.abort()

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._answer is None or self._answer.done() or len(self._buffer) > REPLY_LIMIT_BYTES:
            self._fail(_Garbage("more than the answer to what was asked"))
        elif self._buffer.endswith(b"\0"):
            self._answer.set_result(self._buffer[:-1])
            self._buffer = b""

    def pause_writing(self) -> None:
        self._writable = self._writable or self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(_Stale("closed without an answer"))
        self.resume_writing()
