"""The demo as a stranger finds it: every page of customer and support has something to show, made by `demo_setup`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from blacklist.control import lease, schedules
from blacklist.models import Alert, CheckRun, DelistingTicket, Listing, Result
from gateway.control.domain_checks import make_resolver
from gateway.models import (
    Appeal,
    AuditEntry,
    Credential,
    Customer,
    DkimKey,
    Domain,
    Gateway,
    HourlyCount,
    Message,
    NdrReport,
    Recipient,
    TlsRule,
)  # fmt: skip
from gateway.rules.gateways import sendable_here
from gateway.rules.policy import Snapshot
from gateway.rules.supervision import Access
from gateway.snapshot import load_snapshot
from portal.demo import clock
from portal.models import (
    SupportRequest,
    User,
)
from tests.portal.demo_pages import addresses, admin_addresses, customer_patterns, support_patterns

pytestmark = pytest.mark.django_db
BACKEND = "django.contrib.auth.backends.ModelBackend"
# What is honestly empty in the demo, and why.
EMPTY = {
    "support_messages": "a search without words",
    "support_ndr": "answers that the dictionary does not know",
    "support_system": "failed jobs, and the relay does not run in this test",
    "mail_catcher": "the sink is empty until the relay runs",
    "message_news": "a fragment",
}


@pytest.fixture(scope="module")
def demo(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any) -> Iterator[dict[str, Any]]:
    """The demo's database, made once for this module and rolled back at its end."""
    var = tmp_path_factory.mktemp("var")
    config = replace(settings.SMG, demo=True, nameservers=(), dnsbl_nameservers=(), var_dir=var)
    with pytest.MonkeyPatch.context() as patch, django_db_blocker.unblock(), transaction.atomic():
        patch.setattr(settings, "SMG", config)
        call_command("demo_setup", verbosity=0)
        yield json.loads(Path(var / "demo.json").read_text())
        transaction.set_rollback(True)


def browser(email: str) -> Client:
    client = Client()
    client.force_login(User.objects.get(email=email), backend=BACKEND)
    return client


def walk(client: Client, patterns: list[Any]) -> dict[str, str]:
    """Name -> what is wrong with its page."""
    wrong = {}
    for name, address in addresses(patterns).items():
        problem = _problem(name, client.get(address)) if address else "has an argument that nobody knows"
        if problem:
            wrong[name] = problem
    return wrong


def _problem(name: str, response: Any) -> str:
    if response.status_code == 405:  # a verb: it has no page
        return ""
    if response.status_code not in (200, 286):
        return f"status {response.status_code}"
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return "empty" if b'class="empty"' in content and name not in EMPTY else ""


def test_every_page_of_the_customer_has_something_to_show(demo):
    assert walk(browser(demo["email"]), customer_patterns()) == {}


def test_every_page_of_support_has_something_to_show(demo):
    assert walk(browser(demo["support_email"]), support_patterns()) == {}


@pytest.mark.parametrize("who", ["email", "support_email"])
def test_ten_queries_are_enough_for_every_page(demo, who):
    client = browser(demo[who])
    found = (
        addresses(customer_patterns())
        if who == "email"
        else addresses(support_patterns()) | admin_addresses()
    )
    assert {
        name: number for name, address in found.items() if (number := queries(client, address)) > 10
    } == {}


def queries(client: Client, address: str) -> int:
    """Of a page that was looked at before: what the first one of a session or of some seconds asks is not counted."""
    client.get(address)
    with CaptureQueriesContext(connection) as counted:
        response = client.get(address)
        b"".join(response.streaming_content) if response.streaming else None
    return len(counted)


@pytest.mark.parametrize("address", ["/support/queue/hold/?state=queued", "/caught/"])
def test_pages_whose_address_says_more(demo, address):
    assert browser(demo["support_email"]).get(address).status_code == 200


@pytest.mark.parametrize(
    "model", ["delistingticket", "listing", "incident", "alert", "provider", "target", "checkrun"]
)
def test_the_admin_of_blacklists_has_something_to_show(demo, model):
    page = browser(demo["support_email"]).get(f"/admin/blacklist/{model}/", follow=True)
    assert page.status_code == 200
    assert b"/change/" in page.content


def test_the_other_customer_sees_their_own_story(demo):
    charlie = browser("charlie@globex.example")
    assert b"203.0.113.40" in charlie.get("/blacklists/").content
    assert b"198.51.100.25" not in charlie.get("/blacklists/").content
    assert charlie.get("/messages/").content.count(b"globex.example") > 5


def test_tickets_are_in_many_states_and_desk_work_is_on_record(demo):
    states = set(DelistingTicket.objects.values_list("state", flat=True))
    assert states >= {
        "open", "reopened", "investigating", "ready", "requested", "waiting_expiry", "needs_customer", "rejected",
        "accepted_risk", "closed",
    }  # fmt: skip
    assert (
        not DelistingTicket.objects.filter(closed_at=None, draft_text="")
        .exclude(state="waiting_expiry")
        .exists()
    )
    assert not DelistingTicket.objects.filter(prechecked_at=None, closed_at=None).exists()
    stale = DelistingTicket.objects.filter(closed_at=None, prechecked_at__lt=F("opened_at"))
    assert not stale.exists()  # one that was opened again is looked at again
    kinds = set(Alert.objects.values_list("kind", flat=True))
    assert kinds >= {"listed", "relisted", "delisted", "rejected"}
    assert not Alert.objects.filter(mailed_at=None, delivery__in=["at_once", "bundled", "daily"]).exists()


