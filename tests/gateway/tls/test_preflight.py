"""The preflight asks real servers on loopback and says for each level what delivery would meet."""

from __future__ import annotations

import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Endpoint
from gateway.dns import Resolver
from gateway.outbound.hops import HopFinder
from gateway.outbound.session import Deadlines, Opener
from gateway.rules.policy import TlsRulePolicy
from gateway.rules.types import OnFailure, TlsLevel
from gateway.tls.contexts import TlsContexts
from gateway.tls.dane import Dane
from gateway.tls.preflight import PreflightReport, preflight
from tests.dns_server import DnsServer
from tests.fake_next_hop import DROP, FakeNextHop
from tests.gateway.tls_certs import HOST, Certificates, certificate, fingerprint, tlsa

DEADLINES = Deadlines(10, 10, 10, 10)


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certs"))


@pytest.fixture
def zone() -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.add("partner.example", "MX", f"10 {HOST}.")
        server.add(HOST, "A", "127.0.0.1")
        yield server


class World:
    """One domain, its servers on several loopback addresses and one port."""

    def __init__(self, zone: DnsServer, certs: Certificates, stack: AsyncExitStack) -> None:
        self.zone, self.certs, self.stack = zone, certs, stack
        self.port = 0

    async def server(
        self, ip: str = "127.0.0.1", tls: ssl.SSLContext | None = None, **more: Any
    ) -> FakeNextHop:
        hop = await self.stack.enter_async_context(FakeNextHop(ip, self.port, tls=tls, **more))
        self.port = hop.port
        return hop

    async def check(self, rule: TlsRulePolicy | None = None) -> PreflightReport:
        resolver = Resolver([Endpoint(self.zone.host, self.zone.port)], timeout_s=2)
        lab = (ipaddress.ip_network("127.0.0.0/8"),)
        finder = HopFinder(resolver, self.port or 25, allowed_networks=lab, dane=Dane(resolver))
        opener = Opener(TlsContexts(self.certs.ca_file), lambda: datetime.now(UTC), DEADLINES)
        report = await preflight("partner.example", finder, opener, "smg.example", rule)
        json.dumps(report.as_json())
        return report


@pytest.fixture
async def world(zone: DnsServer, certs: Certificates) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(zone, certs, stack)


def states(report: PreflightReport) -> dict[str, str]:
    return {name: verdict.state for name, verdict in report.verdicts.items()}


@pytest.mark.parametrize(
    ("kind", "encrypt", "verify", "problem"),
    [
        ("good", "works", "works", ""),
        ("wildcard", "works", "works", ""),
        ("expired", "works", "fails", "certificate has expired"),
        ("untrusted", "works", "fails", "is not trusted"),
        ("wrong_name", "works", "fails", "the certificate is not for mx.partner.example"),
        ("none", "fails", "fails", "does not offer STARTTLS"),
    ],
)
async def test_certificates(
    world: World, certs: Certificates, kind: str, encrypt: str, verify: str, problem: str
) -> None:
    hop = await world.server(tls=None if kind == "none" else certs.server(getattr(certs, kind)))
    report = await world.check()
    assert states(report) == {"encrypt": encrypt, "verify": verify, "dane": "unavailable"}
    assert problem in report.verdicts["verify"].text
    assert not any(line.startswith("MAIL") for line in hop.commands)
    (address,) = report.hosts[0].addresses
    assert (address.reachable, address.starttls) == (True, kind != "none")
    if kind != "none":
        leaf = getattr(certs, kind)
        assert address.certificate is not None
        assert address.certificate.fingerprint == fingerprint(leaf)
        assert report.expires_at == certificate(leaf).not_valid_after_utc
        assert address.certificate.names[0] in (HOST, "*.partner.example", "mx.other.example")
        assert address.version.startswith("TLSv1.")


