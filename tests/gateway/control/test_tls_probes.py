"""The daily test of forced TLS rules against a server on loopback, with its mails to the customer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from gateway.config import Config
from gateway.control import tls_probes
from gateway.models import Customer, TlsRule
from gateway.snapshot import load_snapshot
from tests.dns_server import DnsServer
from tests.factories import make_customer, make_message
from tests.fake_next_hop import FakeNextHop
from tests.gateway.tls_certs import HOST, Certificates

pytestmark = pytest.mark.django_db


@pytest.fixture
def server(tmp_path: Path, settings: Any) -> Iterator[FakeNextHop]:
    """partner.example with a good certificate, served from a thread; the settings point to it."""
    certs = Certificates(tmp_path)
    hop = FakeNextHop(tls=certs.server(certs.good))
    started, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with hop:
            started.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    with DnsServer() as zone:
        zone.add("partner.example", "MX", f"10 {HOST}.")
        zone.add(HOST, "A", "127.0.0.1")
        thread.start()
        assert started.wait(10)
        env = {
            "SMG_NAMESERVERS": zone.endpoint,
            "SMG_DELIVERY_PORT": str(hop.port),
            "SMG_PRIVATE_MX_NETWORKS": "127.0.0.0/8",
            "SMG_CA_FILE": str(certs.ca_file),
        }
        settings.SMG = Config.from_env(env, tmp_path)
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        yield hop
        done.set()
        thread.join(10)


@pytest.fixture
def acme() -> Customer:
    return make_customer("acme", language="de")


def rule(customer: Customer, **values: Any) -> TlsRule:
    wanted = {"recipient_domain": "partner.example", "level": "verify", "on_failure": "hold"} | values
    return TlsRule.objects.create(customer=customer, **wanted)


def turn_back(one: TlsRule) -> None:
    """A day later."""
    one.refresh_from_db()
    one.probe["checked_at"] = (timezone.now() - timedelta(days=1)).isoformat()
    one.save(update_fields=["probe"])


def test_a_good_partner(server: FakeNextHop, acme: Customer, mailoutbox: list[Any]) -> None:
    one = rule(acme)
    assert tls_probes.check_due() == "1 rules tested, 0 warnings"
    one.refresh_from_db()
    assert (one.probe["state"], one.probe["problem"]) == ("works", "")
    assert tls_probes.check_due() == "0 rules tested, 0 warnings"
    assert mailoutbox == []


def test_a_partner_that_loses_its_encryption(
    server: FakeNextHop, acme: Customer, mailoutbox: list[Any]
) -> None:
    one = rule(acme)
    context, server.tls = server.tls, None
    for expected in (0, 1, 0):
        assert tls_probes.check_due() == f"1 rules tested, {expected} warnings"
        turn_back(one)
    assert [mail.subject for mail in mailoutbox] == [
        "TLS-Zwang zu partner.example ist zurzeit nicht erfüllbar"
    ]
    assert "mx.partner.example does not offer STARTTLS" in mailoutbox[0].body
    assert mailoutbox[0].to == ["ops@acme.example"]
    server.tls = context
    assert tls_probes.check_due() == "1 rules tested, 1 warnings"
    assert mailoutbox[1].subject == "TLS-Zwang zu partner.example ist wieder erfüllbar"


def test_what_is_not_tested_or_told(server: FakeNextHop, acme: Customer, mailoutbox: list[Any]) -> None:
    server.tls = None
    shadow = rule(acme, shadow=True)
    rule(make_customer("gone", suspended_at=timezone.now()))
    for _ in range(3):
        assert tls_probes.check_due() == "1 rules tested, 0 warnings"
        turn_back(shadow)
    assert mailoutbox == []


def mailed(customer: Customer, domain: str, days_ago: int = 1) -> None:
    at = timezone.now() - timedelta(days=days_ago)
    make_message(customer, at=at, to=(f"bob@{domain}",))


def test_a_suffix_is_tested_where_its_mail_went(
    server: FakeNextHop, acme: Customer, mailoutbox: list[Any]
) -> None:
    one = rule(acme, recipient_domain=".example", on_failure="reject")
    mailed(acme, "partner.example")
    mailed(acme, "gone.example", days_ago=40)
    mailed(acme, "elsewhere.test")
    assert tls_probes.check_due() == "1 rules tested, 0 warnings"
    one.refresh_from_db()
    assert one.probe["state"] == "works"
    assert one.probe["expires_at"] is not None
    mailed(acme, "gone.example")
    for expected in (0, 1):
        turn_back(one)
        assert tls_probes.check_due() == f"1 rules tested, {expected} warnings"
    one.refresh_from_db()
    assert one.probe["state"] == "fails"
    assert one.probe["problem"].startswith("gone.example: ")
    assert "gone.example: " in mailoutbox[0].body
    # One domain that fails says nothing about the others below the suffix: none is refused at RCPT.
    assert load_snapshot().tls_rules[acme.pk][0].failing_until is None


def test_a_suffix_without_mail_is_not_known(
    server: FakeNextHop, acme: Customer, mailoutbox: list[Any]
) -> None:
    one = rule(acme, recipient_domain=".partner.example", sender_domain="acme.example")
    assert tls_probes.check_due() == "1 rules tested, 0 warnings"
    one.refresh_from_db()
    assert one.probe["state"] == "unavailable"
    assert mailoutbox == []
