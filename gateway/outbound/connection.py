"""One TCP connection to a next hop: write, and wait for a reply within a deadline.

Deadlines are per reply, not per read: a host that sends one octet a minute does not keep us. Everything that can go
wrong with the connection comes out as one of errors.ConnectionLost, GarbageReceived and TimedOut.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any

from gateway.outbound.errors import ConnectionLost, GarbageReceived, TimedOut
from gateway.outbound.reading import NotSmtp, ReplyReader, WireReply
from gateway.rules.types import Reply, Stage

_WHILE = {
    Stage.BANNER: "waiting for the greeting",
    Stage.EHLO: "waiting for the answer to EHLO",
    Stage.STARTTLS: "starting TLS",
    Stage.AUTH: "logging in",
    Stage.MAIL: "waiting for the answer to MAIL",
    Stage.RCPT: "waiting for the answer to RCPT",
    Stage.DATA: "waiting for the answer to DATA",
    Stage.DOT: "sending the message or waiting for its receipt",
}


class Connection(asyncio.Protocol):
    """Not for concurrent use: one dialogue at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._reader = ReplyReader()
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self.lost = False
        self._garbage = ""

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except NotSmtp as error:
            self._garbage = str(error)
            self.abort()
        self._wake()

    def eof_received(self) -> bool:
        return False  # the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._wake()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    # -- our side

    @property
    def reusable(self) -> bool:
        """Open, and the peer has said nothing that we did not ask for (a 421 while idle, garbage)."""
        return not self.lost and not self._garbage and self._reader.is_clean

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """After start_tls only."""
        found: ssl.SSLObject = self._transport.get_extra_info("ssl_object")
        return found

    def write(self, data: bytes) -> None:
        if not self.lost:
            self._transport.write(data)

    async def write_all(self, pieces: Iterable[bytes], stall_s: float) -> bool:
        """Write all pieces at the peer's pace, `stall_s` without progress are too long. False, and not all is written,
        when the peer has answered or hung up before the end: the reply says why."""
        for piece in pieces:
            if self._is_interrupted():
                return False
            self._transport.write(piece)
            while self._paused and not self._is_interrupted():
                await self._wait(stall_s, Stage.DOT)
        return True

    def _is_interrupted(self) -> bool:
        return self.lost or bool(self._reader.replies)

    async def reply(self, stage: Stage, timeout_s: float) -> WireReply:
        """The next reply; raises ConnectionLost, GarbageReceived or TimedOut."""
        until = self._loop.time() + timeout_s
        while not self._reader.replies:
            if self._garbage:
                raise GarbageReceived(
                    Reply(451, "4.5.0", f"No SMTP from the server: {self._garbage}"), stage, "garbage"
                )
            if self.lost:
                raise ConnectionLost(
                    Reply(421, "4.4.2", f"Connection lost while {_WHILE[stage]}"), stage, "connection_lost"
                )
            await self._wait(until - self._loop.time(), stage)
        return self._reader.take()

    async def start_tls(self, context: ssl.SSLContext, server_name: str, timeout_s: float) -> None:
        """Encrypt from here on; raises OSError (ssl.SSLError among them) or TimeoutError, the connection is then dead.
        The caller has made sure that nothing lies behind the 220 (`reusable`): octets injected there would be
        taken for the protected dialogue."""
        try:
            self._transport = await self._loop.start_tls(
                self._transport, self, context, server_hostname=server_name, ssl_handshake_timeout=timeout_s
            )
        except BaseException:
            self.abort()
            raise
        if self._transport is None:  # asyncio's way of saying that the peer went away in mid-handshake
            self.lost = True
            raise ConnectionResetError("connection lost during the TLS handshake")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        self.lost = True
        if self._transport is not None:
            self._transport.abort()

    # -- waiting

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, timeout_s: float, stage: Stage) -> None:
        self._waiter = self._loop.create_future()
        alarm = self._loop.call_later(max(timeout_s, 0), self._expire, self._waiter, stage)
        try:
            await self._waiter
        finally:
            alarm.cancel()
            self._waiter = None

    def _expire(self, waiter: asyncio.Future[None], stage: Stage) -> None:
        if not waiter.done():
            self.lost = True  # whatever comes now belongs to a question that we have given up
            waiter.set_exception(
                TimedOut(Reply(421, "4.4.2", f"Timed out while {_WHILE[stage]}"), stage, "timeout")
            )