async def test_two_servers_one_without_tls(world: World, certs: Certificates, zone: DnsServer) -> None:
    zone.add("partner.example", "MX", "20 backup.partner.example.")
    zone.add("backup.partner.example", "A", "127.0.0.2")
    await world.server(tls=certs.server(certs.good))
    await world.server("127.0.0.2")
    report = await world.check()
    assert [host.host for host in report.hosts] == [HOST, "backup.partner.example"]
    assert states(report)["verify"] == "partly"
    assert report.verdicts["verify"].text == "backup.partner.example does not offer STARTTLS"


async def test_a_server_that_hangs_up(world: World) -> None:
    hop = await world.server()
    hop.say("BANNER", DROP)
    report = await world.check()
    assert states(report)["encrypt"] == "fails"
    assert "Connection lost" in report.verdicts["encrypt"].text
    assert not report.hosts[0].addresses[0].reachable


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("nxdomain", "does not exist"),
        ("servfail", "DNS lookup"),
        ("null", "null MX"),
        ("private", "not public"),
    ],
)
async def test_no_server_to_ask(world: World, zone: DnsServer, change: str, problem: str) -> None:
    if change in ("nxdomain", "servfail"):
        zone.fail("partner.example", change)
    elif change == "null":
        zone.remove("partner.example")
        zone.add("partner.example", "MX", "0 .")
    else:
        zone.remove(HOST)
        zone.add(HOST, "A", "10.0.0.1")
    report = await world.check()
    assert set(states(report).values()) == {"fails"}
    assert problem in report.problem
    assert report.hosts == ()


@pytest.mark.parametrize(("record_of", "state"), [("good", "works"), ("expired", "fails")])
async def test_dane(world: World, certs: Certificates, zone: DnsServer, record_of: str, state: str) -> None:
    await world.server(tls=certs.server(certs.good))
    record = tlsa(3, 1, 1, certificate(getattr(certs, record_of)))
    zone.add(f"_{world.port}._tcp.{HOST}", "TLSA", f"3 1 1 {record.data.hex()}")
    for name in ("partner.example", HOST, f"_{world.port}._tcp.{HOST}"):
        zone.ad(name)
    report = await world.check()
    assert (states(report)["dane"], report.hosts[0].dane, report.dnssec) == (state, "usable", True)


async def test_a_rule_is_tried_as_it_is(world: World, certs: Certificates) -> None:
    await world.server(tls=certs.server(certs.untrusted))
    rule = TlsRulePolicy(5, 1, "", "partner.example", TlsLevel.VERIFY, OnFailure.HOLD, shadow=True)
    failing = await world.check(rule)
    assert failing.probe()["state"] == "fails"
    assert "not trusted" in failing.probe()["problem"]
    pinned = await world.check(replace(rule, fingerprint=fingerprint(certs.untrusted)))
    assert pinned.probe()["state"] == "works"
    assert pinned.probe()["expires_at"] is not None
    assert pinned.probe("verify")["state"] == "fails"


def test_the_command(
    zone: DnsServer, certs: Certificates, tmp_path: Path, settings: Any, capsys: Any
) -> None:
    from django.core.management import CommandError, call_command  # after the settings

    from gateway.config import Config

    env = {
        "SMG_NAMESERVERS": zone.endpoint,
        "SMG_DELIVERY_PORT": "1",
        "SMG_PRIVATE_MX_NETWORKS": "127.0.0.0/8",
    }
    settings.SMG = Config.from_env(env, tmp_path)
    call_command("tls_check", "Partner.Example", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["domain"], told["verdicts"]["encrypt"]["state"]) == ("partner.example", "fails")
    with pytest.raises(CommandError, match="Connection refused"):
        call_command("tls_check", "partner.example", "--level", "encrypt")
    assert "10 mx.partner.example (DANE: unavailable)" in capsys.readouterr().out
    with pytest.raises(CommandError, match="not a valid host name"):
        call_command("tls_check", "bad_.x y")
