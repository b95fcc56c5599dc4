"""A domain check against real DNS servers: a resolver that still has the old answer, and the domain's own servers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway import domain_check
from gateway.config import parse_endpoint
from gateway.dns import Resolver
from gateway.rules.domain_check import CheckResult, Wanted, WantedKey
from tests.dns_server import DnsServer

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
WANT = Wanted("acme.example", "c0ffee", "spf.smg.example", ("192.0.2.1",))
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.fixture
def caching() -> Iterator[DnsServer]:
    """What the resolver says: ACME's records as they were before the change."""
    with DnsServer() as server:
        server.add("spf.smg.example", "A", "192.0.2.1")
        server.add("acme.example", "MX", "10 mx.acme.example.")
        server.add("acme.example", "TXT", '"v=spf1 mx -all"', ttl=900)
        server.add("acme.example", "NS", "ns1.acme.example.")
        server.add("mx.acme.example", "A", "192.0.2.9")
        server.add("ns1.acme.example", "A", "127.0.0.1")
        yield server


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[DnsServer]:
    """ACME's own name server."""
    with DnsServer(authoritative=True) as server:
        server.add("acme.example", "MX", "10 mx.acme.example.")
        server.add("mx.acme.example", "A", "192.0.2.9")
        monkeypatch.setattr(domain_check, "AUTHORITY_PORT", parse_endpoint(server.endpoint, 53).port)
        yield server


async def check(
    caching: DnsServer, want: Wanted = WANT, open_to: domain_check.Networks = LOOPBACK
) -> CheckResult:
    resolver = Resolver([parse_endpoint(caching.endpoint, 53)], timeout_s=1)
    return await domain_check.check(resolver, want, {}, now=NOW, server="", open_to=open_to)


async def test_the_new_value_is_there_and_the_resolver_has_the_old_one(
    caching: DnsServer, own: DnsServer
) -> None:
    own.add("acme.example", "TXT", '"v=spf1 a:spf.smg.example -all"')
    record = (await check(caching)).records["spf"]
    assert (record.state, record.found, record.ttl_s) == ("wrong", ("v=spf1 mx -all",), 900)
    assert record.authority is not None
    assert (record.authority.servers, record.authority.is_right) == ("ns1.acme.example", True)


async def test_the_own_servers_do_not_have_it_either(caching: DnsServer, own: DnsServer) -> None:
    own.add("acme.example", "TXT", '"v=spf1 mx -all"')
    records = (await check(caching)).records
    assert [records[key].authority and records[key].authority.is_right for key in ("spf", "ownership")] == [
        False,
        False,
    ]
    assert records["mx"].authority is None  # as wanted: not asked about


async def test_name_servers_at_private_addresses_are_left_alone(caching: DnsServer, own: DnsServer) -> None:
    assert (await check(caching, open_to=())).records["spf"].authority is None
    assert own.asked == []


@pytest.mark.parametrize(
    ("alias", "state"),
    [
        ("smgc2.acme.example.dkim.smg.example.", "good"),
        ("elsewhere.example.", "wrong"),
        ("", "optional"),
    ],
)
async def test_the_second_cname_is_looked_at_though_it_leads_nowhere_yet(
    caching: DnsServer, alias: str, state: str
) -> None:
    if alias:
        caching.add("smgc2._domainkey.acme.example", "CNAME", alias)
    spare = WantedKey("smgc2", "", "smgc2.acme.example.dkim.smg.example")
    record = (await check(caching, replace(WANT, keys=(spare,)), ())).records["dkim:smgc2"]
    assert (record.type, record.state) == ("CNAME", state)
