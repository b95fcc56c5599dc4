"""The listener of SMG_METRICS_LISTEN: GET /metrics and nothing else. It is for the operator's network only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gateway.config import Config, ConfigError, Endpoint
from gateway.metrics.page import CONTENT_TYPE

log = logging.getLogger(__name__)

REQUEST_S = 5.0
REQUEST_BYTES = 8192
AT_ONCE = 20

MakePage = Callable[[], Awaitable[bytes]]


class MetricsServer:
    """Serves what `make_page` returns; a page that cannot be made is a 503, never an old one."""

    def __init__(self, make_page: MakePage) -> None:
        self._make_page = make_page
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
                writer.write(await self._answer(head) if self._open <= AT_ONCE else _response(503, b"busy\n"))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            log.debug("a scrape did not come to an end")
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        if method != b"GET":
            return _response(405, b"GET only\n")
        if rest.split(b" ", 1)[0].split(b"?", 1)[0] != b"/metrics":
            return _response(404, b"/metrics\n")
        try:
            return _response(200, await self._make_page(), CONTENT_TYPE)
        except Exception:
            log.exception("metrics could not be gathered")
            return _response(503, b"not available\n")


def _response(status: int, body: bytes, content_type: str = "text/plain") -> bytes:
    fields = {"Content-Type": content_type, "Content-Length": len(body), "Connection": "close"}
    head = (
        f"HTTP/1.1 {status} \r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    )
    return head.encode() + body


async def serve_metrics(config: Config, make_page: MakePage) -> MetricsServer | None:
    """The listener, if one is configured."""
    if config.metrics_listen is None:
        return None
    server = MetricsServer(make_page)
    await server.listen(config.metrics_listen)
    return server
