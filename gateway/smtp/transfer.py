"""MAIL, RCPT, DATA and BDAT: the envelope, and the body in whichever way it comes."""

from __future__ import annotations

import re

from gateway.rules.body_framing import PIECE_BYTES, ChunkedBody, DotBody, Fault
from gateway.rules.types import Reply
from gateway.smtp.connection import Connection

_BDAT = re.compile(r"([0-9]{1,18})(?: +(LAST))?\Z", re.IGNORECASE)
_CHUNKS_BEGUN = Reply(503, "5.5.1", "BDAT has begun")
_ENDLESS = Reply(552, "5.3.4", "Message is larger than we take, closing connection")


class Transfer(Connection):
    """One transaction after the other."""

    _body: DotBody | ChunkedBody | None = None  # while it is read and handed over

    @property
    def held_bytes(self) -> int:
        body = self._body or (self._acceptor.chunks if self._acceptor else None)
        return body.kept_bytes if body else 0

    async def smtp_MAIL(self, argument: str) -> None:  # noqa: N802 - aiosmtpd finds commands by name
        self.say(await self.acceptor.mail(argument))

    async def smtp_RCPT(self, argument: str) -> None:  # noqa: N802
        self.say(_CHUNKS_BEGUN if self.acceptor.chunks else await self.acceptor.rcpt(argument))

    # ---- DATA

    async def smtp_DATA(self, argument: str) -> None:  # noqa: N802
        if argument:
            self.bad_command(Reply(501, "5.5.4", "DATA takes no argument"))
            return
        out_of_order = _CHUNKS_BEGUN if self.acceptor.chunks else self.acceptor.data_out_of_order()
        if out_of_order:
            self.say(out_of_order)
            return
        self.say(Reply(354, "", "End data with <CR><LF>.<CR><LF>"))
        self._body = body = DotBody(*self._body_limits())
        if await self._read_to_dot(body):
            await self._finish(body)

    async def _read_to_dot(self, body: DotBody) -> bool:
        """False when the client does not stop, and had to be left."""
        while True:
            self._limit_body_time(body)
            rest = body.feed(await self.inbox.take())
            if rest is not None:
                self.inbox.give_back(rest)
                return True
            if self._is_endless(body):
                return False
            self._give_up_if_full(body)

    # ---- BDAT

    async def smtp_BDAT(self, argument: str) -> None:  # noqa: N802
        found = _BDAT.match(argument)
        if not found:  # how many octets follow is unknown: what we read next could be text taken for commands
            self.say(Reply(501, "5.5.4", "Syntax: BDAT size [LAST]"))
            self.close()
            return
        size_bytes, last = int(found.group(1)), bool(found.group(2))
        refused = self.acceptor.data_out_of_order()
        chunks = self.acceptor.chunks
        if (
            refused or chunks is None
        ):  # a refused one stays, too: without it the rest could pass for the whole
            chunks = self.acceptor.chunks = ChunkedBody(*self._body_limits())
        if not await self._read_chunk(chunks, size_bytes):
            return
        if refused:
            self.bad_command(refused)
        elif last:
            chunks.finish()
            await self._finish(chunks)
        else:
            self.say(Reply(250, "2.0.0", f"{size_bytes} octets received"))

    async def _read_chunk(self, chunks: ChunkedBody, size_bytes: int) -> bool:
        """Read all of a chunk, wanted or not, to stay in step (RFC 3030, 2). False: the client had to be left."""
        left = size_bytes
        while left:
            self._limit_body_time(chunks)
            data = await self.inbox.take_at_most(left)
            left -= len(data)
            chunks.feed(data)
            if self._is_endless(chunks):
                return False
            self._give_up_if_full(chunks)
        return True

    # ---- both

    async def _finish(self, body: DotBody | ChunkedBody) -> None:
        self._body = body
        try:
            await self._hand_over(body)
        finally:
            self._body = None

    async def _hand_over(self, body: DotBody | ChunkedBody) -> None:
        self.deadline.suspend()
        if self.is_lost:  # nobody would hear our 250, and it has not been given: the client sends it again
            return
        if body.fault is not Fault.NONE:
            self.say(self.acceptor.refuse_body(body.fault, body.received_bytes))
            return
        reply = await self.acceptor.message(body.body(), is_gone=lambda: self.is_gone)
        self.say(reply)
        if reply.is_positive:
            self.message_taken()

    def _body_limits(self) -> tuple[int, int, float]:
        return self.config.max_message_size_bytes, self.config.max_line_bytes, self.loop.time()

    def _limit_body_time(self, body: DotBody | ChunkedBody) -> None:
        """A body must come at a minimal rate after some grace; an octet now and then is an attack (CWE-400)."""
        seconds = self.timeouts.data_grace_s + body.received_bytes / self.timeouts.data_min_rate
        self.deadline.limit_at(body.started_at + min(seconds, self.timeouts.data_total_s))

    def _give_up_if_full(self, body: DotBody | ChunkedBody) -> None:
        """Memory is bounded for all together, too. Small bodies are not asked: there are only so many connections."""
        if body.kept_bytes > PIECE_BYTES and self.house.is_full():
            body.give_up()

    def _is_endless(self, body: DotBody | ChunkedBody) -> bool:
        """Twice the limit and no end: give up listening."""
        if body.received_bytes <= 2 * self.config.max_message_size_bytes:
            return False
        self.acceptor.refuse_body(Fault.TOO_BIG, body.received_bytes)
        self.say(_ENDLESS)
        self.close()
        return True
