"""Reading mail for judgement: tolerant of every breakage, bounded in parts, depth, bytes and work.

`read_mail` takes the bytes as they came and never raises: what cannot be understood is left out. It keeps no more
than the caps below, whatever the message holds, so that a MIME bomb costs what an ordinary mail costs. It is not a
general MIME parser: only what the features need is looked at (RFC 5322 headers, RFC 2045-2047, RFC 2231 in part).
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field

from gateway.spam.charset import decode_text, decode_words

MAX_HEADER_BYTES = 65_536
MAX_HEADERS = 200
MAX_HEADER_CHARS = 4_000
MAX_PARTS = 100
MAX_DEPTH = 8
MAX_TEXT_BYTES = 49_152
"""Decoded bytes kept of one text part; the feature code has its own, smaller caps."""
MAX_TEXT_PARTS = 8
MAX_SCANNED_BYTES = 64 * 1024 * 1024
"""Bytes searched for boundaries, over all levels together."""
MAX_SEARCHES = 1_000
WINDOW_BYTES = 1024 * 1024

_BLANK_LINE = re.compile(rb"\r?\n[ \t]*\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_NAME = re.compile(rb"[!-9;-~]{1,76}+")
_PARAMETER = re.compile(
    r';\s{0,20}([\w!#$&*+.^`{|}~-]{1,40}+)\s{0,20}=\s{0,20}(?:"([^"]{0,400})"?|([^\s;"]{1,400}+))'
)
_NOT_BASE64 = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
)


@dataclass(slots=True)
class Part:
    """One leaf or container: `path` says how it hangs in the tree, `text` is set for text parts that were decoded."""

    content_type: str
    parameters: dict[str, str]
    encoding: str
    disposition: str
    filename: str
    depth: int
    size_bytes: int
    text: str | None = None


@dataclass(slots=True)
class Mail:
    """What the features look at. Header names are lower-case; values unfolded and decoded; first occurrence first."""

    headers: dict[str, list[str]]
    parts: list[Part] = field(default_factory=list)
    truncated: bool = False

    def header(self, name: str) -> str:
        """First value of a header, "" when absent."""
        values = self.headers.get(name)
        return values[0] if values else ""


def read_mail(raw: bytes) -> Mail:
    """Parse `raw`; broken or enormous input gives a smaller `Mail`, with `truncated` set, never an exception."""
    head, body_at = _split_head(raw, 0, len(raw))
    mail = Mail(_headers(head))
    _Walk(raw, mail).read(mail.headers, body_at, len(raw), 0)
    return mail


def split_parameters(value: str) -> tuple[str, dict[str, str]]:
    """`text/html; charset="utf-8"` -> ("text/html", {"charset": "utf-8"}); names and main value in lower case."""
    main, _, _ = value.partition(";")
    found: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(value[:2_000]):
        found.setdefault(name.lower().rstrip("*").partition("*")[0], quoted or plain)
    return main.strip().lower()[:80], found


def _split_head(raw: bytes, start: int, end: int) -> tuple[bytes, int]:
    """Header block and where the body begins; a part may begin with an empty line (no headers at all)."""
    for empty in (b"\r\n", b"\n"):
        if raw.startswith(empty, start, end):
            return b"", start + len(empty)
    limit = min(end, start + MAX_HEADER_BYTES)
    blank = _BLANK_LINE.search(raw, start, limit)
    if blank is None:
        return raw[start:limit], end
    return raw[start : blank.start()], blank.end()


def _headers(head: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in _FOLD.sub(b" ", head).split(b"\n", MAX_HEADERS)[:MAX_HEADERS]:
        name, colon, value = line.partition(b":")
        name = name.rstrip(b" \t")
        if colon and _NAME.fullmatch(name):
            text = decode_words(value[:MAX_HEADER_CHARS].strip())
            found.setdefault(name.decode("ascii").lower(), []).append(text)
    return found


class _Walk:
    """One pass over the parts. Offsets into the one `bytes` object instead of copies keep memory flat."""

    def __init__(self, raw: bytes, mail: Mail) -> None:
        self.raw = raw
        self.mail = mail
        self.scanned = 0
        self.texts = 0

    def read(self, headers: dict[str, list[str]], start: int, end: int, depth: int) -> None:
        if len(self.mail.parts) >= MAX_PARTS or self.scanned > MAX_SCANNED_BYTES:
            self.mail.truncated = True
            return
        part = _describe(headers, depth, end - start)
        self.mail.parts.append(part)
        if (
            depth < MAX_DEPTH
            and part.content_type.startswith("multipart/")
            and part.parameters.get("boundary")
        ):
            self.children(part.parameters["boundary"], start, end, depth)
        elif depth < MAX_DEPTH and part.content_type == "message/rfc822":
            self.child(start, end, depth)
        elif part.content_type in ("text/plain", "text/html"):
            self.text(part, start, end)

    def child(self, start: int, end: int, depth: int) -> None:
        head, body_at = _split_head(self.raw, start, end)
        self.read(_headers(head), body_at, end, depth + 1)

    def children(self, boundary: str, start: int, end: int, depth: int) -> None:
        mark = b"--" + boundary.encode("utf-8", "replace")
        at = self.find(mark, start, end)
        while at >= 0:
            after = at + len(mark)
            if self.raw.startswith(b"--", after, end):
                return
            begin = self.raw.find(b"\n", after, end) + 1
            if not begin:
                return
            at = self.find(mark, begin, end)
            self.child(begin, at if at >= 0 else end, depth)
            if self.mail.truncated:
                return

    def find(self, mark: bytes, start: int, end: int) -> int:
        """Next place where `mark` begins a line, or -1. Looked for in windows: one search over 50 MiB would keep the
        interpreter lock, and with it the event loop of the relay, for tens of milliseconds."""
        at = start
        for _ in range(MAX_SEARCHES):
            stop = min(end, at + WINDOW_BYTES)
            hit = self.raw.find(mark, at, stop)
            self.scanned += (hit if hit >= 0 else stop) - at
            if hit >= 0 and (hit == start or self.raw[hit - 1] == 10):
                return hit
            if self.scanned > MAX_SCANNED_BYTES or (hit < 0 and stop == end):
                return -1
            at = hit + len(mark) if hit >= 0 else stop - len(mark) + 1
        return -1

    def text(self, part: Part, start: int, end: int) -> None:
        if self.texts >= MAX_TEXT_PARTS:
            self.mail.truncated = True
            return
        self.texts += 1
        content = _transfer_decoded(self.raw, start, end, part.encoding)
        # One kind of line end before the cut: the same mail read from an mbox and from the wire must score the same.
        content = content.replace(b"\r\n", b"\n")[:MAX_TEXT_BYTES]
        part.text = decode_text(content, part.parameters.get("charset", ""))


def _describe(headers: dict[str, list[str]], depth: int, size_bytes: int) -> Part:
    content_type, parameters = split_parameters(headers.get("content-type", ["text/plain"])[0])
    disposition, options = split_parameters(headers.get("content-disposition", [""])[0])
    return Part(
        content_type or "text/plain",
        parameters,
        headers.get("content-transfer-encoding", [""])[0].strip().lower()[:20],
        disposition,
        (options.get("filename") or parameters.get("name") or "")[:200],
        depth,
        size_bytes,
    )


def _transfer_decoded(raw: bytes, start: int, end: int, encoding: str) -> bytes:
    if encoding == "base64":
        return _base64(raw[start : min(end, start + MAX_TEXT_BYTES * 3)])
    if encoding == "quoted-printable":
        return binascii.a2b_qp(raw[start : min(end, start + MAX_TEXT_BYTES * 4)])
    return raw[start : min(end, start + MAX_TEXT_BYTES * 2)]


def _base64(data: bytes) -> bytes:
    clean = data.translate(None, _NOT_BASE64)
    return binascii.a2b_base64(clean[: len(clean) & ~3])
