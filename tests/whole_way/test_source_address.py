"""Mail leaves by its gateway's own address and name, or waits: a relay with several addresses on a real network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from tests.dns_server import DnsServer
from tests.fake_next_hop import FakeNextHop
from tests.netns import Machine, Network, need_namespaces
from tests.relay_harness import Relays, RunningRelay, mail
from tests.whole_way.test_way import GTUBE

pytestmark = pytest.mark.slow

GATEWAYS = {  # name -> pool, IPv4, IPv6
    "good1": ("good", "192.0.2.11", "2001:db8::11"),
    "good2": ("good", "192.0.2.12", "2001:db8::12"),
    "good4": ("good", "192.0.2.14", ""),
    "bad1": ("bad", "192.0.2.13", "2001:db8::13"),
}
OWN = {(f"{name}.smg.example", ip) for name, (_, *addresses) in GATEWAYS.items() for ip in addresses if ip}
STATE = "SELECT state || ' ' || reason FROM gateway_recipient WHERE address = '{}'"
SETTLED = "SELECT count(*) FROM gateway_recipient WHERE state = 'delivered' AND domain = '{}'"


class Outside:
    """A relay on a machine with the gateways' addresses, and two mail servers on another: IPv4 and IPv6."""

    def __init__(self, machine: Machine, relay: RunningRelay, hop4: FakeNextHop, hop6: FakeNextHop) -> None:
        self.machine, self.relay, self.hop4, self.hop6 = machine, relay, hop4, hop6

    async def on_relay(self, function: Callable[..., Any], *args: Any) -> Any:
        def there() -> Any:
            with self.machine.entered():
                return function(*args)

        return await asyncio.to_thread(there)

    async def use(self, *names: str) -> None:
        """Start the relay with these gateways alone (and the Bad one, so that another address is always at hand)."""
        await asyncio.to_thread(self.relay.apply, gateways_toml(drained=GATEWAYS.keys() - {*names, "bad1"}))
        await self.on_relay(self.relay.start)

    async def send(self, recipient: str, text: str = "Hello, this is an ordinary letter.\r\n") -> None:
        assert await self.on_relay(self.relay.send, "web@acme.example", recipient, mail(text)) == ""

    async def wait_for(self, sql: str, value: Any) -> None:
        await asyncio.to_thread(self.relay.wait_for, sql, value, 40.0)

    @property
    def ways(self) -> set[tuple[str, str]]:
        """(name said in EHLO, address seen) of everything that arrived anywhere."""
        return {(one.helo, one.peer) for one in (*self.hop4.messages, *self.hop6.messages)}


def gateways_toml(*, drained: set[str]) -> str:
    lines: list[str] = []
    for name, (pool, ip4, ip6) in GATEWAYS.items():
        lines += ["[[gateways]]", f'name = "{name}"', f'pool = "{pool}"', f'hostname = "{name}.smg.example"']
        lines += ['next_hop = ""', f'source_ip = "{ip4}"', f"drained = {str(name in drained).lower()}"]
        lines += [f'source_ip6 = "{ip6}"'] if ip6 else []
    return "\n".join(lines) + "\n"


@pytest_asyncio.fixture
async def outside(relays: Relays) -> AsyncIterator[Outside]:
    need_namespaces()
    with Network() as network:
        addresses = ["192.0.2.1/24", "2001:db8::1/64"]  # what the machine takes when nobody names an address
        addresses += [f"{ip4}/24" for _, ip4, _ in GATEWAYS.values()]
        addresses += [f"{ip6}/64" for _, _, ip6 in GATEWAYS.values() if ip6]
        machine, partner = network.machine(*addresses), network.machine("192.0.2.99/24", "2001:db8::99/64")
        async with AsyncExitStack() as stack:
            with partner.entered():
                hop4 = await stack.enter_async_context(FakeNextHop("192.0.2.99", 25))
                hop6 = await stack.enter_async_context(FakeNextHop("2001:db8::99", 25))
            with machine.entered():
                dns = stack.enter_context(DnsServer())
            _fill(dns)
            networks = "192.0.2.0/24,2001:db8::/32"
            relay = relays.make(dns.endpoint, 1, 1, SMG_PRIVATE_MX_NETWORKS=networks, SMG_RETRY_SCHEDULE="1")
            yield Outside(machine, relay, hop4, hop6)
            relay.kill()


