"""DANE with the real thing: zones signed by us, served by nsd, validated by unbound; mail to a TLS server."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dns.dnssec
import dns.name
import dns.rdatatype
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.config import Endpoint
from gateway.deliver import Deliverer
from gateway.dns import DnsFailure, Resolver
from gateway.outbound.hops import HopFinder
from gateway.outbound.session import Opener
from gateway.rules.route_types import Route
from gateway.rules.tls_policy import DaneStatus
from gateway.rules.types import State, StepFailed, TlsLevel
from gateway.tls.contexts import TlsContexts
from gateway.tls.dane import Dane
from gateway.tls.preflight import preflight
from tests.fake_next_hop import FakeNextHop
from tests.gateway.deliver.helpers import GATEWAY, job
from tests.gateway.tls_certs import Certificates, certificate, tlsa
from tests.services import Daemon, Services, free_port, need

pytestmark = pytest.mark.services


def zone_text(domain: str, port: int, association: str) -> str:
    record = f"_{port}._tcp.mx TLSA 3 1 1 {association}\n" if association else ""
    return (
        f"$ORIGIN {domain}.\n$TTL 300\n@ SOA ns h 1 3600 600 86400 300\n@ NS ns\nns A 127.0.0.1\n"
        f"@ MX 10 mx\nmx A 127.0.0.1\n{record}"
    )


@dataclass
class Signed:
    text: str
    anchor: str  # the DNSKEY record, for unbound


def signed(domain: str, text: str) -> Signed:
    zone = dns.zone.from_text(text, origin=dns.name.from_text(domain), relativize=False)
    key = ec.generate_private_key(ec.SECP256R1())
    dnskey = dns.dnssec.make_dnskey(key.public_key(), dns.dnssec.Algorithm.ECDSAP256SHA256, flags=257)
    with zone.writer() as changes:
        dns.dnssec.sign_zone(zone, changes, [(key, dnskey)], add_dnskey=True, lifetime=86400)
    return Signed(zone.to_text(want_origin=True, relativize=False), f"{domain}. IN DNSKEY {dnskey.to_text()}")


def start_validating_unbound(services: Services, stubs: Mapping[str, str], anchors: list[str]) -> Daemon:
    """unbound as it is outside: it validates what stands below its trust anchors."""
    binary, directory, port = need("unbound"), services.directory("unbound"), free_port()
    lines = [
        "server:",
        f"  interface: 127.0.0.1@{port}",
        f"  port: {port}",
        '  username: ""',
        '  chroot: ""',
        f'  directory: "{directory}"',
        '  pidfile: ""',
        "  do-daemonize: no",
        "  use-syslog: no",
        "  do-not-query-localhost: no",
        "  do-ip6: no",
        '  module-config: "validator iterator"',
        "  trust-anchor-signaling: no",
        *(f"  local-zone: {zone} nodefault" for zone in stubs),
        *(f"  trust-anchor: '{anchor}'" for anchor in anchors),
        "remote-control:",
        "  control-enable: no",
    ]
    for zone, address in stubs.items():
        lines += ["stub-zone:", f'  name: "{zone}"', f"  stub-addr: {address.replace(':', '@')}"]
    (directory / "unbound.conf").write_text("\n".join(lines) + "\n")
    return services.start(
        "unbound", [binary, "-d", "-c", str(directory / "unbound.conf")], directory, port=port, ready=_answers
    )


def _answers(daemon: Daemon) -> bool:
    import dns.exception
    import dns.message
    import dns.query

    try:
        dns.query.udp(
            dns.message.make_query("good.example.", "SOA"), daemon.host, port=daemon.port, timeout=0.3
        )
    except (OSError, dns.exception.DNSException):
        return False
    return True


@dataclass
class World:
    certs: Certificates
    port: int
    validating: Endpoint
    blind: Endpoint  # the same zones without validation

    def finder(self, server: Endpoint) -> HopFinder:
        resolver = Resolver([server], timeout_s=2)
        lab = (ipaddress.ip_network("127.0.0.0/8"),)
        return HopFinder(resolver, self.port, allowed_networks=lab, dane=Dane(resolver))


@pytest.fixture
def world(services: Services, start_nsd: Callable[..., Daemon], tmp_path: Path) -> World:
    certs, port = Certificates(tmp_path), free_port()
    right = tlsa(3, 1, 1, certificate(certs.good)).data.hex()
    wrong = tlsa(3, 1, 1, certificate(certs.untrusted)).data.hex()
    texts = {
        "good.example": signed("good.example", zone_text("good.example", port, right)),
        "mismatch.example": signed("mismatch.example", zone_text("mismatch.example", port, wrong)),
        "absent.example": signed("absent.example", zone_text("absent.example", port, "")),
        "bogus.example": signed("bogus.example", zone_text("bogus.example", port, wrong)),
    }
    forged = texts["bogus.example"]
    assert wrong in forged.text
    texts["bogus.example"] = Signed(
        forged.text.replace(wrong, right), forged.anchor
    )  # the signature is of another one
    zones = {name: one.text for name, one in texts.items()}
    zones["unsigned.example"] = zone_text("unsigned.example", port, right)
    nsd = start_nsd(zones)
    stubs = dict.fromkeys(zones, nsd.endpoint)
    validating = start_validating_unbound(services, stubs, [one.anchor for one in texts.values()])
    return World(certs, port, Endpoint(validating.host, validating.port), Endpoint(nsd.host, nsd.port))


EXPECTED = {
    "good.example": (DaneStatus.USABLE, TlsLevel.DANE),
    "mismatch.example": (DaneStatus.USABLE, TlsLevel.DANE),
    "absent.example": (DaneStatus.NONE, TlsLevel.OPPORTUNISTIC),
    "unsigned.example": (DaneStatus.INSECURE, TlsLevel.OPPORTUNISTIC),
}


async def test_dane_from_zone_to_handshake(world: World) -> None:
    finder = world.finder(world.validating)
    assert finder.dane is not None
    assert await finder.dane.self_test("good.example")
    for domain, (status, level) in EXPECTED.items():
        facts = await finder.facts(domain)
        (hop,) = await finder.hops(domain, GATEWAY)
        assert (domain, facts.hosts[0].dane.status, hop.tls.level) == (domain, status, level)

    with pytest.raises(DnsFailure):  # unbound says SERVFAIL to what does not validate
        await finder.resolver.tlsa(f"_{world.port}._tcp.mx.bogus.example")
    with pytest.raises(StepFailed) as caught:
        await finder.hops("bogus.example", GATEWAY)
    assert caught.value.reply.code == 451

    await _mail_goes_where_it_should(world, finder)


async def _mail_goes_where_it_should(world: World, finder: HopFinder) -> None:
    opener = Opener(TlsContexts(world.certs.ca_file), lambda: datetime.now(UTC))
    deliverer = Deliverer(opener)
    async with FakeNextHop(port=world.port, tls=world.certs.server(world.certs.good)) as server:
        for domain, state, verified in (
            ("good.example", State.DELIVERED, True),
            ("mismatch.example", State.QUEUED, None),
            ("absent.example", State.DELIVERED, False),
            ("unsigned.example", State.DELIVERED, False),
        ):
            hops = await finder.hops(domain, GATEWAY)
            (outcome,) = await deliverer.deliver(job(f"bob@{domain}"), Route(GATEWAY, domain, hops))
            assert (domain, outcome.state) == (domain, state)
            assert (outcome.tls.verified if outcome.tls else None) is verified
        assert len(server.messages) == 3
        report = await preflight("good.example", finder, opener, "smg.example")
        assert {name: verdict.state for name, verdict in report.verdicts.items()} == {
            "encrypt": "works",
            "verify": "fails",  # the certificate is for mx.partner.example
            "dane": "works",
        }
    deliverer.close()


async def test_a_resolver_that_does_not_validate_makes_dane_unavailable_and_stops_no_mail(
    world: World,
) -> None:
    finder = world.finder(world.blind)
    assert finder.dane is not None
    assert not await finder.dane.self_test("good.example")
    for domain in (*EXPECTED, "bogus.example"):
        facts = await finder.facts(domain)
        assert facts.hosts[0].dane.status is DaneStatus.UNAVAILABLE
        (hop,) = await finder.hops(domain, GATEWAY)
        assert hop.tls.level is TlsLevel.OPPORTUNISTIC
