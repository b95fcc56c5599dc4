"""One small file over HTTPS, from a host that a stranger names: bounded in time and size, no redirects, and never to
an address that is not public.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from gateway.dns import DnsError, Resolver
from gateway.rules.mx import IPNetwork, forbidden

MAX_HEAD_BYTES = 16 * 1024


class FetchFailed(Exception):
    """`kind` is a result type of RFC 8460 section 4.3 (sts-policy-fetch-error, sts-webpki-invalid)."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


Addresses = Callable[[str], Awaitable[list[str]]]  # host -> addresses that we may connect to, resolved once


def public_addresses(resolver: Resolver, allowed_networks: Iterable[IPNetwork] = ()) -> Addresses:
    """Resolves a host to the addresses that are public (or in SMG_PRIVATE_MX_NETWORKS); [] when there is none."""
    allowed = tuple(allowed_networks)

    async def addresses(host: str) -> list[str]:
        found: list[str] = []
        for look_up in (resolver.a, resolver.aaaa):
            try:
                found += (await look_up(host)).addresses
            except DnsError:
                continue
        return [ip for ip in found if forbidden(ip, (), allowed) is None]

    return addresses


@dataclass(frozen=True, slots=True)
class HttpsGet:
    """`context` must check chain and host name."""

    addresses: Addresses
    context: ssl.SSLContext
    port: int = 443
    deadline_s: float = 10.0

    async def __call__(self, host: str, path: str, max_bytes: int) -> bytes:
        """The body of a 200 answer of type text/plain; raises FetchFailed."""
        try:
            async with asyncio.timeout(self.deadline_s):
                return await self._fetch(host, path, max_bytes)
        except ssl.SSLCertVerificationError as error:
            raise FetchFailed("sts-webpki-invalid", f"https://{host}: {error.verify_message}") from error
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise FetchFailed("sts-policy-fetch-error", f"https://{host}: {_word(error)}") from error

    async def _fetch(self, host: str, path: str, max_bytes: int) -> bytes:
        addresses = await self.addresses(host)
        if not addresses:
            raise FetchFailed("sts-policy-fetch-error", f"{host} has no public address")
        reader, writer = await self._connect(addresses, host)
        try:
            request = (
                f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
            )
            writer.write(request.encode("ascii"))
            head = await reader.readuntil(b"\r\n\r\n")
            return await _body(reader, _checked_head(head, host), max_bytes, host)
        finally:
            writer.close()

    async def _connect(
        self, addresses: list[str], host: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        error: OSError = OSError("no address")
        for ip in addresses[:3]:
            try:
                return await asyncio.open_connection(
                    ip, self.port, ssl=self.context, server_hostname=host, limit=MAX_HEAD_BYTES
                )
            except ssl.SSLError:
                raise
            except OSError as failed:
                error = failed
        raise error


def _checked_head(head: bytes, host: str) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")
    status = lines[0].split(" ")
    if len(status) < 2 or status[1] != "200":  # a redirect too is a failure: RFC 8461 section 3.3
        raise FetchFailed(
            "sts-policy-fetch-error", f"https://{host} answered {lines[0][:60]!r} instead of 200"
        )
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
    }
    if fields.get("content-type", "").partition(";")[0].strip().lower() != "text/plain":
        raise FetchFailed(
            "sts-policy-fetch-error", f"https://{host} answered with another type than text/plain"
        )
    return fields


async def _body(reader: asyncio.StreamReader, fields: dict[str, str], max_bytes: int, host: str) -> bytes:
    if fields.get("transfer-encoding", "").lower() == "chunked":
        body = await _chunked(reader, max_bytes)
    else:
        length = fields.get("content-length", "")
        wanted = int(length) if length.isdecimal() and len(length) < 12 else max_bytes + 1
        body = await _at_most(reader, min(wanted, max_bytes + 1))
    if len(body) > max_bytes:
        raise FetchFailed("sts-policy-fetch-error", f"https://{host} sent more than {max_bytes} octets")
    return body


async def _at_most(reader: asyncio.StreamReader, wanted: int) -> bytes:
    body = b""
    while len(body) < wanted:
        chunk = await reader.read(wanted - len(body))
        if not chunk:
            break
        body += chunk
    return body


async def _chunked(reader: asyncio.StreamReader, max_bytes: int) -> bytes:
    body = b""
    while len(body) <= max_bytes:
        line = (await reader.readuntil(b"\r\n")).partition(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError as error:
            raise OSError("bad chunk") from error
        if size <= 0:
            return body
        body += await _at_most(reader, min(size, max_bytes + 1))
        await reader.readuntil(b"\r\n")
    return body


def _word(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    return "no connection" if isinstance(error, ConnectionError) else "cannot be read"
