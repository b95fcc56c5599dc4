"""The PROXY protocol (versions 1 and 2): the real client's address, told by a load balancer in front of us.

Believed from the networks the operator listed, and required there; from anybody else it is just a wrong command. The
header comes before TLS, on implicit TLS listeners too.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from aiosmtpd.proxy_protocol import AF, PROTO, V2_CMD, get_proxy

from gateway.config import IPNetwork
from gateway.smtp.inbox import EndOfStream, Inbox, LineTooLong

MAX_V1_BYTES = 107  # the specification's own number


class ProxyHeaderError(ValueError):
    """A listed proxy sent no header, or one that does not say who the client is."""


def is_proxy(ip: str, networks: Iterable[IPNetwork]) -> bool:
    """Whether this peer may (and must) speak for others."""
    address = ipaddress.ip_address(ip)
    return any(address in network for network in networks)


async def read_client(inbox: Inbox) -> tuple[str, int] | None:
    """(ip, port) of the client behind the proxy; None when the proxy speaks for itself (health checks: LOCAL,
    UNKNOWN). Raises ProxyHeaderError and EndOfStream."""
    header = await get_proxy(_Reader(inbox))
    if not header.valid:
        raise ProxyHeaderError(header.error or "not a PROXY header")
    if header.command == V2_CMD.LOCAL or PROTO.UNSPEC in (header.protocol, header.family):
        return None
    if header.protocol != PROTO.STREAM or header.family not in (AF.INET, AF.INET6):
        raise ProxyHeaderError("not a TCP connection")
    return plain_ip(str(header.src_addr)), int(header.src_port or 0)


def plain_ip(ip: str) -> str:
    """An address as everybody writes it: IPv4 in its own form (not ::ffff:192.0.2.1), IPv6 without a zone."""
    address = ipaddress.ip_address(ip.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


class _Reader:
    """An Inbox as aiosmtpd's parser wants it."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def read(self, n: int = -1) -> bytes:
        return await self._inbox.take_at_most(n) if n > 0 else await self._inbox.take()

    async def readexactly(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            data += await self._inbox.take_at_most(n - len(data))
        return data

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        try:
            return await self._inbox.line(MAX_V1_BYTES)
        except LineTooLong as error:
            raise EndOfStream from error
