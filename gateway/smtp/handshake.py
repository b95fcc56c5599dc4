"""From clear text to TLS on an open transport, with asyncio and with uvloop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from gateway.rules.types import TlsInfo
from gateway.smtp.inbox import EndOfStream


async def upgrade(
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    early: Callable[[], bytes],
) -> asyncio.Transport:
    """The TLS transport that `protocol` uses from now on; raises OSError when the handshake fails.

    On implicit TLS the client's hello may have been read before we got here (it often comes in the same moment, or in
    one segment with a PROXY header). `early` hands it over, and it is given to the TLS layer first.
    """
    loop = asyncio.get_running_loop()
    handshake = loop.create_task(loop.start_tls(transport, protocol, context, server_side=True))
    await asyncio.sleep(0)  # start_tls has paused the transport and put its own protocol in
    await asyncio.sleep(0)  # that protocol is connected, and nothing has been read by it yet
    data = early()
    if not handshake.done():
        _replay(transport.get_protocol(), data)
    secured = await handshake
    if secured is None:
        raise EndOfStream
    return secured


def _replay(layer: asyncio.BaseProtocol, data: bytes) -> None:
    """Let a protocol receive octets that were read before its time."""
    receiver = cast(asyncio.BufferedProtocol, layer)
    while data:
        buffer = memoryview(receiver.get_buffer(len(data)))
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        receiver.buffer_updated(count)
        data = data[count:]


def tls_info(transport: asyncio.Transport) -> TlsInfo:
    """What was negotiated on a TLS transport; raises EndOfStream when nothing was."""
    tls = transport.get_extra_info("ssl_object")
    cipher = tls.cipher() if tls else None
    if not cipher:  # the peer went away in the middle of the handshake
        raise EndOfStream
    return TlsInfo(version=tls.version() or "", cipher=cipher[0])
