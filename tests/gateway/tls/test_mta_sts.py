"""MTA-STS policies over real HTTPS and DNS on loopback."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Endpoint
from gateway.dns import Resolver
from gateway.rules.tls_policy import StsMode
from gateway.tls.contexts import TlsContexts
from gateway.tls.https_get import FetchFailed, HttpsGet, public_addresses
from gateway.tls.mta_sts import StsPolicies
from tests.dns_server import DnsServer
from tests.fake_https import FakeHttps, answer
from tests.gateway.tls_certs import Certificates

GOOD = "version: STSv1\nmode: enforce\nmx: mx.partner.example\nmax_age: 86400\n"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certs"))


@pytest.fixture
def zone() -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.add("_mta-sts.partner.example", "TXT", "v=STSv1; id=one")
        server.add("mta-sts.partner.example", "A", "127.0.0.1")
        yield server


@pytest.fixture
async def web(certs: Certificates) -> AsyncIterator[FakeHttps]:
    leaf = certs.ca.issue_cert("mta-sts.partner.example")
    async with FakeHttps(certs.server(leaf), answer(GOOD)) as running:
        yield running


class Sts:
    """The policies of one process, with a clock to turn."""

    def __init__(
        self,
        zone: DnsServer,
        web: FakeHttps,
        certs: Certificates,
        file: Path | None = None,
        deadline_s: float = 20,
    ) -> None:
        self.now = NOW
        self.resolver = Resolver([Endpoint(zone.host, zone.port)], timeout_s=2)
        self.fetch = HttpsGet(
            public_addresses(self.resolver, LOOPBACK),
            TlsContexts(certs.ca_file).web(),
            web.port,
            deadline_s=deadline_s,
        )
        self.policies = StsPolicies(self.resolver, self.fetch, lambda: self.now, file)

    async def mode(self) -> StsMode | None:
        policy = await self.policies.policy("partner.example")
        return policy.mode if policy else None

    def later(self, **more: Any) -> None:
        self.now += timedelta(**more)
        self.resolver.forget()


@pytest.fixture
def sts(zone: DnsServer, web: FakeHttps, certs: Certificates) -> Sts:
    return Sts(zone, web, certs)


async def test_a_policy_is_fetched_once(sts: Sts, web: FakeHttps) -> None:
    policy = await sts.policies.policy("partner.example")
    assert policy is not None
    assert (policy.mode, policy.mx, policy.id) == (StsMode.ENFORCE, ("mx.partner.example",), "one")
    sts.later(hours=20)
    assert await sts.mode() is StsMode.ENFORCE
    assert web.requests == ["GET /.well-known/mta-sts.txt HTTP/1.1"]


async def test_no_record_no_fetch(sts: Sts, web: FakeHttps) -> None:
    assert await sts.policies.policy("other.example") is None
    assert web.requests == []


async def test_a_new_id_brings_the_new_policy(sts: Sts, web: FakeHttps, zone: DnsServer) -> None:
    await sts.mode()
    zone.remove("_mta-sts.partner.example")
    zone.add("_mta-sts.partner.example", "TXT", "v=STSv1; id=two")
    web.raw = answer(GOOD.replace("enforce", "testing"))
    sts.later(minutes=1)
    assert await sts.mode() is StsMode.TESTING


@pytest.mark.parametrize("how", ["", "nxdomain", "servfail"])
async def test_a_policy_outlives_its_record(sts: Sts, zone: DnsServer, how: str) -> None:
    await sts.mode()
    zone.remove("_mta-sts.partner.example")
    if how:
        zone.fail("_mta-sts.partner.example", how)
    sts.later(hours=23)
    assert await sts.mode() is StsMode.ENFORCE
    sts.later(hours=2)
    assert await sts.mode() is None  # max_age is over


async def test_a_policy_outlives_its_web_server(sts: Sts, web: FakeHttps, zone: DnsServer) -> None:
    await sts.mode()
    zone.remove("_mta-sts.partner.example")
    zone.add("_mta-sts.partner.example", "TXT", "v=STSv1; id=two")
    web.raw = answer("gone", "404 Not Found")
    sts.later(minutes=1)
    result = await sts.policies.result("partner.example")
    assert result.policy is not None
    assert (result.policy.id, result.problem) == ("one", "sts-policy-fetch-error")


async def test_mode_none_ends_it(sts: Sts, web: FakeHttps, zone: DnsServer) -> None:
    await sts.mode()
    zone.remove("_mta-sts.partner.example")
    zone.add("_mta-sts.partner.example", "TXT", "v=STSv1; id=two")
    web.raw = answer("version: STSv1\nmode: none\nmax_age: 60\n")
    sts.later(minutes=1)
    assert await sts.mode() is None
    zone.fail("_mta-sts.partner.example", "servfail")
    sts.later(minutes=1)
    assert await sts.mode() is None


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    + f"{len(GOOD):x};x=y\r\n{GOOD}\r\n0\r\n\r\n".encode()
)
CLOSED = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + GOOD.encode()


@pytest.mark.parametrize("raw", [CHUNKED, CLOSED, answer(GOOD, kind="Text/Plain; charset=utf-8")])
async def test_ways_to_answer(sts: Sts, web: FakeHttps, raw: bytes) -> None:
    web.raw = raw
    assert await sts.mode() is StsMode.ENFORCE


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (answer(GOOD, "301 Moved", Location="https://elsewhere.example/"), "sts-policy-fetch-error"),
        (answer(GOOD, "500 Oops"), "sts-policy-fetch-error"),
        (answer(GOOD, kind="text/html"), "sts-policy-fetch-error"),
        (answer("x" * 70_000), "sts-policy-fetch-error"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 100_000, "sts-policy-fetch-error"),
        (CHUNKED[: CHUNKED.index(b"\r\n\r\n") + 4] + b"zz\r\n", "sts-policy-fetch-error"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "sts-policy-fetch-error"),
        (b"garbage\r\n\r\n", "sts-policy-fetch-error"),
        (b"", "sts-policy-fetch-error"),
        (answer("version: STSv2\n"), "sts-policy-invalid"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n\xff\xfe", "sts-policy-invalid"),
    ],
)  # fmt: skip
async def test_bad_answers(
    zone: DnsServer, web: FakeHttps, certs: Certificates, raw: bytes, problem: str
) -> None:
    web.raw = raw
    sts = Sts(zone, web, certs, deadline_s=20 if raw else 1)
    result = await sts.policies.result("partner.example")
    assert (result.policy, result.problem) == (None, problem)
    await sts.policies.result("partner.example")
    assert len(web.requests) == 1  # not again for some minutes
    web.raw = answer(GOOD)
    sts.later(minutes=6)
    assert await sts.mode() is StsMode.ENFORCE


async def test_a_certificate_for_another_name_is_no_policy(zone: DnsServer, certs: Certificates) -> None:
    async with FakeHttps(certs.server(certs.good), answer(GOOD)) as web:
        result = await Sts(zone, web, certs).policies.result("partner.example")
    assert (result.policy, result.problem) == (None, "sts-webpki-invalid")


async def test_private_addresses_are_not_fetched_from(
    zone: DnsServer, web: FakeHttps, certs: Certificates
) -> None:
    made = Sts(zone, web, certs)
    fetch = HttpsGet(public_addresses(made.resolver), TlsContexts(certs.ca_file).web(), web.port)
    with pytest.raises(FetchFailed, match="no public address"):
        await fetch("mta-sts.partner.example", "/", 100)
    assert web.requests == []


async def test_the_cache_survives_a_restart(
    zone: DnsServer, web: FakeHttps, certs: Certificates, tmp_path: Path
) -> None:
    file = tmp_path / "mta-sts.json"
    await Sts(zone, web, certs, file).mode()
    zone.fail("_mta-sts.partner.example", "servfail")
    assert await Sts(zone, web, certs, file).mode() is StsMode.ENFORCE
    assert len(web.requests) == 1
    file.write_text("{broken")
    assert await Sts(zone, web, certs, file).mode() is None


async def test_processes_share_the_file(
    zone: DnsServer, web: FakeHttps, certs: Certificates, tmp_path: Path
) -> None:
    file = tmp_path / "mta-sts.json"
    one, two = Sts(zone, web, certs, file), Sts(zone, web, certs, file)
    zone.add("_mta-sts.other.example", "TXT", "v=STSv1; id=one")
    zone.add("mta-sts.other.example", "CNAME", "mta-sts.partner.example.")
    web_for_other = certs.server(certs.ca.issue_cert("mta-sts.other.example"))
    async with FakeHttps(web_for_other, answer(GOOD)) as other_web:
        two.policies = StsPolicies(
            two.resolver,
            HttpsGet(
                public_addresses(two.resolver, LOOPBACK), TlsContexts(certs.ca_file).web(), other_web.port
            ),
            lambda: NOW,
            file,
        )
        await one.mode()
        assert await two.policies.policy("other.example") is not None
    assert set(json.loads(file.read_text())) == {"partner.example", "other.example"}
