"""From single sessions to the report that a domain gets by mail."""

from __future__ import annotations

import email
import email.policy
import gzip
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Endpoint
from gateway.dns import Resolver
from gateway.rules.route_types import TlsaRecord, TlsDemand, TlsObservation
from gateway.rules.tls_policy import StsMode, StsPolicy
from gateway.rules.tls_report import (
    Failure,
    PolicyCount,
    Reporter,
    report_addresses,
    report_json,
    report_mail,
)
from gateway.rules.types import TlsInfo, TlsLevel
from gateway.tls.tls_rpt import TlsCounts, merge, wanted_by
from tests.dns_server import DnsServer

DAY = date(2026, 3, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
INFO = TlsInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384")
POLICY = StsPolicy(
    StsMode.TESTING, ("mx.partner.example",), 86400, "1", "version: STSv1\r\nmode: testing\r\n"
)
STS = TlsDemand(TlsLevel.VERIFY, "mta-sts", names=("mx.partner.example",))
DANE = TlsDemand(TlsLevel.DANE, "dane", tlsa=(TlsaRecord(3, 1, 1, b"\xab" * 32),))
US = Reporter("Secure Mail Gateway", "smg.example", "postmaster@smg.example")


def seen(demand: TlsDemand, result: str = "", **more: Any) -> TlsObservation:
    info = None if result else INFO
    made = TlsObservation(
        NOON, "partner.example", "mx.partner.example", "192.0.2.1", demand, info, result, "why"
    )
    return replace(made, **more)


def counted(*observations: TlsObservation) -> list[PolicyCount]:
    counts = TlsCounts(lambda domain: POLICY if domain == "partner.example" else None)
    for one in observations:
        counts.observe(one)
    return merge(counts.take(DAY + timedelta(days=1))).get((DAY, "partner.example"), [])


def test_sessions_are_counted_per_policy() -> None:
    dane, sts, none = counted(
        seen(DANE),
        seen(DANE),
        seen(DANE, "validation-failure"),
        seen(STS, "certificate-expired"),
        seen(TlsDemand()),
        seen(TlsDemand(), "starttls-not-supported"),
    )
    failed = Failure("validation-failure", "", "mx.partner.example", "192.0.2.1", "why")
    assert (dane.kind, dane.successes, dane.failures) == ("tlsa", 2, ((failed, 1),))
    assert dane.strings == ("3 1 1 " + "ab" * 32,)
    assert (sts.kind, sts.successes, sts.mx_patterns) == ("sts", 0, ("mx.partner.example",))
    assert sts.strings == ("version: STSv1", "mode: testing")
    assert (none.kind, none.successes, len(none.failures)) == ("no-policy-found", 1, 1)


def test_a_policy_in_testing_mode_counts_once() -> None:
    tested = TlsDemand(shadow=STS)
    (sts,) = counted(
        seen(STS, "certificate-expired", shadow=True), seen(tested), seen(STS, shadow=True), seen(tested)
    )
    assert (sts.kind, sts.successes, [count for _, count in sts.failures]) == ("sts", 1, [1])


def test_rules_and_smart_hosts_are_nobody_elses_business() -> None:
    rule = TlsDemand(TlsLevel.VERIFY, "rule")
    shadowed = TlsDemand(shadow=rule)
    assert counted(seen(rule), seen(TlsDemand(source="next-hop"))) == []
    (plain,) = counted(seen(rule, "validation-failure", shadow=True), seen(shadowed))
    assert (plain.kind, plain.successes, plain.failures) == ("no-policy-found", 1, ())


def test_days_are_taken_once_and_only_when_over() -> None:
    counts = TlsCounts()
    counts.observe(seen(DANE))
    counts.observe(seen(DANE, at=NOON + timedelta(days=1)))
    assert counts.take(DAY) == []
    rows = counts.take(DAY + timedelta(days=1))
    assert [row["day"] for row in rows] == ["2026-03-01"]
    assert json.loads(json.dumps(rows)) == rows
    assert counts.take(DAY + timedelta(days=1)) == []


def test_processes_are_put_together() -> None:
    one, two = TlsCounts(), TlsCounts()
    for counts in (one, two):
        counts.observe(seen(DANE))
        counts.observe(seen(DANE, "validation-failure"))
    later = DAY + timedelta(days=1)
    (policy,) = merge([*one.take(later), *two.take(later)])[DAY, "partner.example"]
    assert (policy.successes, [count for _, count in policy.failures]) == (2, [2])


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.tls.tls_rpt.MAX_ROWS", 10)
    counts = TlsCounts()
    for number in range(50):
        counts.observe(seen(DANE, destination=f"d{number}.example"))
    assert len(counts.take(DAY + timedelta(days=1))) == 10


def test_the_report_as_json() -> None:
    report = report_json(DAY, "partner.example", counted(seen(STS), seen(STS, "certificate-expired")), US)
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
                "summary": {"total-successful-session-count": 1, "total-failure-session-count": 1},
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "receiving-mx-hostname": "mx.partner.example",
                        "receiving-ip": "192.0.2.1",
                        "additional-information": "why",
                        "failed-session-count": 1,
                    }
                ],
            }
        ],
    }


def test_the_report_as_mail() -> None:
    report = report_json(DAY, "partner.example", counted(seen(DANE)), US)
    wire = report_mail(DAY, "partner.example", "tls@partner.example", report, US, NOON)
    assert b"\n" not in wire.replace(b"\r\n", b"")
    message = email.message_from_bytes(wire, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "tlsrpt"
    assert message["TLS-Report-Domain"] == "partner.example"
    assert message["TLS-Report-Submitter"] == "smg.example"
    assert message["TLS-Required"] == "No"
    text, attached = message.iter_parts()
    assert "about mail to partner.example" in text.get_content()
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    assert attached.get_filename() == "smg.example!partner.example!1772323200!1772409599!1.json.gz"
    assert json.loads(gzip.decompress(attached.get_content())) == report


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
