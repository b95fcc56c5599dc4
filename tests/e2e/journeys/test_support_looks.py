"""Support's day, what it may see and stop: contents by leave and by the broken glass, a customer's pages, a gateway."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import axe_problems
from tests.e2e.journeys.stage import INBOX, PARTNER, SLOW, People, Stage, press, text_of, wait_until
from tests.relay_harness import SECRET

WEB = "web@globex.example"
SUBJECT, TEXT = "About the salaries", "Nobody gets less."
EMERGENCY = "A wave of phishing is running right now."


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_contents_are_read_by_leave_and_by_the_broken_glass(people: People, stage: Stage) -> None:
    stage.dns.mail_domain("late.example", SLOW)
    stage.servers[SLOW].say("RCPT", "451 4.3.2 Not now")
    assert stage.send("globex-web", SECRET, WEB, ["dora@late.example"], SUBJECT, TEXT) == ""
    sam, charlie = people.enter("sam@smg.example"), people.enter("charlie@globex.example")
    number = find(sam)
    allow(charlie, number)
    look(sam, number)
    take_back(charlie, number)
    break_the_glass(sam, stage, number)
    charlie.goto("/tickets/requests/consent/")
    assert EMERGENCY in text_of(charlie)
    assert axe_problems(charlie) == []
    stage.servers[SLOW].say("RCPT", "250 2.1.5 ok")


def find(sam: Any) -> str:
    """By what the customer told on the telephone: the recipient. What it says stays closed. Returns its id."""
    sam.goto("/support/messages/")
    sam.locator("[name=q]").fill("dora@late.example")
    press(sam, "main form button.primary")
    link = sam.locator("tbody a").first
    number = link.inner_text()
    link.click()
    sam.wait_for_url(f"**/support/messages/{number}/")
    assert "451" in text_of(sam)
    assert SUBJECT not in sam.content()
    assert sam.locator("button[name=subject]").count() == 0
    return str(number)


def allow(charlie: Any, number: str) -> None:
    charlie.goto("/tickets/requests/consent/")
    charlie.locator("[name=message]").fill(number)
    press(charlie, "main form button.primary")
    charlie.locator(".chip.good").first.wait_for()


def look(sam: Any, number: str) -> None:
    for what, shown in (("subject", SUBJECT), ("body", TEXT)):
        sam.goto(f"/support/messages/{number}/")
        press(sam, f"button[name={what}]")
        sam.wait_for_url("**/look/")
        assert shown in text_of(sam)


def take_back(charlie: Any, number: str) -> None:
    """The customer reads who looked at what, and closes it again."""
    charlie.reload()
    looks = charlie.locator("section", has=charlie.get_by_role("heading", name="Looks", exact=True)).locator(
        "tbody tr"
    )
    assert looks.count() == 2
    assert all("sam@smg.example" in row and number in row for row in looks.all_inner_texts())
    press(charlie, "form[action$='/revoke/'] button")
    wait_until(lambda: charlie.locator("form[action$='/revoke/']").count() == 0, "the leave taken back")


def break_the_glass(sam: Any, stage: Stage, number: str) -> None:
    sam.goto(f"/support/messages/{number}/")
    assert sam.locator("button[name=subject]").count() == 0
    press(sam, "a[href$='/break-glass/']")
    sam.locator("[name=reason]").fill(EMERGENCY)
    press(sam, "main form button.danger")
    press(sam, "button[name=body]")
    sam.wait_for_url("**/look/")
    assert TEXT in text_of(sam)
    inbox = stage.servers[INBOX].messages
    wait_until(lambda: any(b"phishing is running" in mail.body for mail in inbox), "the mail to the owner")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_support_reads_a_customers_pages(people: People, stage: Stage) -> None:
    """Read only, without subjects, and the customer knows."""
    assert stage.send("globex-web", SECRET, WEB, ["dora@partner.example"], "Between us", "Nothing.") == ""
    stage.mail_at(PARTNER, "Between us")
    sam = people.enter("sam@smg.example")
    sam.goto("/support/customers/")
    press(sam, "tbody a:has-text('Globex')")
    press(sam, "form[action$='/open/'] button")
    sam.goto("/messages/")
    assert "dora@partner.example" in text_of(sam)
    assert "Between us" not in sam.content()
    assert sam.request.get("/access/add/").status == 403
    press(sam, "form[action$='/close/'] button")
    assert sam.request.get("/messages/").status == 403
    charlie = people.enter("charlie@globex.example")
    charlie.goto("/activity/")
    assert "sam@smg.example" in text_of(charlie)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_clean_mail_waits_for_a_drained_gateway(people: People, stage: Stage) -> None:
    """The last Good gateway is drained: regular mail waits, it never leaves by Bad."""
    sam = people.enter("sam@smg.example")
    sam.goto("/support/gateways/")
    press(sam.locator("tbody tr", has_text="good1"), "a[href$='/drain/']")
    assert "will wait in the queue" in text_of(sam)
    sam.locator("[name=reason]").fill("new disk")
    press(sam, "main form button.danger")
    assert "new disk" in sam.locator("tbody tr", has_text="good1").inner_text()
    stage.relay_knows()
    assert stage.send("globex-web", SECRET, WEB, ["dora@partner.example"], "For the Good way", "Clean.") == ""
    wait_until(lambda: waiting(stage) == 1, "the mail in the queue")
    assert not stage.has_mail(PARTNER, "For the Good way")
    press(sam.locator("tbody tr", has_text="good1"), "a[href$='/drain/']")
    press(sam, "main form button.primary")
    stage.relay_knows()
    sam.goto("/support/queue/retry/?destination=partner.example")
    press(sam, "main form button.primary")
    assert stage.mail_at(PARTNER, "For the Good way").helo == "good1.smg.example"


def waiting(stage: Stage) -> int:
    ((number,),) = stage.relay.query(
        "SELECT count(*) FROM gateway_recipient WHERE domain = 'partner.example' AND state = 'queued'"
    )
    return int(number)
