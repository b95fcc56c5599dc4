"""Forced TLS: the test before the rule, and the page of tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gateway.models import Customer, TlsRule
from gateway.tls import preflight
from portal import tls_tests
from portal.models import TlsTest
from tests import factories
from tests.factories import Cast
from tests.portal.customer.helpers import Browser, text_of


def report(state: str) -> preflight.PreflightReport:
    verdicts = {
        level: preflight.Verdict(state, "" if state == "works" else "no STARTTLS")
        for level in ("encrypt", "verify")
    }
    return preflight.PreflightReport(domain="bank.example", at=timezone.now(), verdicts=verdicts)


RULE = {"recipient_domain": "Bank.example", "level": "verify", "on_failure": "hold", "min_version": "TLSv1.2"}


@pytest.fixture
def partner(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """partner("fails"): what the preflight finds from now on."""

    def be(state: str) -> None:
        monkeypatch.setattr("portal.tls_tests.preflight_now", lambda *args, **options: report(state))
        monkeypatch.setattr("portal.tls_tests.tls_probes.probe", lambda rule: report(state))
        monkeypatch.setattr("portal.tls_tests.async_task", lambda name, pk, **options: tls_tests.run(pk))

    return be


def test_a_rule_is_tested_before_it_is_saved(alice: Client, partner: Callable[[str], None]) -> None:
    partner("fails")
    text = alice.post(reverse("tls_add"), RULE | {"test": "1"}, follow=True).content.decode()
    assert 'value="bank.example"' in text
    assert "Cannot be met" in text
    assert "mail would be refused or held" in text
    assert not TlsRule.objects.exists()


def test_saving_keeps_the_verdict_beside_the_rule(alice: Client, partner: Callable[[str], None]) -> None:
    partner("works")
    tested = alice.post(reverse("tls_add"), RULE | {"test": "1"})
    alice.post(tested["Location"].partition("#")[0], RULE | {"save": "1"})
    assert TlsTest.objects.count() == 1
    rule = TlsRule.objects.get()
    assert (rule.recipient_domain, rule.level, rule.probe["state"]) == ("bank.example", "verify", "works")
    assert "Can be met" in text_of(alice, "tls")


def test_a_rule_saved_without_a_test_is_tested_afterwards(
    alice: Client, partner: Callable[[str], None]
) -> None:
    partner("works")
    alice.post(reverse("tls_add"), RULE | {"save": "1"})
    assert TlsTest.objects.get().rule == TlsRule.objects.get()
    assert TlsRule.objects.get().probe["checked_at"]


def test_a_running_test_is_followed_and_ends_the_polling(
    alice: Client, partner: Callable[[str], None]
) -> None:
    test = tls_tests.start(Customer.objects.get(slug="acme"), "bank.example")
    url = reverse("tls_test_result", args=[test.pk])
    page = alice.get(url).content.decode()
    assert ('http-equiv="refresh"' in page, "hx-get" in page) == (True, True)
    assert alice.get(url, headers={"HX-Request": "true"}).status_code == 200
    partner("works")
    tls_tests.run(test.pk)
    done = alice.get(url, headers={"HX-Request": "true"})
    assert (done.status_code, b"Can be met" in done.content) == (286, True)
    assert "refresh" not in alice.get(url).content.decode()


def test_a_test_that_nobody_runs_says_so(alice: Client) -> None:
    test = tls_tests.start(Customer.objects.get(slug="acme"), "bank.example")
    TlsTest.objects.update(asked_at=timezone.now() - timedelta(minutes=3))
    assert "The test was not run" in text_of(alice, "tls_test_result", test.pk)


def test_another_customers_test_is_not_there(cast: Cast, browser_of: Browser) -> None:
    test = tls_tests.start(cast.acme, "bank.example")
    assert browser_of(cast.charlie).get(reverse("tls_test_result", args=[test.pk])).status_code == 404


def test_three_tests_at_once_are_enough(cast: Cast) -> None:
    for name in ("a.example", "b.example", "c.example", "c.example"):
        tls_tests.start(cast.acme, name)
    with pytest.raises(ValidationError):
        tls_tests.start(cast.acme, "d.example")


def test_a_second_rule_for_the_pair_is_refused(
    alice: Client, cast: Cast, partner: Callable[[str], None]
) -> None:
    partner("works")
    factories.make_tls_rule(cast.acme, "bank.example")
    assert alice.post(reverse("tls_add"), RULE | {"save": "1"}).status_code == 400
    assert TlsRule.objects.count() == 1


def test_a_rule_is_changed_and_removed(alice: Client, cast: Cast, partner: Callable[[str], None]) -> None:
    partner("works")
    rule = factories.make_tls_rule(cast.acme, "bank.example")
    alice.post(
        reverse("tls_change", args=[rule.pk]), RULE | {"level": "encrypt", "shadow": "on", "save": "1"}
    )
    rule.refresh_from_db()
    assert (rule.level, rule.shadow) == ("encrypt", True)
    alice.post(reverse("tls_remove", args=[rule.pk]))
    assert not TlsRule.objects.exists()


def test_the_test_page_says_what_the_latest_mail_had(
    alice: Client, cast: Cast, partner: Callable[[str], None]
) -> None:
    partner("works")
    tls = {"version": "TLSv1.3", "cipher": "X", "verified": True}
    factories.make_message(cast.acme, to=("a@bank.example",), recipient={"tls": tls})
    factories.make_message(cast.acme, to=("b@bank.example",), recipient={"tls": None})
    text = alice.post(reverse("tls_test"), {"domain": "bank.example"}, follow=True).content.decode()
    assert "Of your 2 deliveries there in the last 30 days 1 were encrypted, 1 of them with a checked" in text
    assert "A rule would have stopped the 1 that went in clear text." in text
