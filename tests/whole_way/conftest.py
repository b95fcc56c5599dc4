"""Real relays, real clients, next hops of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from bench.wire import NextHop
from tests.dns_server import DnsServer
from tests.fake_next_hop import FakeNextHop
from tests.relay_harness import Relays, RunningRelay


@pytest.fixture(scope="module")
def relays(tmp_path_factory: pytest.TempPathFactory, shared_dir: Path) -> Iterator[Relays]:
    made = Relays(tmp_path_factory.mktemp("way"), shared_dir)
    yield made
    made.stop_all()


@pytest.fixture
def dns(dns_server: DnsServer) -> DnsServer:
    """The senders' domains."""
    for domain in ("acme.example", "globex.example"):
        dns_server.mail_domain(domain)
    return dns_server


@pytest.fixture
def hop() -> Iterator[NextHop]:
    """Takes mail without an event loop of the test and keeps a book of it."""
    with NextHop() as running:
        yield running


@pytest_asyncio.fixture
async def good() -> AsyncIterator[FakeNextHop]:
    """Where the Good gateway hands over."""
    async with FakeNextHop() as hop:
        yield hop


@pytest_asyncio.fixture
async def bad() -> AsyncIterator[FakeNextHop]:
    """Where the Bad gateway hands over."""
    async with FakeNextHop() as hop:
        yield hop


@pytest.fixture
def relay(relays: Relays, dns: DnsServer, good: FakeNextHop, bad: FakeNextHop) -> Iterator[RunningRelay]:
    """A relay of the test's own with ACME and Globex, one Good and one Bad gateway."""
    running = relays.start(
        dns.endpoint, good.port, bad.port, SMG_RETRY_SCHEDULE="1,1,2", SMG_DELIVERY_PORT="2"
    )
    yield running
    running.kill()
