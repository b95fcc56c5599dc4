"""Questions to the operator's own resolver over a few shared sockets.

Each question has a random id on one of several connected sockets (random ports), so an answer is believed only from the
right address to the right port with the right id and the same question. Everything else is dropped without a word:
a forged datagram must neither be an answer nor end the waiting. A cut answer (TC) is asked again over TCP.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import struct
from collections.abc import Sequence
from typing import Any, Protocol, Self

from blacklist.probe import wire
from blacklist.rules.types import Answer, Outcome
from gateway.config import Endpoint

SOCKETS = 8
TIMEOUT_S = 3.0
TRIES = 2
MAX_ADDRESSES = 32
MAX_TEXT = 500
AGAIN = frozenset({wire.SERVFAIL, wire.REFUSED})
RCODES = {wire.SERVFAIL: Outcome.SERVFAIL, wire.NXDOMAIN: Outcome.NXDOMAIN, wire.REFUSED: Outcome.REFUSED}


class Asker(Protocol):
    """What the workers need of DNS."""

    async def address(self, name: str) -> Answer:
        """A records. Never raises for what the network does."""

    async def text(self, name: str) -> str:
        """TXT records as one line, '' when there are none."""


class _Socket(asyncio.DatagramProtocol):
    """One connected UDP socket and the questions that wait on it, by id."""

    def __init__(self) -> None:
        self.waiting: dict[int, tuple[bytes, asyncio.Future[bytes]]] = {}
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        entry = self.waiting.get(int.from_bytes(data[:2], "big"))
        if entry is not None and wire.belongs(data, entry[0]) and not entry[1].done():
            entry[1].set_result(data)

    def error_received(self, exc: Exception) -> None:
        """ICMP says that nobody listens: all who wait here need not wait on."""
        for _, future in self.waiting.values():
            if not future.done():
                future.set_exception(ConnectionError(str(exc)))

    def free_id(self) -> int:
        while True:
            query_id = secrets.randbelow(0x10000)
            if query_id not in self.waiting:
                return query_id


class DnsAsker:
    """An Asker over UDP and TCP; use as an async context manager, inside one event loop."""

    def __init__(
        self, nameservers: Sequence[Endpoint], *, timeout_s: float = TIMEOUT_S, tries: int = TRIES
    ) -> None:
        if not nameservers:
            raise ValueError(
                "no name server is known: set SMG_DNSBL_NAMESERVERS to your own resolver, host:port"
            )
        self._nameservers = tuple(nameservers)
        self._timeout_s = timeout_s
        self._tries = tries
        self._sockets: list[list[_Socket]] = []
        self._turn = 0
        self.questions = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for server in self._nameservers:
            row: list[_Socket] = []
            for _ in range(SOCKETS):
                _, protocol = await loop.create_datagram_endpoint(
                    _Socket, remote_addr=(server.host, server.port)
                )
                row.append(protocol)
            self._sockets.append(row)
        return self

    async def __aexit__(self, *_: object) -> None:
        for row in self._sockets:
            for socket in row:
                socket.transport.close()

    async def address(self, name: str) -> Answer:
        try:
            response = await self._ask(name, wire.A)
        except TimeoutError:
            return Answer(Outcome.TIMEOUT)
        except wire.WireError:
            return Answer(Outcome.MALFORMED)
        if response.rcode == wire.NOERROR:
            outcome = Outcome.RECORDS if response.addresses else Outcome.NODATA
            return Answer(outcome, response.addresses[:MAX_ADDRESSES], response.ttl_s)
        return Answer(RCODES.get(response.rcode, Outcome.OTHER_RCODE), ttl_s=response.ttl_s)

    async def text(self, name: str) -> str:
        try:
            response = await self._ask(name, wire.TXT)
        except (TimeoutError, wire.WireError):
            return ""
        return " / ".join(_one_line(text) for text in response.texts)[:MAX_TEXT]

    async def _ask(self, name: str, rdtype: int) -> wire.Response:
        """The first usable response; SERVFAIL and REFUSED are tried again like silence. Raises
        TimeoutError or WireError."""
        problem: Exception = TimeoutError(name)
        for attempt in range(self._tries):
            server = (self._turn + attempt) % len(self._nameservers)
            try:
                response = await self._once(server, name, rdtype)
            except (TimeoutError, ConnectionError, wire.WireError) as error:
                problem = error
                continue
            if response.rcode not in AGAIN or attempt == self._tries - 1:
                return response
        raise problem if isinstance(problem, wire.WireError) else TimeoutError(name)

    async def _once(self, server: int, name: str, rdtype: int) -> wire.Response:
        socket = secrets.choice(self._sockets[server])
        query_id = socket.free_id()
        asked = wire.question(query_id, name, rdtype)
        message = await self._datagram(socket, query_id, asked)
        response = wire.parse(message, asked)
        if not response.truncated:
            return response
        return wire.parse(await self._stream(self._nameservers[server], asked), asked)

    async def _datagram(self, socket: _Socket, query_id: int, asked: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        socket.waiting[query_id] = (asked, future)
        self.questions += 1
        timer = loop.call_later(
            self._timeout_s, _expire, future
        )  # cheaper than asyncio.timeout at 50,000 questions
        try:
            socket.transport.sendto(asked)
            return await future
        finally:
            timer.cancel()
            del socket.waiting[query_id]

    async def _stream(self, server: Endpoint, asked: bytes) -> bytes:
        async with asyncio.timeout(self._timeout_s):
            try:
                reader, writer = await asyncio.open_connection(server.host, server.port)
            except OSError as error:
                raise ConnectionError(str(error)) from error
            try:
                return await _exchange(reader, writer, asked)
            except (asyncio.IncompleteReadError, OSError) as error:
                raise ConnectionError(str(error)) from error
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytes) -> bytes:
    writer.write(struct.pack("!H", len(asked)) + asked)
    await writer.drain()
    size = struct.unpack("!H", await reader.readexactly(2))[0]
    message = await reader.readexactly(size)
    if not wire.belongs(message, asked):
        raise wire.WireError("TCP answer to another question")
    return message


def _expire(future: asyncio.Future[bytes]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())


def _one_line(text: str) -> str:
    """A stranger's text without control characters and line ends."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
