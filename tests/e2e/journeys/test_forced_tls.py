"""A forced TLS rule and a partner who cannot: seen before saving, held afterwards, released when the partner can."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.e2e.conftest import axe_problems
from tests.e2e.journeys.stage import BANK, People, Stage, portrait, press, reload_until, text_of
from tests.relay_harness import SECRET

LETTER = ("alice@acme.example", ["clerk@bank.example"])


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_partner_without_starttls(people: People, stage: Stage) -> None:
    bank = stage.servers[BANK]
    bank.tls = None
    alice = people.enter("alice@acme.example")
    try_before_saving(alice, stage)
    save(alice)
    stage.relay_knows()
    for subject in ("Statement for cancelling", "Statement for later"):
        assert stage.send("acme-web", SECRET, *LETTER, subject, "Account 4711.") == ""
    cancel(alice)
    open_held(alice, "Statement for later")
    bank.tls = stage.servers.tls
    stage.servers.hang_up(BANK)
    release(alice)
    assert stage.mail_at(BANK, "Statement for later").encrypted
    assert [mail.encrypted for mail in bank.messages] == [True]
    assert not stage.has_mail(BANK, "Statement for cancelling")


def try_before_saving(alice: Any, stage: Stage) -> None:
    """The test talks to the partner's servers and says no."""
    alice.goto("/tls/")
    press(alice, "main a[href='/tls/add/']")
    alice.locator("[name=recipient_domain]").fill("Bank.example")
    alice.locator("[name=level][value=encrypt]").check()
    alice.locator("[name=on_failure][value=hold]").check()
    press(alice, "button[name=test]")
    alice.wait_for_url(re.compile(r"/tls/add/\?test=\d+"))
    alice.locator("#result progress").wait_for()
    assert axe_problems(alice) == []
    run_in_background(stage)
    report = alice.locator("section.card", has_text="mx.bank.example").last
    report.wait_for()
    assert "does not offer STARTTLS" in report.inner_text()
    verdict = alice.locator("table tbody tr", has_text="No server of the domain can do this")
    assert verdict.count() >= 1
    assert axe_problems(alice) == []
    portrait(alice, "tls-preflight")


def run_in_background(stage: Stage) -> None:
    """What the scheduler would do now."""
    stage.relay.manage(
        "shell",
        "-c",
        "from portal import models, tls_tests; tls_tests.run(models.TlsTest.objects.latest('pk').pk)",
    )


def save(alice: Any) -> None:
    """The choice is the customer's all the same; the verdict stays beside the rule."""
    press(alice, "button[name=save]")
    alice.wait_for_url("**/tls/")
    row = alice.locator("tbody tr", has_text="bank.example")
    assert row.locator(".chip.bad, .chip.warn").count() == 1


def open_held(alice: Any, subject: str) -> None:
    """Found by its state; its page says why it waits."""
    alice.goto("/messages/?status=held")
    reload_until(alice, "tbody a", has_text=subject).click()
    alice.wait_for_url(re.compile(r"/messages/[^/]+/$"))
    assert alice.locator(".chip", has_text="Held").count() >= 1
    assert "STARTTLS" in text_of(alice)


def cancel(alice: Any) -> None:
    open_held(alice, "Statement for cancelling")
    portrait(alice, "tls-held")
    assert axe_problems(alice) == []
    press(alice, "a.button.danger[href$='/cancel/']")
    press(alice, "main form button.danger")
    alice.wait_for_url(re.compile(r"/messages/[^/]+/$"))
    assert alice.locator(".chip", has_text="Cancelled").count() >= 1


def release(alice: Any) -> None:
    press(alice, "form[action$='/release/'] button")
    reload_until(alice, ".chip.good", has_text="Delivered")
    assert "TLSv1.3" in text_of(alice)
