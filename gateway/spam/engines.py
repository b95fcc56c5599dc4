"""Asking Rspamd and SpamAssassin: two small clients, with a deadline and a cap on what is read.

An engine that cannot be reached, is slow, or answers nonsense gives `EngineDown`, nothing else: the caller judges
without it. Servers are treated as strangers: replies are bounded, numbers checked, names cleaned.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from gateway.spam.symbols import engine_symbol

RSPAMD = "rspamd"
SPAMASSASSIN = "spamassassin"
TIMEOUT_S = 5.0
MAX_REPLY_BYTES = 256 * 1024
MAX_RULES = 100
_NAME = re.compile(r"[^A-Za-z0-9_.:-]+")
_VERDICT = re.compile(
    r"Spam:\s{0,5}(?:True|False|Yes|No)\s{0,5};\s{0,5}(-?[\d.]{1,12})\s{0,5}/\s{0,5}(-?[\d.]{1,12})",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What an engine may know of a message beside its bytes. `client_ip` "" = hidden."""

    sender: str = ""
    recipients: Sequence[str] = ()
    client_ip: str = ""
    login: str = ""
    helo: str = ""
    queue_id: str = ""


@dataclass(frozen=True, slots=True)
class EngineResult:
    """An engine's opinion: its `points`, from how many on it calls mail spam (`required`), and which of its `rules`
    gave how many of them, as symbols ("RSPAMD:MIME_HTML_ONLY"), largest first; those that gave none are left out."""

    engine: str
    points: float
    required: float
    rules: tuple[tuple[str, float], ...] = ()

    @property
    def value(self) -> float:
        """The points on our scale, 0..100."""
        return on_our_scale(self.points, self.required)

    def excused(self, without: Collection[str]) -> EngineResult:
        """The opinion it would have without these rules."""
        kept = tuple((symbol, points) for symbol, points in self.rules if symbol not in without)
        if len(kept) == len(self.rules):
            return self
        gone = sum(points for symbol, points in self.rules if symbol in without)
        return replace(self, points=self.points - gone, rules=kept)


class EngineDown(Exception):
    """No usable answer; the text says why, for the trace, without addresses or internals."""

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(f"{engine}: {reason}")
        self.engine = engine
        self.reason = reason


def on_our_scale(points: float, required: float) -> float:
    """Points of an engine as 0..100: 0 or less is 0, `required` 40 (suspect), twice `required` 75 (spam), four times
    100; linear between."""
    ratio = points / required if required > 0 else points / 5.0
    if ratio <= 1:
        return max(0.0, 40.0 * ratio)
    return 40.0 + 35.0 * (ratio - 1) if ratio <= 2 else min(100.0, 75.0 + 12.5 * (ratio - 2))


async def ask_rspamd(url: str, raw: bytes, asked: Asked, timeout_s: float = TIMEOUT_S) -> EngineResult:
    """POST the message to `/checkv2` of an Rspamd at `url` (http only); EngineDown when there is no good answer."""
    try:
        target = urlsplit(url if "//" in url else f"http://{url}")
        host, port = target.hostname, target.port or 11333
    except ValueError as error:
        raise EngineDown(RSPAMD, "not a http address") from error
    if target.scheme != "http" or not host:
        raise EngineDown(RSPAMD, "not a http address")
    path = target.path.rstrip("/") or ""
    head = _rspamd_head(f"{path}/checkv2", f"{host}:{port}", len(raw), asked)
    reply = await _exchange(RSPAMD, host, port, head + raw, timeout_s, half_close=False)
    return _rspamd_result(_http_body(RSPAMD, reply))


def _rspamd_head(path: str, host: str, size: int, asked: Asked) -> bytes:
    lines = [f"POST {path} HTTP/1.0", f"Host: {host}", f"Content-Length: {size}", "Connection: close"]
    fields = [("From", asked.sender), *(("Rcpt", each) for each in asked.recipients[:100])]
    fields += [
        ("IP", asked.client_ip),
        ("User", asked.login),
        ("Helo", asked.helo),
        ("Queue-Id", asked.queue_id),
    ]
    lines += [f"{name}: {value}" for name, text in fields if (value := _one_line(text))]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace")


def _one_line(text: str) -> str:
    """A value that cannot end a header line."""
    text = text[:500]
    return text if text.isprintable() else "".join(filter(str.isprintable, text))


