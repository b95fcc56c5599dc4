"""Next hops that say too much, too slowly or nothing at all cost neither memory nor anybody else's mail."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from bench.rig import peak_mib, tree_of
from bench.wire import NextHop, PlainClient, letter, text_of
from gateway.outbound.reading import MAX_UNREAD
from tests.dns_server import DnsServer
from tests.relay_harness import Relays, RunningRelay, relay_for

pytestmark = pytest.mark.slow

EVIL_HOST = "127.0.0.66"
EVIL_DOMAINS = 64
BODY_BYTES = 100_000
MAY_GROW_MIB = 40.0

Evil = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def endless_reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"220-never the last line of this greeting\r\n" * 1000)
        await writer.drain()


async def endless_line(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 ")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def replies_nobody_asked_for(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """No more of them and none longer than is allowed; they come when the message is done and the connection kept."""
    await polite_until(b"DATA", reader, writer)
    writer.write(b"354 go on\r\n")
    await reader.readuntil(b"\r\n.\r\n")
    writer.write(b"250 2.0.0 taken\r\n")
    await asyncio.sleep(0.3)
    writer.write(((b"250-" + b"x" * 1900 + b"\r\n") * 15 + b"250 x\r\n") * (MAX_UNREAD - 50))
    await writer.drain()
    await asyncio.sleep(3600)


async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220-")
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.05)


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def no_interest_in_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await polite_until(b"DATA", reader, writer)
    writer.write(b"354 go on\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(3600)


async def endless_receipt(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await polite_until(b"DATA", reader, writer)
    writer.write(b"354 go on\r\n")
    await reader.readuntil(b"\r\n.\r\n")
    while True:
        writer.write(b"250-still thinking about it\r\n" * 1000)
        await writer.drain()


async def polite_until(verb: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 welcome\r\n")
    while (line := await reader.readline()) and not line.startswith(verb):
        writer.write(b"250 2.0.0 ok\r\n")


class HostileHop(NextHop):
    """Each connection gets another evil."""

    def __init__(self, port: int) -> None:
        super().__init__(EVIL_HOST, port)
        evils = (
            endless_reply, endless_line, replies_nobody_asked_for, drip, silence, no_interest_in_the_body,
            endless_receipt,
        )  # fmt: skip
        self._evils: Iterator[Evil] = itertools.cycle(evils)
        self.connections = 0

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await next(self._evils)(reader, writer)


@pytest.fixture
def relay(relays: Relays, dns: DnsServer, hop: NextHop) -> Iterator[RunningRelay]:
    """Delivers by MX: partner.example is good, the others are not."""
    dns.mail_domain("partner.example", "127.0.0.1")
    for number in range(EVIL_DOMAINS):
        dns.mail_domain(f"evil{number}.example", EVIL_HOST)
    running = relays.make(dns.endpoint, hop.port, hop.port, SMG_DELIVERY_PORT=str(hop.port))
    running.apply(relay_for())
    running.execute("UPDATE gateway_gateway SET next_hop = ? WHERE name = ?", ("", "good1"))
    running.start()
    yield running
    running.kill()


def peaks(relay: RunningRelay) -> dict[int, float]:
    assert relay.process is not None
    return {pid: peak_mib(pid) for pid in tree_of(relay.process.pid)}


def wait_until(condition: Callable[[], bool], relay: RunningRelay) -> None:
    end = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < end, relay.log[-4000:]
        time.sleep(0.05)


@pytest.mark.timeout(120)
def test_hostile_hosts_cost_neither_memory_nor_time(relay: RunningRelay, hop: NextHop) -> None:
    client = PlainClient(relay.port)
    for number in range(1, 11):
        client.send(letter(number, text_of(BODY_BYTES)), "someone@partner.example")
    before = peaks(relay)
    with HostileHop(hop.port) as hostile:
        for number in range(EVIL_DOMAINS):
            client.send(letter(1000 + number, text_of(BODY_BYTES)), f"someone@evil{number}.example")
        for number in range(11, 61):
            client.send(letter(number, text_of(BODY_BYTES)), "someone@partner.example")
            time.sleep(0.08)  # what is endless shall have time to be it
        client.close()
        wait_until(lambda: len(hop.book.copies) == 60, relay)
        wait_until(lambda: hostile.connections >= EVIL_DOMAINS, relay)
        grown = {pid: round(peak - before[pid], 1) for pid, peak in peaks(relay).items()}
    assert max(grown.values()) < MAY_GROW_MIB, grown
