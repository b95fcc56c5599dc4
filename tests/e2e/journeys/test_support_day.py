"""Support's day: an appeal from the desk to its answer, mail held and released by filter, a customer suspended and
let in again."""

from __future__ import annotations

import re
import smtplib
from typing import Any

import pytest

from tests.e2e.conftest import axe_problems
from tests.e2e.journeys.stage import (
    PARTNER,
    SLOW,
    People,
    Stage,
    portrait,
    press,
    reload_until,
    text_of,
    wait_until,
)
from tests.relay_harness import SECRET

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
WEB = "web@globex.example"
ANSWER = "You are right: this is the text of your own filter test."
SUSPENDED = "451 4.7.1 Your account is suspended, please contact support"  # temporary: nothing is lost
WHY = "Stolen password, please call us."


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_an_appeal_is_decided(people: People, stage: Stage) -> None:
    letter = (WEB, ["dora@partner.example"], "Our filter test", GTUBE)
    assert stage.send("globex-web", SECRET, *letter) == ""
    assert stage.mail_at(PARTNER, "Our filter test").helo == "bad1.smg.example"
    charlie, sam = people.enter("charlie@globex.example"), people.enter("sam@smg.example")
    appeal(charlie)
    decide(sam)
    read_the_answer(charlie)
    ask_what_would_happen_now(charlie)


def appeal(charlie: Any) -> None:
    """The message's page says why it left by Bad, and takes the objection."""
    charlie.goto("/messages/?category=spam")
    reload_until(charlie, "tbody a", has_text="Our filter test").click()
    charlie.wait_for_url(re.compile(r"/messages/[^/]+/$"))
    assert "GTUBE" in text_of(charlie)
    charlie.locator("summary", has_text="This is not spam").click()
    charlie.locator("[name=comment]").fill("A test of our own filter.")
    press(charlie, "form[action$='/appeal/'] button")
    charlie.locator(".note", has_text="Your appeal").wait_for()
    assert charlie.locator("form[action$='/appeal/']").count() == 0


def decide(sam: Any) -> None:
    """On the desk with its deadline; decided with an answer for the customer; then the desk is free of it."""
    sam.goto("/support/")
    assert axe_problems(sam) == []
    portrait(sam, "support-desk")
    task = sam.locator("tbody tr", has_text="Not spam?")
    assert "Globex" in task.inner_text()
    press(task, "a")
    shown = sam.locator("#content").inner_text()
    assert "GTUBE" in shown
    assert "A test of our own filter." in shown
    assert "XJS*C4JDBQADN1" not in sam.content()  # support decides by the symbols, not by reading mail
    sam.get_by_role("button", name="Accept: it is not spam").click()
    sam.locator("[name=answer]").fill(ANSWER)
    press(sam, "[name=apply]")
    sam.locator(".success", has_text="Done for one entry").wait_for()
    sam.goto("/support/")
    assert sam.locator("tbody tr", has_text="Not spam?").count() == 0


def read_the_answer(charlie: Any) -> None:
    charlie.reload()
    assert ANSWER in text_of(charlie)
    assert charlie.locator(".note .chip.good", has_text="Not spam").count() == 1


def ask_what_would_happen_now(charlie: Any) -> None:
    """The exception holds for this sender domain: the relay's own checks say Good."""
    charlie.goto("/explain/")
    charlie.locator("[name=sender]").fill(WEB)
    letter = f"From: {WEB}\nTo: dora@partner.example\nSubject: Our filter test\n\n{GTUBE}\n"
    charlie.locator("[name=text]").fill(letter)
    press(charlie, "main form button.primary")
    answer = charlie.locator("#answer h2")
    answer.wait_for()
    assert "Would be accepted" in answer.inner_text()
    assert "Good gateway" in answer.inner_text()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_waiting_mail_is_held_and_released(people: People, stage: Stage) -> None:
    slow = stage.servers[SLOW]
    slow.say("RCPT", "451 4.3.2 Not now")
    recipients = ["a@slow.example", "b@slow.example"]
    assert stage.send("globex-web", SECRET, WEB, recipients, "To the slow ones", "Please wait.") == ""
    sam = people.enter("sam@smg.example")
    wait_until(lambda: waiting(stage, "queued") == 2, "two deferred recipients")
    by_filter(sam, "hold", 2, "by support")
    assert waiting(stage, "held") == 2
    see_it_held(people.enter("charlie@globex.example"))
    slow.say("RCPT", "250 2.1.5 ok")
    by_filter(sam, "release", 2)
    arrived = stage.mail_at(SLOW, "To the slow ones")
    assert len(arrived.rcpts) == 2
    wait_until(lambda: waiting(stage, "delivered") == 2, "both delivered")
    sam.goto("/support/queue/?destination=slow.example")
    assert sam.locator("a[href*='/queue/hold/']").count() == 0


