"""From single sessions to the report that a domain gets by mail."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Endpoint
from gateway.dns import Resolver
from gateway.rules.route_types import TlsaRecord, TlsDemand, TlsObservation
from gateway.rules.tls_report import (
    Failure,
    PolicyTexts,
    Reporter,
    SessionCount,
    is_rule_shadow,
    policies,
    report_addresses,
    report_json,
    report_kind,
    report_mail,
)
from gateway.rules.types import TlsInfo, TlsLevel
from gateway.tls.tls_rpt import wanted_by
from tests.dns_server import DnsServer
from tests.gateway.tls_report_reader import read_report

DAY = date(2026, 3, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
INFO = TlsInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384")
RULE = TlsDemand(TlsLevel.VERIFY, "rule")
STS = TlsDemand(TlsLevel.VERIFY, "mta-sts", names=("mx.partner.example",))
DANE = TlsDemand(TlsLevel.DANE, "dane", tlsa=(TlsaRecord(3, 1, 1, b"\xab" * 32),))
US = Reporter("Secure Mail Gateway", "smg.example", "postmaster@smg.example")


def seen(demand: TlsDemand, result: str = "", **more: Any) -> TlsObservation:
    info = None if result else INFO
    made = TlsObservation(
        NOON, "partner.example", "mx.partner.example", "192.0.2.1", demand, info, result, "why"
    )
    return replace(made, **more)


COUNTS = [
    SessionCount("partner.example", "sts", "success", "mx.partner.example", 7),
    SessionCount("partner.example", "sts", "success", "mx2.partner.example", 1),
    SessionCount("partner.example", "sts", "certificate-expired", "mx2.partner.example", 2),
    SessionCount("partner.example", "no-policy-found", "starttls-not-supported", "mx2.partner.example", 3),
]
TEXTS = {"sts": PolicyTexts(("version: STSv1", "mode: testing"), ("mx.partner.example",))}


@pytest.mark.parametrize(
    ("observation", "kind", "rule_shadow"),
    [
        (seen(DANE), "tlsa", False),
        (seen(STS, "certificate-expired"), "sts", False),
        (seen(STS, shadow=True), "sts", False),  # testing mode: the shadow counts ...
        (seen(TlsDemand(shadow=STS)), None, False),  # ... and its real session does not
        (seen(TlsDemand()), "no-policy-found", False),
        (seen(RULE), None, False),
        (seen(RULE, shadow=True), None, True),
        (seen(TlsDemand(shadow=RULE)), "no-policy-found", False),
        (seen(TlsDemand(source="next-hop")), None, False),
    ],
)
def test_what_counts(observation: TlsObservation, kind: str | None, rule_shadow: bool) -> None:
    assert report_kind(observation) == kind
    assert is_rule_shadow(observation) is rule_shadow


def test_counts_become_policies() -> None:
    none, sts = policies(COUNTS, TEXTS)
    assert (sts.kind, sts.successes, sts.mx_patterns) == ("sts", 8, ("mx.partner.example",))
    assert sts.failures == ((Failure("certificate-expired", receiving_host="mx2.partner.example"), 2),)
    assert (none.kind, none.successes, none.strings) == ("no-policy-found", 0, ())
    assert policies([]) == []


def test_the_report_as_json() -> None:
    report = report_json(DAY, "partner.example", policies(COUNTS[:3], TEXTS), US)
    assert report == {
        "organization-name": "Secure Mail Gateway",
        "date-range": {"start-datetime": "2026-03-01T00:00:00Z", "end-datetime": "2026-03-01T23:59:59Z"},
        "contact-info": "postmaster@smg.example",
        "report-id": "2026-03-01T00:00:00Z_partner.example@smg.example",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-domain": "partner.example",
                    "policy-string": ["version: STSv1", "mode: testing"],
                    "mx-host": ["mx.partner.example"],
                },
                "summary": {"total-successful-session-count": 8, "total-failure-session-count": 2},
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "receiving-mx-hostname": "mx2.partner.example",
                        "failed-session-count": 2,
                    }
                ],
            }
        ],
    }


def test_the_report_as_mail() -> None:
    report = report_json(DAY, "partner.example", policies(COUNTS, TEXTS), US)
    wire = report_mail(DAY, "partner.example", "tls@partner.example", report, US, NOON)
    told, named = read_report(wire)
    assert told == report
    assert named == "smg.example!partner.example!1772323200!1772409599!1.json.gz"


@pytest.mark.parametrize(
    ("texts", "addresses"),
    [
        (["v=TLSRPTv1; rua=mailto:tls@partner.example"], ("tls@partner.example",)),
        (["v=TLSRPTv1;rua=mailto:a@p.example, mailto:b@p.example"], ("a@p.example", "b@p.example")),
        (["v=TLSRPTv1; rua=https://p.example/tls,mailto:a@p.example"], ("a@p.example",)),
        (["v=TLSRPTv1; rua=mailto:a@p.example?subject=x"], ("a@p.example",)),
        (["v=TLSRPTv1; rua=https://p.example/tls"], ()),
        (["v=TLSRPTv1; rua=mailto:a b@p.example"], ()),
        (["v=TLSRPTv1; rua=mailto:a@p.example\r\nRCPT TO:<x@y>"], ()),
        (["v=TLSRPTv1; rua=mailto:a@p.example", "v=TLSRPTv1; rua=mailto:b@p.example"], ()),
        (["v=TLSRPTv2; rua=mailto:a@p.example"], ()),
        (["v=TLSRPTv1;"], ()),
        ([], ()),
    ],
)
def test_who_wants_reports(texts: list[str], addresses: tuple[str, ...]) -> None:
    assert report_addresses(texts) == addresses


@given(st.text())
def test_records_of_strangers(text: str) -> None:
    for address in report_addresses([f"v=TLSRPTv1; rua={text}"]):
        assert not set("\r\n <>\0") & set(address)


async def test_the_record_is_looked_up() -> None:
    with DnsServer() as zone:
        zone.add("_smtp._tls.partner.example", "TXT", "v=TLSRPTv1; rua=mailto:tls@partner.example")
        zone.fail("_smtp._tls.broken.example", "servfail")
        resolver = Resolver([Endpoint(zone.host, zone.port)])
        assert await wanted_by(resolver, "partner.example") == ("tls@partner.example",)
        assert await wanted_by(resolver, "other.example") == ()
        assert await wanted_by(resolver, "broken.example") == ()