def _http_body(engine: str, reply: bytes) -> bytes:
    head, blank, body = reply.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].split(b" ")
    if not blank or len(status) < 2 or status[1] != b"200":
        raise EngineDown(engine, "unexpected reply")
    if b"transfer-encoding: chunked" in head.lower():
        raise EngineDown(engine, "chunked reply")
    return body


def _rspamd_result(body: bytes) -> EngineResult:
    try:
        data = json.loads(body)
        points, required = float(data["score"]), float(data["required_score"])
        rows = [(str(name), float(row["score"])) for name, row in data.get("symbols", {}).items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EngineDown(RSPAMD, "unreadable reply") from error
    return _result(RSPAMD, points, _threshold(data, required), rows)


def _threshold(data: dict[str, Any], required: float) -> float:
    """`add header` is where Rspamd itself begins to call mail spam; `required_score` is where it would reject."""
    thresholds = data.get("thresholds")
    found = thresholds.get("add header") if isinstance(thresholds, dict) else None
    return float(found) if isinstance(found, int | float) and found > 0 else required * 0.4


async def ask_spamd(
    host: str, port: int, raw: bytes, asked: Asked, timeout_s: float = TIMEOUT_S
) -> EngineResult:
    """SYMBOLS request (SPAMC/1.5) to a spamd; EngineDown when there is no good answer. Only the login is told."""
    user = _NAME.sub("", asked.login)[:64]
    head = (
        f"SYMBOLS SPAMC/1.5\r\nContent-length: {len(raw)}\r\n"
        + (f"User: {user}\r\n" if user else "")
        + "\r\n"
    )
    reply = await _exchange(SPAMASSASSIN, host, port, head.encode("ascii") + raw, timeout_s, half_close=True)
    return _spamd_result(reply)


def _spamd_result(reply: bytes) -> EngineResult:
    head, blank, body = reply.partition(b"\r\n\r\n")
    text = head.decode("ascii", "replace")
    verdict = _VERDICT.search(text)
    if not blank or not text.startswith("SPAMD/") or " 0 " not in text.split("\r\n", 1)[0] or verdict is None:
        raise EngineDown(SPAMASSASSIN, "unexpected reply")
    try:
        points, required = float(verdict.group(1)), float(verdict.group(2))
    except ValueError as error:
        raise EngineDown(SPAMASSASSIN, "unreadable reply") from error
    names = [name for name in body.decode("ascii", "replace").strip().split(",") if name]
    return _result(SPAMASSASSIN, points, required, [(name, points / len(names)) for name in names])


def _result(engine: str, points: float, required: float, rows: list[tuple[str, float]]) -> EngineResult:
    if not (isfinite(points) and isfinite(required) and all(isfinite(score) for _, score in rows)):
        raise EngineDown(engine, "unreadable reply")
    telling = sorted((row for row in rows if row[1]), key=lambda row: (-row[1], row[0]))[:MAX_RULES]
    rules = tuple((engine_symbol(engine, _NAME.sub("", name)[:60]), score) for name, score in telling)
    return EngineResult(engine, points, required, rules)


async def _exchange(
    engine: str, host: str, port: int, request: bytes, timeout_s: float, *, half_close: bool
) -> bytes:
    try:
        async with asyncio.timeout(timeout_s):
            return await _talk(engine, host, port, request, half_close)
    except TimeoutError as error:
        raise EngineDown(engine, f"no answer within {timeout_s:g} s") from error
    except (OSError, ValueError) as error:
        raise EngineDown(engine, "not reachable") from error


async def _talk(engine: str, host: str, port: int, request: bytes, half_close: bool) -> bytes:
    transport, reply = await asyncio.get_running_loop().create_connection(lambda: _Reply(engine), host, port)
    try:
        transport.write(request)
        if half_close and transport.can_write_eof():
            transport.write_eof()
        return await reply.whole
    finally:
        transport.abort()


class _Reply(asyncio.Protocol):
    """What comes until the server closes. (asyncio's streams take twice the processor time.)"""

    def __init__(self, engine: str) -> None:
        self.whole: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._engine = engine
        self._received = bytearray()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > MAX_REPLY_BYTES and not self.whole.done():
            self.whole.set_exception(EngineDown(self._engine, "reply too long"))

    def connection_lost(self, error: Exception | None) -> None:
        if self.whole.done():
            return
        if error is not None:
            self.whole.set_exception(error)
        else:
            self.whole.set_result(bytes(self._received))