def waiting(stage: Stage, state: str) -> int:
    rows = stage.relay.query(
        "SELECT count(*) FROM gateway_recipient WHERE domain = 'slow.example' AND state = ? AND attempts > 0",
        (state,),
    )
    return int(rows[0][0])


def by_filter(sam: Any, verb: str, number: int, reason: str = "") -> None:
    """Filter, look at what the verb would do, and only then do it."""
    sam.goto("/support/queue/")
    sam.locator("[name=destination]").fill("slow.example")
    press(sam, "main form button.primary")
    press(sam, f"a[href*='/queue/{verb}/']")
    sam.wait_for_url(f"**/queue/{verb}/**")
    asked = text_of(sam)
    assert f"{number} recipients" in asked
    assert f"Globex: {number}" in asked
    assert f"slow.example: {number}" in asked
    if reason:
        sam.locator("[name=reason]").fill(reason)
    press(sam, "main form button")
    sam.get_by_text(f"Done for {number} recipients.").wait_for()


def see_it_held(charlie: Any) -> None:
    """The customer sees who stopped it: it is in their activity."""
    charlie.goto("/messages/?status=held")
    assert charlie.locator("tbody a", has_text="To the slow ones").count() >= 1
    charlie.goto("/activity/")
    assert "sam@smg.example" in text_of(charlie)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_customer_is_suspended_and_let_in_again(people: People, stage: Stage) -> None:
    sam, charlie = people.enter("sam@smg.example"), people.enter("charlie@globex.example")
    with stage.client("globex-web", SECRET) as open_session:
        assert reply_to(open_session) == "250"
        suspend(sam)
        wait_until(lambda: knock(stage) != "250", "the refusal of a suspended customer")
        assert knock(stage) == reply_to(open_session) == SUSPENDED
    charlie.goto("/")
    told = charlie.locator("body").inner_text()
    assert WHY in told
    assert "answered 451" in told
    portrait(charlie, "support-suspended")
    with stage.client("acme-web", SECRET) as neighbour:
        assert reply_to(neighbour, "web@acme.example") == "250"
    press(sam, "a[href$='/suspend/']")
    press(sam, "main form button.primary")
    sam.get_by_text("Globex may send again.").wait_for()
    wait_until(lambda: knock(stage) == "250", "the customer let in again")
    charlie.reload()
    assert WHY not in charlie.locator("body").inner_text()


def suspend(sam: Any) -> None:
    sam.goto("/support/customers/")
    press(sam, "tbody a:has-text('Globex')")
    press(sam, "a[href$='/suspend/']")
    sam.locator("[name=reason]").fill(WHY)
    press(sam, "main form button.danger")
    sam.get_by_text("Globex is suspended.").wait_for()


def knock(stage: Stage) -> str:
    """The reply to a sender of Globex in a new session: at the login or at MAIL FROM."""
    try:
        with stage.client("globex-web", SECRET) as smtp:
            return reply_to(smtp)
    except smtplib.SMTPResponseException as error:
        return f"{error.smtp_code} {error.smtp_error.decode()}"  # type: ignore[union-attr]


def reply_to(smtp: smtplib.SMTP, sender: str = WEB) -> str:
    code, text = smtp.mail(sender)
    smtp.rset()
    return str(code) if code == 250 else f"{code} {text.decode()}"
