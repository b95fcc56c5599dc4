"""What a client has sent and nobody has read yet: bounded, by pausing the transport.

Takes the place of asyncio's StreamReader, which copies twice, cannot give back what was read too much, and can only be
emptied (STARTTLS) through private fields.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

HIGH_WATER_BYTES = 256 * 1024
MAX_SKIPPED_BYTES = 1024 * 1024  # of one endless command line; then the client is not worth a reply


class EndOfStream(ConnectionError):
    """The client has closed, or the connection is beyond use."""


class LineTooLong(ValueError):
    """A command line over the limit; it has been skipped."""


class Inbox:
    """Received octets. One reader at a time; `before_wait` is called whenever the reader must wait for the client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, before_wait: Callable[[], None]) -> None:
        self.at_eof = False
        self._loop = loop
        self._before_wait = before_wait
        self._buffer = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._paused = False

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def is_waiting(self) -> bool:
        """Whether the reader is waiting for the client, not busy with what it sent."""
        return self._waiter is not None

    # ---- the transport's side

    def attach(self, transport: asyncio.Transport | None) -> None:
        """Read from this transport from now on; None: from none, just collect (during a TLS handshake)."""
        self._transport = transport
        self._paused = False
        self._pause_if_full()

    def feed(self, data: bytes) -> None:
        self._buffer += data
        self._wake()
        self._pause_if_full()

    def feed_eof(self) -> None:
        self.at_eof = True
        self._wake()

    def _pause_if_full(self) -> None:
        if self._transport and not self._paused and len(self._buffer) > HIGH_WATER_BYTES:
            self._paused = True
            self._transport.pause_reading()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    # ---- the reader's side

    async def line(self, max_bytes: int) -> bytes:
        """One line with its LF. Raises LineTooLong (the line is gone then) and EndOfStream."""
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                return self._cut_line(end + 1, max_bytes)
            searched = len(self._buffer)
            if searched > max_bytes:
                await self._skip_line()
                raise LineTooLong
            await self._more()

    async def take(self) -> bytes:
        """All that is there, at least one octet; raises EndOfStream."""
        while not self._buffer:
            await self._more()
        data = bytes(self._buffer)
        self._buffer.clear()
        self._resume()
        return data

    async def take_at_most(self, count: int) -> bytes:
        """What is there, at least one octet and at most `count` (which is positive); raises EndOfStream."""
        while not self._buffer:
            await self._more()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._resume()
        return data

    def give_back(self, data: bytes) -> None:
        """Put octets that belong to the next command in front again."""
        self._buffer[:0] = data
        self._pause_if_full()

    def drop(self) -> bytes:
        """Forget everything received so far, and return it."""
        dropped = bytes(self._buffer)
        self._buffer.clear()
        return dropped

    def _cut_line(self, length: int, max_bytes: int) -> bytes:
        line = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._resume()
        if length > max_bytes:
            raise LineTooLong
        return line

    async def _skip_line(self) -> None:
        skipped = 0
        while (end := self._buffer.find(b"\n")) < 0:
            skipped += len(self._buffer)
            self._buffer.clear()
            if skipped > MAX_SKIPPED_BYTES:
                raise EndOfStream
            await self._more()
        del self._buffer[: end + 1]
        self._resume()

    async def _more(self) -> None:
        """Wait until something has come; raises EndOfStream when nothing will."""
        if self.at_eof:
            raise EndOfStream
        self._before_wait()
        self._resume()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _resume(self) -> None:
        if self._paused and self._transport and len(self._buffer) <= HIGH_WATER_BYTES:
            self._paused = False
            self._transport.resume_reading()
