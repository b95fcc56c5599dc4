"""The daily job: yesterday's sessions become mails to the domains that ask, once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config
from gateway.control import tls_reports
from gateway.models import TlsCount
from tests.dns_server import DnsServer
from tests.gateway.tls_report_reader import read_report

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
YESTERDAY = date(2026, 3, 1)


@pytest.fixture
def zone(tmp_path: Path, settings: Any) -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.add(
            "_smtp._tls.partner.example",
            "TXT",
            "v=TLSRPTv1; rua=mailto:tls@partner.example,mailto:b@p.example",
        )
        server.add("_25._tcp.mx.partner.example", "TLSA", "3 1 1 " + "ab" * 32)
        server.fail("_smtp._tls.broken.example", "servfail")
        settings.SMG = Config.from_env(
            {"SMG_NAMESERVERS": server.endpoint, "SMG_HOSTNAME": "smg.example", "SMG_DELIVERY_PORT": "25"},
            tmp_path,
        )
        yield server


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(tls_reports, "submit_own_mail", lambda **mail: found.append(mail))
    return found


def count(domain: str, result: str = "success", sessions: int = 1, **more: Any) -> None:
    values = {"day": YESTERDAY, "policy_type": "tlsa", "mx": f"mx.{domain}"} | more
    TlsCount.objects.create(policy_domain=domain, result=result, sessions=sessions, **values)


def test_reports_go_to_those_who_ask_and_once(zone: DnsServer, queued: list[dict[str, Any]]) -> None:
    count("partner.example", sessions=5)
    count("partner.example", "validation-failure", 2)
    count("silent.example")
    count("broken.example")
    assert tls_reports.send_due(NOW) == "2 TLS reports"
    assert [mail["recipients"] for mail in queued] == [["tls@partner.example"], ["b@p.example"]]
    assert queued[0]["sender"] == "postmaster@smg.example"
    report, _ = read_report(queued[0]["raw"])
    (policy,) = report["policies"]
    assert policy["policy"]["policy-string"] == ["3 1 1 " + "ab" * 32]
    assert policy["summary"] == {"total-successful-session-count": 5, "total-failure-session-count": 2}
    assert tls_reports.send_due(NOW) == "0 TLS reports"


def test_a_day_that_is_not_over_waits_and_an_old_one_goes(
    zone: DnsServer, queued: list[dict[str, Any]]
) -> None:
    count("partner.example", day=NOW.date())
    count("partner.example", day=YESTERDAY - timedelta(days=60))
    assert tls_reports.send_due(NOW) == "0 TLS reports"
    assert list(TlsCount.objects.values_list("day", flat=True)) == [NOW.date()]
    assert tls_reports.send_due(NOW + timedelta(days=1)) == "2 TLS reports"


def test_two_days_are_two_reports(zone: DnsServer, queued: list[dict[str, Any]]) -> None:
    count("partner.example")
    count("partner.example", day=YESTERDAY - timedelta(days=1))
    assert tls_reports.send_due(NOW) == "4 TLS reports"
    days = [read_report(mail["raw"])[0]["date-range"]["start-datetime"][:10] for mail in queued]
    assert days == ["2026-02-28", "2026-02-28", "2026-03-01", "2026-03-01"]