def _fill(dns: DnsServer) -> None:
    dns.mail_domain("acme.example", "192.0.2.99")
    dns.mail_domain("four.example", "192.0.2.99")
    dns.add("six.example", "MX", "10 mx.six.example.")
    dns.add("mx.six.example", "AAAA", "2001:db8::99")
    dns.add("mixed.example", "MX", "10 dead.mixed.example.", "20 mx.six.example.", "30 mx.four.example.")
    dns.add("dead.mixed.example", "AAAA", "2001:db8::98")  # nobody has this address
    dns.add("dead.mixed.example", "A", "192.0.2.98")


async def test_every_gateway_has_its_own_address_and_name(outside: Outside) -> None:
    await outside.use("good1", "good2")
    for number in range(12):
        await outside.send(f"r{number}@four.example")
        await outside.send(f"r{number}@six.example")
    await outside.send("spam@four.example", GTUBE)
    await outside.wait_for(SETTLED.format("four.example"), 13)
    await outside.wait_for(SETTLED.format("six.example"), 12)
    spam = [one for one in outside.hop4.messages if "<spam@four.example>" in one.rcpts]
    assert [(one.helo, one.peer) for one in spam] == [("bad1.smg.example", "192.0.2.13")]
    assert outside.ways == {way for way in OWN if "good4" not in way[0]} - {
        ("bad1.smg.example", "2001:db8::13")
    }


async def test_hosts_of_both_families_are_tried_by_the_address_that_fits(outside: Outside) -> None:
    await outside.use("good1")
    await outside.send("both@mixed.example")
    await outside.wait_for(SETTLED.format("mixed.example"), 1)
    assert outside.ways == {("good1.smg.example", "2001:db8::11")}


async def test_a_gateway_of_one_family_leaves_the_other_alone(outside: Outside) -> None:
    await outside.use("good4")
    await outside.send("both@mixed.example")
    await outside.wait_for(SETTLED.format("mixed.example"), 1)
    assert outside.ways == {("good4.smg.example", "192.0.2.14")}
    await outside.send("only@six.example")
    await outside.wait_for(STATE.format("only@six.example"), "queued unreachable")
    assert outside.hop6.connections == 0


async def test_mail_waits_for_a_missing_address_and_never_takes_another(outside: Outside) -> None:
    await outside.use("good4")
    # Both processes have seen the address, and look again in ten seconds; else they would not even try.
    await outside.wait_for("SELECT count(*) FROM gateway_worker WHERE gateways <> '[]'", 2)
    outside.machine.remove_address("192.0.2.14/24")
    await outside.send("waits@four.example")
    await outside.wait_for(STATE.format("waits@four.example"), "queued source_address")
    rows = outside.relay.query("SELECT code, enhanced FROM gateway_recipient")
    assert rows == [(451, "4.3.5")]
    assert outside.hop4.connections == 0
    outside.machine.add_address("192.0.2.14/24")
    await outside.wait_for(SETTLED.format("four.example"), 1)
    assert outside.ways == {("good4.smg.example", "192.0.2.14")}


async def test_an_address_that_comes_up_late_is_used(outside: Outside) -> None:
    outside.machine.remove_address("192.0.2.14/24")
    await outside.use("good4")
    await outside.send("late@four.example")
    outside.machine.add_address("192.0.2.14/24")
    await outside.wait_for(SETTLED.format("four.example"), 1)
    assert outside.ways == {("good4.smg.example", "192.0.2.14")}


async def test_a_drained_gateways_mail_leaves_by_another_of_the_pool(outside: Outside) -> None:
    await outside.use("good1")
    outside.hop4.say("RCPT", "450 4.2.0 later")
    for number in range(4):
        await outside.send(f"r{number}@four.example")
    await outside.wait_for("SELECT count(*) FROM gateway_recipient WHERE attempts > 0", 4)
    assert set(outside.hop4.peers) == {"192.0.2.11"}
    await asyncio.to_thread(outside.relay.apply, gateways_toml(drained={"good1", "good4"}))
    await asyncio.sleep(1.5)  # the policy is looked for once a second
    outside.hop4.say("RCPT", "250 2.1.5 ok")
    await outside.wait_for(SETTLED.format("four.example"), 4)
    assert outside.ways == {("good2.smg.example", "192.0.2.12")}
