"""One relay and one portal for all journeys, and ACME and Globex with their people."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.dns_server import DnsServer
from tests.e2e.journeys.stage import BANK, INBOX, PARTNER, SLOW, People, Servers, Stage
from tests.relay_harness import Relays, RunningPortal
from tests.services import free_port

PEOPLE = """
from gateway.models import Customer
from tests.factories import make_member, make_user
make_member(Customer.objects.get(slug="acme"), email="alice@acme.example")
make_member(Customer.objects.get(slug="globex"), email="charlie@globex.example")
make_user("sam@smg.example", is_staff=True)
"""
OURS = ("acme.example", "globex.example", "smtp.smg.example", "newco-en.example", "newco-de.example")


@pytest.fixture(scope="package")
def stage(tmp_path_factory: pytest.TempPathFactory, shared_dir: Path) -> Iterator[Stage]:
    """Everything running; deferred mail waits for a verb, because its next attempt is an hour away."""
    relays = Relays(tmp_path_factory.mktemp("journeys"), shared_dir)
    port = free_port()
    with DnsServer() as dns, Servers(port, certificate(), (INBOX, PARTNER, BANK, SLOW)) as servers:
        publish(dns)
        relay = relays.make(
            dns.endpoint, 1, 1, SMG_PUBLIC_URL=RunningPortal.free_url(), SMG_RELAY_PROCESSES="1",
            SMG_DELIVERY_PORT=str(port), SMG_RETRY_SCHEDULE="3600",
        )  # fmt: skip
        relay.execute("UPDATE gateway_gateway SET next_hop = ?", ("",))
        relay.manage("shell", "-c", PEOPLE)
        relay.start()
        try:
            with RunningPortal(relay) as portal:
                yield Stage(relay, portal, dns, servers)
        finally:
            relays.stop_all()


def publish(dns: DnsServer) -> None:
    """Where everybody's mail goes, and the SPF host of the gateway."""
    for domain in OURS:
        dns.mail_domain(domain, INBOX)
    dns.mail_domain("partner.example", PARTNER)
    dns.mail_domain("bank.example", BANK)
    dns.mail_domain("slow.example", SLOW)
    dns.add("spf.smtp.smg.example", "A", "192.0.2.1")


def certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("mx.partner.example", "mx.bank.example").configure_cert(context)
    return context


@pytest.fixture
def people(browser: Any, browser_context_args: dict[str, Any], stage: Stage) -> Iterator[People]:
    """Browsers for the people of the story; fails when a page complained."""
    made = People(browser, browser_context_args, stage)
    yield made
    made.leave()
    assert made.complaints == []
