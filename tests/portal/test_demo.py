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
from django.db import transaction
from django.db.models import F
from django.test import Client
from django.urls import URLPattern, reverse
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
    Refusal,
    Suppression,
    TlsRule,
)  # fmt: skip
from gateway.rules.gateways import sendable_here
from gateway.rules.policy import Snapshot
from gateway.rules.supervision import Access
from gateway.snapshot import load_snapshot
from portal import tls_tests
from portal.customer import blacklists_urls, integrations_urls, support_requests_urls
from portal.customer import urls as customer_urls
from portal.demo import clock
from portal.models import (
    ApiToken,
    ContentGrant,
    Invitation,
    Membership,
    SupportRequest,
    User,
    WebhookDelivery,
    WebhookEndpoint,
)
from portal.support import urls as support_urls

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
NOT_WALKED = {
    "invitation": "wants the secret of a mail",
    "mail_caught": "the sink is empty", "mail_caught_raw": "the sink is empty",
    "support_queue_verb": "own test", "help_page": "own test", "help_image": "own test", "tls_probe": "asks servers",
    "close_customer": "support only",
}  # fmt: skip


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


def objects() -> dict[str, Any]:
    """For every address with an argument: the object whose page it is."""
    acme = Customer.objects.get(slug="acme")
    mail = Message.objects.filter(customer=acme)
    held, suspect = mail.filter(recipients__state="held"), mail.filter(category="suspect")
    waiting = mail.filter(recipients__state="queued").latest("id").text_id
    rule, login = (
        TlsRule.objects.get(recipient_domain="bank.example").pk,
        Credential.objects.get(username="acme-crm"),
    )
    own = Listing.objects.filter(target__customers=acme, delisted_at=None).earliest("id").pk
    hook, request = (
        WebhookEndpoint.objects.get(disabled_at=None),
        SupportRequest.objects.filter(customer=acme).latest("id"),
    )
    ticket = DelistingTicket.objects.get(state="needs_customer").pk
    member, gateway = (
        Membership.objects.get(user__email="bob@acme.example").pk,
        Gateway.objects.get(name="mta02").pk,
    )
    run = CheckRun.objects.filter(kind="daily").latest("id").pk
    text = held.latest("id").text_id
    return {
        "message": text, "message_retry": waiting, "message_release": text, "message_cancel": text,
        "message_appeal": suspect.latest("id").text_id, "refusal": Refusal.objects.latest("id").pk,
        "ndr_detail": NdrReport.objects.filter(customer=acme).latest("id").pk,
        "suppression_remove": Suppression.objects.latest("id").pk,
        "dkim_revoke": DkimKey.objects.get(state="active").pk, "domain": "acme.example", "domain_check": "acme.example",
        "domain_remove": "acme.example", "dkim_request": "acme-news.example", "tls_change": rule, "tls_remove": rule,
        "credential": login.pk, "credential_rotate": login.pk, "credential_revoke": login.pk,
        "credential_release": login.pk, "team_withdraw": Invitation.objects.latest("id").pk, "member": member,
        "member_remove": member, "listing": own, "listing_mute": own,
        "alert_acknowledge": Alert.objects.filter(customers=acme).latest("id").pk, "ticket": ticket,
        "blacklist_run": run, "blacklist_run_progress": run, "webhook": hook.pk, "webhook_test": hook.pk,
        "webhook_rotate": hook.pk, "webhook_switch": hook.pk, "webhook_remove": hook.pk,
        "webhook_delivery": WebhookDelivery.objects.filter(endpoint=hook).latest("created_at").pk,
        "webhook_again": WebhookDelivery.objects.filter(endpoint=hook).latest("created_at").pk,
        "token_revoke": ApiToken.objects.latest("id").pk, "support_request": request.pk,
        "support_request_close": request.pk,
        "consent_revoke": ContentGrant.objects.latest("id").pk,
        "support_customer": acme.pk, "support_customer_limit": acme.pk, "support_customer_suspend": acme.pk,
        "support_customer_invite": acme.pk, "open_customer": acme.pk, "support_message": text,
        "support_message_look": text, "support_break_glass": text, "support_gateway_drain": gateway,
        "support_gateway_check": gateway, "support_answer": request.pk, "support_answer_close": request.pk,
        "tls_test_result": tls_tests.start(acme, "bank.example").pk,
    }  # fmt: skip


def walk(client: Client, patterns: list[Any]) -> dict[str, str]:
    """Name -> what is wrong with its page."""
    known, wrong = objects(), {}
    for pattern in patterns:
        assert isinstance(pattern, URLPattern)
        name = str(pattern.name)
        if name in NOT_WALKED:
            continue
        key = _key(known, name) if pattern.pattern.converters else ""
        if key is None:
            wrong[name] = "has an argument that this test does not know"
            continue
        response = client.get(reverse(name, args=[known[key]] if key else []))
        problem = _problem(name, response)
        if problem:
            wrong[name] = problem
    return wrong


def _key(known: dict[str, Any], name: str) -> str | None:
    """The object's name, or the longest that the page's begins with: 'credential_held' is about a 'credential'."""
    return max((key for key in known if name.startswith(key)), key=len, default=None)


def _problem(name: str, response: Any) -> str:
    if response.status_code == 405:  # a verb: it has no page
        return ""
    if response.status_code not in (200, 286):
        return f"status {response.status_code}"
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return "empty" if b'class="empty"' in content and name not in EMPTY else ""


def test_every_page_of_the_customer_has_something_to_show(demo):
    patterns = [
        *customer_urls.urlpatterns,
        *integrations_urls.urlpatterns,
        *support_requests_urls.urlpatterns,
    ]
    patterns += [one for one in blacklists_urls.urlpatterns if not str(one.pattern).startswith("support/")]
    patterns = [one for one in patterns if one.name != "mail_catcher"]  # support's
    assert walk(browser(demo["email"]), patterns) == {}


def test_every_page_of_support_has_something_to_show(demo):
    runs = [one for one in blacklists_urls.urlpatterns if str(one.pattern).startswith("support/")]
    catcher = [one for one in customer_urls.urlpatterns if one.name == "mail_catcher"]
    assert walk(browser(demo["support_email"]), [*support_urls.urlpatterns, *runs, *catcher]) == {}


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
    assert Access.from_json(demo).email == "alice@acme.example"


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
