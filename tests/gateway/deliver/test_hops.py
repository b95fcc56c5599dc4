"""From a recipient domain to servers, addresses and TLS demands, over a DNS server on loopback."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.config import Config, Endpoint
from gateway.dns import Resolver
from gateway.outbound.hops import HopFinder, Wish, own_addresses
from gateway.rules.policy import GatewayPolicy, TlsRulePolicy
from gateway.rules.types import OnFailure, Pool, Stage, StepFailed, TlsLevel
from gateway.tls.dane import Dane
from tests.dns_server import DnsServer

GATEWAY = GatewayPolicy(id=1, name="mta01", pool=Pool.GOOD, hostname="mta01.smg.example")
PUBLIC = "198.51.45.1"
TLSA = "3 1 1 " + "ab" * 32


@pytest.fixture(scope="module")
def zone() -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.mail_domain("plain.example", PUBLIC)
        server.add("two.example", "MX", "20 b.two.example.", "10 a.two.example.", "30 c.two.example.")
        for host, ip in (("a", "198.51.45.1"), ("b", "198.51.45.2"), ("c", "198.51.45.3")):
            server.add(f"{host}.two.example", "A", ip)
        server.add("v6.example", "MX", "10 mx.v6.example.")
        server.add("mx.v6.example", "AAAA", "2a00:1450::1")
        server.add("mx.v6.example", "A", PUBLIC)
        server.add("a-only.example", "A", PUBLIC)
        server.add("null.example", "MX", "0 .")
        server.add("txt-only.example", "TXT", "nothing")
        server.add("bad.example", "A", PUBLIC)
        server.fail("bad.example", "servfail")
        server.add("half.example", "MX", "10 dead.half.example.", "20 alive.half.example.")
        server.fail("dead.half.example", "servfail")
        server.add("alive.half.example", "A", PUBLIC)
        server.add("gone.example", "MX", "10 nowhere.gone.example.")
        server.add("halfdns.example", "MX", "10 dead.half.example.", "20 nowhere.gone.example.")
        server.add("evil.example", "MX", "10 a.evil.example.", "20 b.evil.example.")
        server.add("a.evil.example", "A", "127.0.0.1", "10.0.0.1")
        server.add("b.evil.example", "A", "169.254.169.254", PUBLIC)
        server.add("inner.example", "A", "192.168.1.1")
        server.add("us.example", "MX", "10 a.two.example.", "20 smg.example.", "30 b.two.example.")
        server.add("only-us.example", "MX", "10 MTA01.smg.example.")
        server.add("our-ip.example", "MX", "10 a.two.example.", "20 us2.our-ip.example.", "30 b.two.example.")
        server.add("us2.our-ip.example", "A", "198.51.45.99")
        server.add("our-ip-only.example", "A", "198.51.45.99")
        server.add("brokenv6.example", "A", PUBLIC)
        server.fail("brokenv6.example", "servfail", "AAAA")
        server.add("relay.example", "A", "10.9.9.9")
        for name in ("dane.example", "mx.dane.example", "_25._tcp.mx.dane.example"):
            server.ad(name)
        server.mail_domain("dane.example", PUBLIC)
        server.add("_25._tcp.mx.dane.example", "TLSA", TLSA)
        server.mail_domain("pkix.example", PUBLIC)
        server.add("_25._tcp.mx.pkix.example", "TLSA", "1 1 1 " + "ab" * 32)
        server.mail_domain("signed.example", PUBLIC)
        server.mail_domain("tlsafail.example", PUBLIC)
        server.fail("_25._tcp.mx.tlsafail.example", "servfail")
        server.mail_domain("unsigned.example", PUBLIC)
        server.add("_25._tcp.mx.unsigned.example", "TLSA", TLSA)
        for domain in ("pkix", "signed", "tlsafail"):
            for name in (f"{domain}.example", f"mx.{domain}.example", f"_25._tcp.mx.{domain}.example"):
                server.ad(name)
        yield server


def finder(zone: DnsServer, **more: Any) -> HopFinder:
    resolver = Resolver([Endpoint(zone.host, zone.port)], timeout_s=2)
    made = HopFinder(
        resolver,
        own_hosts={"smg.example", "mta01.smg.example"},
        own_addresses={"198.51.45.99"},
        dane=Dane(resolver),
        rng=random.Random(1),
    )
    for name, value in more.items():
        setattr(made, name, value)
    return made


async def hosts(zone: DnsServer, domain: str, **more: Any) -> list[tuple[str, tuple[str, ...]]]:
    found = await finder(zone, **more).hops(domain, GATEWAY)
    return [(hop.host, hop.addresses) for hop in found]


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("plain.example", [("mx.plain.example", (PUBLIC,))]),
        ("two.example", [(f"{h}.two.example", (f"198.51.45.{n}",)) for n, h in enumerate("abc", 1)]),
        ("v6.example", [("mx.v6.example", (PUBLIC, "2a00:1450::1"))]),
        ("a-only.example", [("a-only.example", (PUBLIC,))]),
        ("half.example", [("alive.half.example", (PUBLIC,))]),
        ("evil.example", [("b.evil.example", (PUBLIC,))]),
        ("us.example", [("a.two.example", ("198.51.45.1",))]),
        ("our-ip.example", [("a.two.example", ("198.51.45.1",))]),
        ("brokenv6.example", [("brokenv6.example", (PUBLIC,))]),
        ("[198.51.45.7]", [("198.51.45.7", ("198.51.45.7",))]),
        ("[IPv6:2a00:1450::1]", [("2a00:1450::1", ("2a00:1450::1",))]),
    ],
)
async def test_hosts_in_order(
    zone: DnsServer, domain: str, expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    assert await hosts(zone, domain) == expected


@pytest.mark.parametrize(
    ("domain", "code", "enhanced", "reason"),
    [
        ("nowhere.example", 550, "5.1.2", "no_such_domain"),
        ("null.example", 556, "5.1.10", "null_mx"),
        ("txt-only.example", 550, "5.4.4", "no_address"),
        ("gone.example", 550, "5.4.4", "no_address"),
        ("bad.example", 451, "4.4.3", "dns"),
        ("halfdns.example", 451, "4.4.3", "dns"),
        ("inner.example", 550, "5.4.4", "forbidden_address"),
        ("only-us.example", 554, "5.4.6", "loop"),
        ("our-ip-only.example", 554, "5.4.6", "loop"),
        ("[127.0.0.1]", 550, "5.4.4", "forbidden_address"),
        ("[IPv6:::1]", 550, "5.4.4", "forbidden_address"),
        ("[nonsense]", 550, "5.4.4", "forbidden_address"),
    ],
)
async def test_nowhere_to_go(zone: DnsServer, domain: str, code: int, enhanced: str, reason: str) -> None:
    with pytest.raises(StepFailed) as caught:
        await hosts(zone, domain)
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (code, enhanced)
    assert (caught.value.reason, caught.value.stage) == (reason, Stage.DNS)


async def test_laboratory_networks_are_allowed(zone: DnsServer) -> None:
    lab = (ipaddress.ip_network("192.168.0.0/16"),)
    assert await hosts(zone, "inner.example", allowed_networks=lab) == [("inner.example", ("192.168.1.1",))]


async def test_facts_are_kept_for_a_while(zone: DnsServer) -> None:
    now = [0.0]
    found = finder(zone, clock=lambda: now[0])
    first = await found.facts("plain.example")
    assert await found.facts("plain.example") is first
    now[0] = 31
    assert await found.facts("plain.example") is not first


@pytest.mark.parametrize(
    ("next_hop", "host", "port", "addresses"),
    [
        ("127.0.0.1:2625", "127.0.0.1", 2625, ("127.0.0.1",)),
        ("[::1]:2625", "::1", 2625, ("::1",)),
        ("relay.example", "relay.example", 25, ("10.9.9.9",)),
        ("localhost:2525", "localhost", 2525, ("127.0.0.1",)),
    ],
)
async def test_smart_hosts(
    zone: DnsServer, next_hop: str, host: str, port: int, addresses: tuple[str, ...]
) -> None:
    gateway = GatewayPolicy(id=1, name="x", pool=Pool.BAD, hostname="x.example", next_hop=next_hop)
    (hop,) = await finder(zone).hops("nowhere.example", gateway)
    assert (hop.host, hop.port, hop.addresses, hop.tls.source) == (host, port, addresses, "next-hop")


@pytest.mark.parametrize("next_hop", ["nowhere.example", "bad.example"])
async def test_a_smart_host_that_cannot_be_resolved_is_waited_for(zone: DnsServer, next_hop: str) -> None:
    gateway = GatewayPolicy(id=1, name="x", pool=Pool.BAD, hostname="x.example", next_hop=next_hop)
    with pytest.raises(StepFailed) as caught:
        await finder(zone).hops("plain.example", gateway)
    assert caught.value.reply.code == 451


@pytest.mark.parametrize(
    ("domain", "level", "source"),
    [
        ("dane.example", TlsLevel.DANE, "dane"),
        ("pkix.example", TlsLevel.ENCRYPT, "dane"),
        ("signed.example", TlsLevel.OPPORTUNISTIC, "opportunistic"),
        (
            "unsigned.example",
            TlsLevel.OPPORTUNISTIC,
            "opportunistic",
        ),  # a TLSA record that nobody vouches for
    ],
)
async def test_dane(zone: DnsServer, domain: str, level: TlsLevel, source: str) -> None:
    (hop,) = await finder(zone).hops(domain, GATEWAY)
    assert (hop.tls.level, hop.tls.source) == (level, source)


async def test_a_failing_tlsa_look_up_makes_the_host_unusable(zone: DnsServer) -> None:
    with pytest.raises(StepFailed) as caught:
        await finder(zone).hops("tlsafail.example", GATEWAY)
    assert caught.value.reason == "dns"


@pytest.mark.parametrize(
    ("domain", "validating", "blocked"),
    [
        ("dane.example", True, ""),
        ("signed.example", True, "mx.signed.example has no TLSA records"),
        ("plain.example", True, "plain.example or mx.plain.example is not signed with DNSSEC"),
        ("plain.example", False, "DANE is not available here: the resolver does not validate DNSSEC"),
    ],
)
async def test_a_dane_rule_says_why_it_cannot_be_met(
    zone: DnsServer, domain: str, validating: bool, blocked: str
) -> None:
    found = finder(zone)
    assert found.dane is not None
    found.dane.validating = validating
    rule = TlsRulePolicy(1, 1, "", domain, TlsLevel.DANE, OnFailure.HOLD)
    (hop,) = await found.hops(domain, GATEWAY, Wish(rule=rule))
    assert (hop.tls.blocked, hop.tls.on_failure) == (blocked, OnFailure.HOLD)


@pytest.mark.parametrize(
    ("listen", "port", "own"),
    [
        ("10.0.0.1:25", 25, {"10.0.0.1"}),
        ("10.0.0.1:2525", 25, set()),
        ("127.0.0.1:2525", 2625, set()),
    ],
)
def test_own_addresses(tmp_path: Any, listen: str, port: int, own: set[str]) -> None:
    config = Config.from_env({"SMG_SMTP_LISTEN": listen, "SMG_DELIVERY_PORT": str(port)}, tmp_path)
    assert own_addresses(config, [GATEWAY]) == own


def test_listening_everywhere_makes_the_gateways_addresses_our_own(tmp_path: Any) -> None:
    config = Config.from_env({"SMG_SMTP_LISTEN": "0.0.0.0:25", "SMG_DELIVERY_PORT": "25"}, tmp_path)
    gateway = GatewayPolicy(id=1, name="x", pool=Pool.GOOD, hostname="x", source_ip="203.0.113.9")
    assert {"203.0.113.9", "127.0.0.1"} <= own_addresses(config, [gateway])
