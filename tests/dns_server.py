"""A small authoritative DNS server for tests, on loopback, UDP and TCP on one port, in a thread of its own.

    with DnsServer() as dns:
        dns.add("acme.example", "MX", "10 mx.acme.example.")
        dns.fail("broken.example", "servfail")
        ... SMG_NAMESERVERS=dns.endpoint ...
        assert ("acme.example", "MX") in dns.asked

It answers for every name: a name with records gets them (aliases are followed), a name with none of the asked type or
with names below it gets an empty answer, '*.example' covers what is not listed, anything else is NXDOMAIN.
Failures (`fail`): servfail, refused, nxdomain, timeout, wrong_id, garbage, truncate (UDP only; TCP answers),
truncate_always (TCP hangs up too).
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Callable
from typing import Any, Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

TTL_S = 60
FAILURES = frozenset(
    {"servfail", "refused", "nxdomain", "timeout", "wrong_id", "garbage", "truncate", "truncate_always"}
)


def _name(text: str) -> str:
    return text.lower().rstrip(".")


class DnsServer:
    """Programmable from any thread while it runs; `queries` holds (name, type, 'udp' | 'tcp') in order."""

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, *, authentic: bool = False, authoritative: bool = False
    ) -> None:
        self.host = host
        self.port = port
        self.authentic = authentic  # AD on every answer, unless `ad` says otherwise for a name
        self.authoritative = authoritative  # answers carry AA, as those of a zone's own server do
        self.queries: list[tuple[str, str, str]] = []
        self._records: dict[tuple[str, str], list[str]] = {}
        self._ttls: dict[tuple[str, str], int] = {}
        self._failures: dict[tuple[str, str], str] = {}
        self._ad: dict[str, bool] = {}
        self._delays_s: dict[str, float] = {}
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    # -- programming it

    def add(self, name: str, rdtype: str, *texts: str, ttl: int = TTL_S) -> None:
        """Add records in presentation form: add('a.example', 'A', '192.0.2.1'); TXT strings may come unquoted."""
        if rdtype == "TXT":
            texts = tuple(text if text.startswith('"') else f'"{text}"' for text in texts)
        dns.rrset.from_text(
            _name(name) + ".", ttl, "IN", rdtype, *texts
        )  # a typo fails here, not in the server
        self._records.setdefault((_name(name), rdtype), []).extend(texts)
        self._ttls[_name(name), rdtype] = ttl

    def mail_domain(self, domain: str, ip: str = "127.0.0.1") -> None:
        """MX and A records for a domain whose mail server is 'mx.<domain>' at `ip`."""
        self.add(domain, "MX", f"10 mx.{_name(domain)}.")
        self.add(f"mx.{domain}", "A", ip)

    def remove(self, name: str, rdtype: str = "") -> None:
        """Forget the records (of one type or of all) and the failures of a name."""
        for table in (self._records, self._failures):
            for key in [key for key in table if key[0] == _name(name) and rdtype in ("", key[1])]:
                table.pop(key, None)

    def fail(self, name: str, how: str, rdtype: str = "ANY") -> None:
        """Make look-ups of a name fail, for one type or for all."""
        if how not in FAILURES:
            raise ValueError(f"unknown failure {how!r}; one of {sorted(FAILURES)}")
        self._failures[_name(name), rdtype] = how

    def ad(self, name: str, authentic: bool = True) -> None:
        """Say whether answers about a name carry AD."""
        self._ad[_name(name)] = authentic

    def delay(self, name: str, seconds: float) -> None:
        self._delays_s[_name(name)] = seconds

    @property
    def asked(self) -> list[tuple[str, str]]:
        return [(name, rdtype) for name, rdtype, _ in self.queries]

    @property
    def endpoint(self) -> str:
        return f"{self.host}:{self.port}"

    # -- running it

    def start(self) -> Self:
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="dns-server", daemon=True
        )
        self._thread.start()
        if not self._started.wait(10):
            raise RuntimeError("the DNS test server did not start")
        return self

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        tcp, udp = await self._bind()
        self._started.set()
        await self._stop.wait()
        udp.close()
        tcp.close()

    async def _bind(self) -> tuple[asyncio.Server, asyncio.DatagramTransport]:
        """One port number for both; a free TCP port may be taken on UDP, so try again."""
        loop = asyncio.get_running_loop()
        for _ in range(20):
            tcp = await asyncio.start_server(self._tcp, self.host, self.port)
            port: int = tcp.sockets[0].getsockname()[1]
            try:
                udp, _protocol = await loop.create_datagram_endpoint(
                    lambda: _Udp(self), local_addr=(self.host, port)
                )
            except OSError:
                tcp.close()
                continue
            self.port = port
            return tcp, udp
        raise RuntimeError("no port is free on both UDP and TCP")

    async def _tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = struct.unpack("!H", await reader.readexactly(2))[0]
                wire = await self.respond(await reader.readexactly(size), "tcp")
                if wire is None:
                    break
                writer.write(struct.pack("!H", len(wire)) + wire)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    # -- answering

    async def respond(self, wire: bytes, transport: str) -> bytes | None:
        """The response's octets, or None for silence."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        question = query.question[0]
        name, rdtype = _name(question.name.to_text()), dns.rdatatype.to_text(question.rdtype)
        self.queries.append((name, rdtype, transport))
        if name in self._delays_s:
            await asyncio.sleep(self._delays_s[name])
        how = self._failures.get((name, rdtype)) or self._failures.get((name, "ANY"), "")
        return self._failed(query, how, transport) if how else self._answered(query, name, rdtype, transport)

    def _failed(self, query: dns.message.Message, how: str, transport: str) -> bytes | None:
        response = dns.message.make_response(query, recursion_available=True)
        if how == "timeout" or (how == "truncate_always" and transport == "tcp"):
            return None
        if how == "garbage":
            return b"\x00" * 5 + query.to_wire()[5:11]
        if how == "wrong_id":
            response.id ^= 0x5555
        if how.startswith("truncate"):
            if transport == "tcp":
                question = query.question[0]
                name, rdtype = _name(question.name.to_text()), dns.rdatatype.to_text(question.rdtype)
                return self._answered(query, name, rdtype, transport)
            response.flags |= dns.flags.TC
        rcodes = {
            "servfail": dns.rcode.SERVFAIL,
            "refused": dns.rcode.REFUSED,
            "nxdomain": dns.rcode.NXDOMAIN,
        }
        response.set_rcode(rcodes.get(how, dns.rcode.NOERROR))
        return response.to_wire()

    def _answered(self, query: dns.message.Message, name: str, rdtype: str, transport: str) -> bytes:
        response = dns.message.make_response(query, recursion_available=True)
        if self._ad.get(name, self.authentic):
            response.flags |= dns.flags.AD
        if self.authoritative:
            response.flags |= dns.flags.AA
        self._fill(response, name, rdtype)
        wire = response.to_wire(max_size=65535)
        if transport == "udp" and len(wire) > max(query.payload, 512):
            response.answer.clear()
            response.flags |= dns.flags.TC
            wire = response.to_wire()
        return wire

    def _fill(self, response: dns.message.Message, name: str, rdtype: str) -> None:
        for _ in range(20):
            source = self._source(name)
            texts = self._records.get((source, rdtype))
            if texts:
                response.answer.append(self._rrset(name, source, rdtype))
                return
            if (source, "CNAME") not in self._records:
                break
            alias = self._rrset(name, source, "CNAME")
            response.answer.append(alias)
            name = _name(alias[0].target.to_text())
        if not self._exists(name):
            response.set_rcode(dns.rcode.NXDOMAIN)

    def _rrset(self, name: str, source: str, rdtype: str) -> Any:
        return dns.rrset.from_text(
            name + ".", self._ttls[source, rdtype], "IN", rdtype, *self._records[source, rdtype]
        )

    def _source(self, name: str) -> str:
        """The owner whose records answer for `name`: itself, or the closest wildcard above it."""
        if any(owner == name for owner, _ in self._records):
            return name
        labels = name.split(".")
        wild = ("*." + ".".join(labels[cut:]) for cut in range(1, len(labels)))
        return next((owner for owner in wild if any(owner == have for have, _ in self._records)), name)

    def _exists(self, name: str) -> bool:
        source = self._source(name)
        return any(owner == source or owner.endswith("." + name) for owner, _ in self._records)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._send: Callable[..., None] = lambda *_: None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self._send = transport.sendto

    def datagram_received(self, data: bytes, addr: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._respond(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _respond(self, data: bytes, addr: Any) -> None:
        wire = await self._server.respond(data, "udp")
        if wire is not None:
            self._send(wire, addr)
