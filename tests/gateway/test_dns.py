"""The resolver against a DNS server that misbehaves in every way we know of."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Iterator

import pytest

from gateway.config import Endpoint
from gateway.dns import DnsError, DnsFailure, DnsNotFound, Resolver, StaticZone, sender_domain_resolves
from gateway.rules.mx import MxRecord
from tests.dns_server import DnsServer


@pytest.fixture(scope="module")
def server() -> Iterator[DnsServer]:
    with DnsServer() as running:
        running.mail_domain("acme.example", "192.0.2.25")
        running.add("acme.example", "TXT", "v=spf1 -all")
        running.add("long.example", "TXT", '"one " "string"')
        running.add("alias.example", "CNAME", "acme.example.")
        running.add("v6.example", "AAAA", "2001:db8::25")
        running.add("a-only.example", "A", "192.0.2.1")
        running.add("null.example", "MX", "0 .")
        running.add("25.2.0.192.in-addr.arpa", "PTR", "MX.acme.example.")
        running.add("_25._tcp.mx.acme.example", "TLSA", "3 1 1 " + "ab" * 32)
        running.ad("_25._tcp.mx.acme.example")
        running.add("big.example", "TXT", *(f"{number:04d}" + "x" * 200 for number in range(20)))
        for how in ("servfail", "refused", "timeout", "wrong_id", "garbage", "truncate", "truncate_always"):
            running.add(f"{how}.example", "A", "192.0.2.9")
            running.fail(f"{how}.example", how)
        running.add("loop1.example", "CNAME", "loop2.example.")
        running.add("loop2.example", "CNAME", "loop1.example.")
        yield running


@pytest.fixture
def resolver(server: DnsServer) -> Resolver:
    server.queries.clear()
    return Resolver([Endpoint(server.host, server.port)])


@pytest.fixture
def impatient(server: DnsServer) -> Resolver:
    """For names that nobody answers for."""
    return Resolver([Endpoint(server.host, server.port)], timeout_s=0.3, deadline_s=1.5)


async def test_every_type(resolver: Resolver) -> None:
    assert (await resolver.mx("ACME.example.")).records == (MxRecord(10, "mx.acme.example"),)
    assert (await resolver.a("mx.acme.example")).addresses == ("192.0.2.25",)
    assert (await resolver.aaaa("v6.example")).addresses == ("2001:db8::25",)
    assert (await resolver.txt("acme.example")).texts == ("v=spf1 -all",)
    assert (await resolver.txt("long.example")).texts == ("one string",)
    assert (await resolver.ptr("192.0.2.25")).texts == ("mx.acme.example",)
    tlsa = await resolver.tlsa("_25._tcp.mx.acme.example")
    assert (tlsa.authentic, tlsa.records[0].usage, tlsa.records[0].data) == (True, 3, b"\xab" * 32)
    assert not (await resolver.mx("acme.example")).authentic
    assert (await resolver.mx("null.example")).records == (MxRecord(0, ""),)


async def test_a_type_that_is_not_there_is_an_empty_answer(resolver: Resolver) -> None:
    assert (await resolver.mx("a-only.example")).records == ()
    assert (await resolver.aaaa("a-only.example")).addresses == ()


async def test_aliases_are_followed(resolver: Resolver) -> None:
    answer = await resolver.mx("alias.example")
    assert answer.records == (MxRecord(10, "mx.acme.example"),)
    assert answer.canonical == "acme.example"


@pytest.mark.parametrize("name", ["nowhere.example", "a..b.example", "x" * 64 + ".example", ".example"])
async def test_names_that_do_not_exist(resolver: Resolver, name: str) -> None:
    with pytest.raises(DnsNotFound):
        await resolver.a(name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("servfail.example", "servfail"),
        ("refused.example", "refused"),
        ("timeout.example", "timeout"),
        ("wrong_id.example", "timeout"),  # a forged answer is not believed; nobody else answers
        ("garbage.example", "timeout"),
        ("truncate_always.example", "malformed"),
        ("loop1.example", "malformed"),
    ],
)
async def test_failures_are_never_answers(impatient: Resolver, name: str, kind: str) -> None:
    with pytest.raises(DnsFailure) as caught:
        await impatient.a(name)
    assert caught.value.kind == kind


async def test_truncated_answers_come_over_tcp(resolver: Resolver, server: DnsServer) -> None:
    assert (await resolver.a("truncate.example")).addresses == ("192.0.2.9",)
    assert len((await resolver.txt("big.example")).texts) == 20
    assert [transport for _, _, transport in server.queries] == ["udp", "tcp", "udp", "tcp"]


async def test_the_next_server_is_asked_when_one_is_dead(server: DnsServer) -> None:
    with DnsServer() as dead:
        dead.fail("acme.example", "servfail")
        both = Resolver([Endpoint(dead.host, dead.port), Endpoint(server.host, server.port)])
        assert (await both.mx("acme.example")).records


async def test_answers_are_kept_and_asked_once(resolver: Resolver, server: DnsServer) -> None:
    await asyncio.gather(*(resolver.mx("acme.example") for _ in range(50)))
    await resolver.mx("acme.example")
    assert server.asked.count(("acme.example", "MX")) == 1
    for _ in range(3):
        with pytest.raises(DnsNotFound):
            await resolver.mx("nowhere.example")
    assert server.asked.count(("nowhere.example", "MX")) == 1


async def test_answers_grow_old(server: DnsServer) -> None:
    server.queries.clear()
    now = [1000.0]
    resolver = Resolver([Endpoint(server.host, server.port)], clock=lambda: now[0])
    await resolver.mx("acme.example")
    now[0] += 59
    await resolver.mx("acme.example")
    assert len(server.queries) == 1
    now[0] += 2
    await resolver.mx("acme.example")
    assert len(server.queries) == 2


async def test_the_cache_is_bounded(server: DnsServer) -> None:
    resolver = Resolver([Endpoint(server.host, server.port)], max_entries=10)
    for number in range(30):
        with pytest.raises(DnsNotFound):
            await resolver.a(f"host{number}.nowhere.example")
    assert len(resolver._cache) == 10


@pytest.mark.parametrize("name", ["nowhere.example", "servfail.example"])
async def test_a_kept_failure_holds_nothing_of_who_asked(impatient: Resolver, name: str) -> None:
    class Message:
        """What a step has at hand while it asks."""

    async def ask() -> weakref.ref[Message]:
        message = Message()
        try:
            await impatient.a(name)
        except DnsError as error:
            text = str(error)
        assert text.startswith(f"{name} A: ")
        return weakref.ref(message)

    assert [(await ask())() for _ in range(3)] == [None] * 3


async def test_a_cancelled_waiter_leaves_the_others_their_answer(
    resolver: Resolver, server: DnsServer
) -> None:
    server.delay("slow.example", 0.05)
    server.add("slow.example", "A", "192.0.2.7")
    first = asyncio.create_task(resolver.a("slow.example"))
    second = asyncio.create_task(resolver.a("slow.example"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).addresses == ("192.0.2.7",)


async def test_the_deadline_holds_over_all_servers(server: DnsServer) -> None:
    resolver = Resolver([Endpoint(server.host, server.port)] * 5, timeout_s=5, deadline_s=0.1)
    started = time.monotonic()
    with pytest.raises(DnsFailure):
        await resolver.a("timeout.example")
    assert time.monotonic() - started < 1


async def test_no_name_servers_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.dns.system_nameservers", lambda: ())
    with pytest.raises(DnsFailure) as caught:
        await Resolver().a("acme.example")
    assert caught.value.kind == "no_servers"


async def test_a_static_zone_never_asks_outside(resolver: Resolver, server: DnsServer) -> None:
    zone = StaticZone({"Demo.example.": {"MX": ["10 mx.demo.example."], "TXT": ['"hello"']}})
    resolver = Resolver(resolver.nameservers, static=zone)
    assert (await resolver.mx("demo.example")).records == (MxRecord(10, "mx.demo.example"),)
    assert (await resolver.txt("demo.example")).texts == ("hello",)
    assert (await resolver.a("demo.example")).addresses == ()
    assert server.queries == []


@pytest.mark.parametrize(
    ("domain", "resolves"),
    [
        ("acme.example", True),
        ("a-only.example", True),
        ("v6.example", True),
        ("alias.example", True),
        ("null.example", False),
        ("nowhere.example", False),
        ("long.example", False),  # exists, but has neither MX nor address
    ],
)
async def test_sender_domains(resolver: Resolver, domain: str, resolves: bool) -> None:
    assert await sender_domain_resolves(resolver, domain) is resolves


async def test_sender_domain_failure_is_no_verdict(resolver: Resolver) -> None:
    with pytest.raises(DnsFailure):
        await sender_domain_resolves(resolver, "servfail.example")


async def test_validation_self_test(server: DnsServer) -> None:
    here = [Endpoint(server.host, server.port)]
    server.add("signed.example", "SOA", "ns.signed.example. h.signed.example. 1 1 1 1 1")
    server.ad("signed.example")
    assert await Resolver(here).validates("signed.example")
    assert not await Resolver(here).validates("acme.example")
    assert not await Resolver(here, timeout_s=0.1).validates("timeout.example")
    distant = Resolver(here)
    distant.trust_ad = False
    assert not await distant.validates("signed.example")
    assert not (await distant.tlsa("_25._tcp.mx.acme.example")).authentic


async def test_look_ups_from_the_cache_are_cheap(resolver: Resolver) -> None:
    await resolver.mx("acme.example")
    started = time.process_time()
    for _ in range(5000):
        await resolver.mx("acme.example")
    assert (time.process_time() - started) / 5000 < 20e-6
