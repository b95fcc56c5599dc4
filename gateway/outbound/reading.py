"""Octets from a next hop into replies (RFC 5321 section 4.2.1), bounded in every direction."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from gateway.rules.replies import parse_reply
from gateway.rules.types import Reply

MAX_LINE_BYTES = 2048  # RFC 5321 says 512; servers exceed it
MAX_LINES = 100
MAX_REPLY_BYTES = 32 * 1024
MAX_UNREAD = 300  # replies nobody has asked for: more than any pipelined group of ours can cause
MAX_UNREAD_BYTES = 128 * 1024  # in all of them; a group's replies have 30 KiB at most when each is in order

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)


class NotSmtp(ValueError):
    """What came in is no reply; the text says why, in our words."""


@dataclass(frozen=True, slots=True)
class WireReply:
    """One complete reply as it came: the code and every line's text."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.lines))

    def parsed(self) -> Reply:
        return parse_reply(self.code, self.lines)

    def texts(self) -> list[str]:
        return [line.decode("ascii", "replace") for line in self.lines]


class ReplyReader:
    """Feed it octets; complete replies come out of `replies` in order. Raises NotSmtp once and is then useless."""

    def __init__(self) -> None:
        self.replies: deque[WireReply] = deque()
        self._buffer = b""
        self._lines: list[bytes] = []
        self._size = 0
        self._unread_bytes = 0

    def feed(self, data: bytes) -> None:
        lines = (self._buffer + data).split(b"\n") if self._buffer else data.split(b"\n")
        self._buffer = lines.pop()
        for line in lines:
            self._take(line.removesuffix(b"\r"))
        if len(self._buffer) > MAX_LINE_BYTES:
            raise NotSmtp("a reply line is too long")

    def take(self) -> WireReply:
        """The oldest reply; there must be one."""
        reply = self.replies.popleft()
        self._unread_bytes -= reply.size_bytes
        return reply

    @property
    def is_clean(self) -> bool:
        """Nothing is waiting: no reply unread, no line half read."""
        return not (self.replies or self._buffer or self._lines)

    def _take(self, line: bytes) -> None:
        self._size += len(line)
        if len(line) > MAX_LINE_BYTES or self._size > MAX_REPLY_BYTES or len(self._lines) >= MAX_LINES:
            raise NotSmtp("a reply is too long")
        found = _LINE.fullmatch(line)
        if found is None:
            raise NotSmtp("a reply line does not begin with a code")
        self._lines.append(found.group(3) or b"")
        if found.group(2) != b"-":
            self._finish(int(found.group(1)))

    def _finish(self, code: int) -> None:
        # The last line's code counts: RFC 5321 wants them equal, and this is the one that a human would see last.
        reply = WireReply(code, tuple(self._lines))
        self._unread_bytes += reply.size_bytes
        if len(self.replies) >= MAX_UNREAD or self._unread_bytes > MAX_UNREAD_BYTES:
            raise NotSmtp("more replies than commands")
        self.replies.append(reply)
        self._lines = []
        self._size = 0