def test_a_critical_listing_drained_the_gateway_and_gave_it_back(demo):
    actions = AuditEntry.objects.filter(target__contains="mta01").values_list("action", flat=True)
    assert {"gateway.drain", "gateway.undrain"} <= set(actions)
    assert not Gateway.objects.exclude(drained_at=None).exists()


def test_checks_were_made_every_morning_and_unknown_is_said(demo):
    kinds = Counter(CheckRun.objects.values_list("kind", flat=True))
    assert kinds["daily"] == 10
    assert set(kinds) == {"daily", "manual", "recheck", "retry"}
    assert not CheckRun.objects.filter(finished_at=None).exists()
    assert not lease.is_running()
    newest = Result.objects.filter(run=CheckRun.objects.filter(kind="daily").first())
    assert set(newest.values_list("status", flat=True)) == {
        "listed",
        "not_listed",
        "provider_error",
        "timeout",
    }
    assert schedules.daily() is None  # this morning's is done


def test_asking_again_changes_nothing(demo):
    before = list(Listing.objects.order_by("pk").values_list("pk", "delisted_at", "severity"))
    acme = Customer.objects.get(slug="acme")
    run = CheckRun.objects.get(pk=schedules.check_customer(acme.pk, "alice@acme.example"))
    assert run.phase == "finished"
    assert list(Listing.objects.order_by("pk").values_list("pk", "delisted_at", "severity")) == before


def test_a_second_time_adds_nothing_but_new_passwords(demo):
    models = (
        Message,
        Recipient,
        HourlyCount,
        CheckRun,
        Listing,
        SupportRequest,
        Appeal,
        Domain,
        Credential,
        Gateway,
    )
    before = {model: model.objects.count() for model in models}
    call_command("demo_setup", verbosity=0)
    fresh = json.loads((settings.SMG.var_dir / "demo.json").read_text())
    assert {model: model.objects.count() for model in models} == before
    assert fresh["password"] != demo["password"]


def test_the_log_is_in_the_order_of_time(demo):
    times = list(AuditEntry.objects.order_by("id").values_list("at", flat=True))
    assert times == sorted(times)
    assert times[-1] <= timezone.now()


def test_the_shares_of_a_message_add_up_to_its_score(demo):
    for message in Message.objects.exclude(symbols=[]):
        assert sum(share for _, share in message.symbols) == pytest.approx(message.score, abs=0.01)


def test_the_relay_can_send_by_every_gateway(demo):
    snapshot: Snapshot = load_snapshot()
    assert len(snapshot.gateways) == 3
    assert all(sendable_here(gateway, (), ()) for gateway in snapshot.gateways.values())


def test_what_people_wait_for(demo):
    assert Appeal.objects.filter(state="open").count() == 1
    assert DkimKey.objects.filter(state="requested").count() == 1
    assert Credential.objects.get(username="acme-crm").block == "fuse"
    assert Recipient.objects.filter(state="held", reason="abuse").count() == 14
    assert TlsRule.objects.get(recipient_domain="bank.example").probe["state"] == "fails"
    assert HourlyCount.objects.values("hour__date").distinct().count() >= 14
    assert NdrReport.objects.filter(cause__contains="block").exists()
    where = {"smtp_host": "127.0.0.1", "smtp_port": 2525}  # known when it starts
    assert Access.from_json(demo | where).email == "alice@acme.example"


def test_addresses_and_names_are_answered_without_a_network(demo):
    resolver = make_resolver()
    assert asyncio.run(resolver.ptr("192.0.2.2")).texts == ("mta02.smg.example",)
    assert asyncio.run(resolver.ptr("198.51.100.200")).texts == ()
    spf = asyncio.run(resolver.txt("acme.example")).texts
    assert settings.SMG.spf_host in spf[0]
    assert asyncio.run(resolver.a(settings.SMG.spf_host)).addresses == ("192.0.2.1", "192.0.2.2", "192.0.2.3")
    assert {domain.name: domain.health for domain in Domain.objects.filter(name__startswith="acme")} == {
        "acme.example": "good", "acme-news.example": "good", "acme-shop.example": "broken",
    }  # fmt: skip


def test_the_clock_goes_back_to_now(demo):
    now, backend = timezone.now(), settings.EMAIL_BACKEND
    with clock.at(now.replace(year=2001)):
        assert timezone.now().year == 2001
    with contextlib.suppress(RuntimeError), clock.at(now.replace(year=2002)):
        raise RuntimeError
    assert now <= timezone.now()
    assert backend == settings.EMAIL_BACKEND


def test_only_in_a_demo(demo, monkeypatch):
    monkeypatch.setattr(settings, "SMG", replace(settings.SMG, demo=False))
    with pytest.raises(CommandError, match="SMG_DEMO"):
        call_command("demo_setup")
