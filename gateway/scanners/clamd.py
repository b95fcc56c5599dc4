"""Asks clamd whether a message is infected (INSTREAM, clamd(8)).

Only an explicit "OK" is clean and only an explicit "FOUND" is infected. Everything else (unreachable, time-out, ERROR,
too big to scan, garbage) raises ScannerDown, and the client is told to come back later: never a pass.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence

from gateway.config import Endpoint

Scan = Callable[[bytes], Awaitable[str | None]]
CHUNK_BYTES = 1 << 20
REPLY_LIMIT_BYTES = 4096
SCAN_TIMEOUT_S = 60.0


class ScannerDown(Exception):
    """No verdict could be had; the text says why, for the log and the status page."""


async def scan(
    endpoints: Sequence[Endpoint], content: bytes, timeout_s: float = SCAN_TIMEOUT_S
) -> str | None:
    """The name of the virus, or None when every scanner says clean. Raises ScannerDown if one of them cannot say."""
    results = await asyncio.gather(*(_scan_one(endpoint, content, timeout_s) for endpoint in endpoints))
    return next((name for name in results if name), None)


def scanner(endpoints: Sequence[Endpoint]) -> Scan | None:
    """`scan` bound to the configured scanners; None when there are none."""
    if not endpoints:
        return None

    async def scan_all(content: bytes) -> str | None:
        return await scan(endpoints, content)

    return scan_all


async def ping(endpoint: Endpoint, timeout_s: float = 5.0) -> None:
    """Raises ScannerDown unless clamd answers PONG."""
    if await _talk(endpoint, b"zPING\0", b"", timeout_s) != b"PONG":
        raise ScannerDown(f"{endpoint}: no PONG")


async def _scan_one(endpoint: Endpoint, content: bytes, timeout_s: float) -> str | None:
    return _verdict(endpoint, await _talk(endpoint, b"zINSTREAM\0", content, timeout_s))


def _verdict(endpoint: Endpoint, reply: bytes) -> str | None:
    text = reply.decode("utf-8", "replace")
    if text == "stream: OK":
        return None
    if text.startswith("stream: ") and text.endswith(" FOUND"):
        return text.removeprefix("stream: ").removesuffix(" FOUND")[:100]
    raise ScannerDown(f"{endpoint}: {text[:200] or 'closed without an answer'}")


async def _talk(endpoint: Endpoint, command: bytes, content: bytes, timeout_s: float) -> bytes:
    try:
        async with asyncio.timeout(timeout_s):
            return await _exchange(endpoint, command, content)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise ScannerDown(f"{endpoint}: {type(error).__name__} {error}".rstrip()) from error


async def _exchange(endpoint: Endpoint, command: bytes, content: bytes) -> bytes:
    reader, writer = await _connect(endpoint)
    try:
        writer.write(command)
        await _send_stream(writer, content)
        return (await reader.readuntil(b"\0"))[:-1].strip()
    finally:
        writer.close()


async def _connect(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if endpoint.path:
        return await asyncio.open_unix_connection(endpoint.path, limit=REPLY_LIMIT_BYTES)
    return await asyncio.open_connection(endpoint.host, endpoint.port, limit=REPLY_LIMIT_BYTES)


async def _send_stream(writer: asyncio.StreamWriter, content: bytes) -> None:
    if not content:  # PING
        return
    view = memoryview(content)
    try:
        for start in range(0, len(view), CHUNK_BYTES):
            chunk = view[start : start + CHUNK_BYTES]
            writer.write(struct.pack("!I", len(chunk)) + chunk)
            await writer.drain()
        writer.write(b"\0\0\0\0")
        await writer.drain()
    except (ConnectionError, BrokenPipeError):
        return  # clamd stops reading when the stream is too big for it; its answer says so and is read next
