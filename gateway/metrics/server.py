"""The listener of SMG_METRICS_LISTEN: /metrics, /healthz and /readyz. It is for the operator's network only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from gateway.config import Config, ConfigError, Endpoint

log = logging.getLogger(__name__)

REQUEST_S = 5.0
REQUEST_BYTES = 8192
AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page says."""

    status: int
    body: bytes
    content_type: str = "text/plain"


BUSY = Answer(503, b"busy\n")
Pages = Mapping[str, Callable[[], Awaitable[Answer]]]


class MetricsServer:
    """Serves `pages` by their paths; a page that cannot be made is a 503, never an old one."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._open = 0

    async def listen(self, endpoint: Endpoint) -> None:
        """Raises ConfigError when the place cannot be used."""
        try:
            self._server = await asyncio.start_server(
                self._serve, endpoint.host, endpoint.port, limit=REQUEST_BYTES, reuse_address=True,
                reuse_port=True,  # at a reload the next process listens before this one has ended
            )  # fmt: skip
        except OSError as error:
            raise ConfigError(f"SMG_METRICS_LISTEN={endpoint}: {error.strerror or error}") from error

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1] if self._server else 0
        return port

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            async with asyncio.timeout(REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(await self._answer(head) if self._open <= AT_ONCE else BUSY))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            log.debug("a scrape did not come to an end")
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, head: bytes) -> Answer:
        method, _, rest = head.partition(b" ")
        if method != b"GET":
            return Answer(405, b"GET only\n")
        path = rest.split(b" ", 1)[0].split(b"?", 1)[0].decode("latin-1")
        if path not in self._pages:
            return Answer(404, " ".join(self._pages).encode() + b"\n")
        try:
            return await self._pages[path]()
        except Exception:
            log.exception("a page could not be made", extra={"page": path})
            return Answer(503, b"not available\n")


def _response(answer: Answer) -> bytes:
    fields = {
        "Content-Type": answer.content_type,
        "Content-Length": len(answer.body),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {answer.status} ", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + answer.body


async def serve_metrics(config: Config, pages: Pages) -> MetricsServer | None:
    """The listener, if one is configured."""
    if config.metrics_listen is None:
        return None
    server = MetricsServer(pages)
    await server.listen(config.metrics_listen)
    return server
