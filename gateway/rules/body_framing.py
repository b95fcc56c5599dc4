"""Where a message ends on the wire, and whether what lies before is fit to be passed on. Pure: octets in, octets out.

Only CRLF.CRLF ends DATA (RFC 5321, 4.1.1.4). CR and LF that don't belong together, and NUL, are faults: another server
may read them as line ends, and what we take for text as a second message (SMTP smuggling, CVE-2023-51764 and others).
A fault is told after the real end, so that the dialogue stays in step. Memory stays under the size limit plus one piece
whatever comes: after the first fault nothing is kept.
"""

from __future__ import annotations

from enum import StrEnum

_CRLF = b"\r\n"
_END = b"\r\n.\r\n"
PIECE_BYTES = 256 * 1024  # large enough to make joining cheap, small enough to keep the event loop alive


class Fault(StrEnum):
    """What is wrong with a body: the first fault found."""

    NONE = ""
    BARE = "bare_line_end"  # CR or LF alone, or NUL
    LINE = "line_too_long"
    TOO_BIG = "too_big"
    NO_ROOM = "no_room"  # not its fault: there are too many others at the moment


class _Body:
    """Collects whole lines in pieces. Each piece starts with the CRLF *before* its first line, so that neither a pair
    nor a stuffed dot is ever cut in two; the body is seeded with one that is taken away at the end."""

    def __init__(self, max_bytes: int, max_line_bytes: int, started_at: float = 0.0) -> None:
        self.started_at = started_at  # by the caller's clock, for its deadlines
        self.fault = Fault.NONE
        self.received_bytes = 0
        self._max_bytes = max_bytes
        self._max_line_bytes = max_line_bytes
        self._pending = bytearray(_CRLF)
        self._pieces: list[bytes] = []
        self._is_joined = False
        self._kept_bytes = 0
        self._cut_at = PIECE_BYTES

    def body(self) -> bytes:
        """The message: whole lines, each with its CRLF. Only after the end, and only without a fault. It takes the
        place of its pieces, so that nobody holds the message twice."""
        if self._pieces and not self._is_joined:
            self._is_joined = True
            self._pieces[0] = self._pieces[0][len(_CRLF) :]
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0] if self._pieces else b""

    @property
    def kept_bytes(self) -> int:
        """How much memory it takes."""
        return self._kept_bytes + len(self._pending)

    def give_up(self) -> None:
        """Keep nothing of it, for want of memory; it is still read to its end."""
        self._fail(Fault.NO_ROOM)

    def _keep(self, piece: bytes) -> None:
        """Take lines that lack the CRLF of the last one."""
        if self.fault or not piece:
            return
        pairs = piece.count(_CRLF)
        if piece.count(b"\n") != pairs or piece.count(b"\r") != pairs or b"\0" in piece:
            self._fail(Fault.BARE)
        elif len(piece) > self._max_line_bytes and has_longer_line(piece, self._max_line_bytes):
            self._fail(Fault.LINE)
        else:
            self._store(piece)

    def _store(self, piece: bytes) -> None:
        self._kept_bytes += len(piece)
        if self._kept_bytes > self._max_bytes + len(_CRLF):
            self._fail(Fault.TOO_BIG)
        else:
            self._pieces.append(piece)

    def _fail(self, fault: Fault) -> None:
        self.fault = fault
        self._kept_bytes = 0
        self._pieces.clear()

    def _close(self, end: int) -> None:
        """Take the rest up to `end`, and give the last line its CRLF."""
        self._keep(self._clean(self._pending[:end]))
        self._pending.clear()
        if self._pieces:
            self._store(_CRLF)

    def _clean(self, piece: bytearray) -> bytes:
        return bytes(piece)

    def _cut(self) -> None:
        """Move whole lines out of the way, so that no octet is searched or copied twice."""
        if self.fault:
            del self._pending[: -len(_END) + 1]
        elif len(self._pending) >= self._cut_at:
            at = self._pending.rfind(_CRLF)
            self._keep(self._clean(self._pending[:at]))
            del self._pending[:at]
            self._cut_at = len(self._pending) + PIECE_BYTES
            if len(self._pending) > self._max_line_bytes + len(_END):  # one line, still open
                self._fail(Fault.LINE)


class DotBody(_Body):
    """The body of one DATA command: `feed` until it returns what lies behind the end."""

    def feed(self, data: bytes) -> bytes | None:
        """None while the end has not come; then the octets received behind it (pipelined commands)."""
        self.received_bytes += len(data)
        searched = max(0, len(self._pending) - len(_END) + 1)
        self._pending += data
        end = self._pending.find(_END, searched)
        if end < 0:
            self._cut()
            return None
        rest = bytes(self._pending[end + len(_END) :])
        self.received_bytes -= len(rest)
        self._close(end)
        return rest

    def _clean(self, piece: bytearray) -> bytes:
        """Take away the dots that transparency added (RFC 5321, 4.5.2)."""
        return bytes(piece.replace(b"\r\n.", _CRLF))


class ChunkedBody(_Body):
    """The body of a series of BDAT commands (RFC 3030): dots mean nothing, the counted octets are the message.

    A last line without CRLF gets one, for it may have to leave by DATA.
    """

    def feed(self, data: bytes) -> None:
        self.received_bytes += len(data)
        self._pending += data
        self._cut()

    def finish(self) -> None:
        """The LAST chunk is complete."""
        length = len(self._pending)
        self._close(length - len(_CRLF) if self._pending.endswith(_CRLF) else length)


def has_longer_line(lines: bytes, max_line_bytes: int) -> bool:
    """Whether a line (without its CRLF) is longer. Looks at one LF in a window, not at every line."""
    start, length = 0, len(lines)
    while length - start > max_line_bytes:
        found = lines.rfind(b"\n", start, start + max_line_bytes + len(_CRLF))
        if found < 0:
            return True
        start = found + 1
    return False
