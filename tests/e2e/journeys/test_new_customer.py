"""A new customer, from the wish at support's desk to the first delivered mail, in German and in English."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.e2e.conftest import axe_problems
from tests.e2e.journeys.stage import (
    INBOX,
    PARTNER,
    People,
    Stage,
    check_until,
    link_in,
    portrait,
    press,
    text_of,
    wait_until,
)
from tests.factories import PASSWORD

WORDS = {
    "en": {
        "locale": "en-GB", "join": "Join Newco en", "set_up": "Set up a mail server in two steps",
        "connect": "Connected to us", "login": "Logged in", "failed": "failed here", "delivered": "Delivered",
        "checked": "What we checked", "good": "Good gateway",
    },
    "de": {
        "locale": "de-DE", "join": "Newco de", "set_up": "Einen Mailserver in zwei Schritten einrichten",
        "connect": "Mit uns verbunden", "login": "Angemeldet", "failed": "hier gescheitert",
        "delivered": "Zugestellt", "checked": "Was wir geprüft haben", "good": "Good-Gateway",
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", ["en", "de"])
def test_from_the_desk_to_the_first_mail(language: str, people: People, stage: Stage) -> None:
    words, slug = WORDS[language], f"newco-{language}"
    invite(people.enter("sam@smg.example"), slug, language)
    nina = people.stranger(words["locale"])
    join(nina, stage, slug, words, language)
    prove_domain(nina, stage, f"{slug}.example")
    login, secret = make_login(nina)
    follow_the_first_mail(nina, stage, slug, login, secret, words)
    read_its_story(nina, stage, words)


def invite(sam: Any, slug: str, language: str) -> None:
    """Support makes the customer in the administration and sends the registration mail from its page."""
    sam.goto("/support/customers/")
    press(sam, "a[href='/admin/gateway/customer/add/']")
    sam.locator("[name=name]").fill(slug.replace("-", " ").capitalize())
    sam.locator("[name=slug]").fill(slug)
    sam.locator("[name=alert_email]").fill(f"ops@{slug}.example")
    sam.locator("[name=language]").select_option(language)
    press(sam, "[name=_save]")
    sam.wait_for_url("**/admin/gateway/customer/")
    sam.goto(f"/support/customers/?q={slug}")
    press(sam, "tbody a")
    sam.locator("[name=email]").fill(f"nina@{slug}.example")
    press(sam, "form[action$='/invite/'] button")
    sam.locator("[role=status], .note.good").first.wait_for()


def join(nina: Any, stage: Stage, slug: str, words: dict[str, str], language: str) -> None:
    """The registration mail went the gateway's own way; its link works once, and she chooses her password."""
    mail = wait_until(lambda: invitation(stage, slug), "the invitation")
    link = link_in(mail, r"http://\S+/invitations/\S+")
    nina.goto(link)
    assert words["join"] in nina.locator("h1").inner_text()
    assert nina.locator("html").get_attribute("lang") == language
    nina.locator("[name=password]").fill(PASSWORD)
    nina.locator("[name=again]").fill(PASSWORD)
    press(nina, "form button.primary")
    nina.wait_for_url(stage.portal.url + "/")
    assert nina.locator("html").get_attribute("lang") == language
    assert nina.request.get(link).status == 404


def invitation(stage: Stage, slug: str) -> Any:
    return next((mail for mail in stage.servers[INBOX].messages if f"nina@{slug}" in str(mail.rcpts)), None)


def prove_domain(nina: Any, stage: Stage, domain: str) -> None:
    """From the wizard: add the domain, publish what the page shows, check."""
    nina.goto("/setup/")
    press(nina, "main a[href='/domains/add/']")
    nina.locator("[name=name]").fill(domain.capitalize())
    press(nina, "main form button.primary")
    nina.wait_for_url(f"**/domains/{domain}/")
    assert nina.locator("#ownership .chip.bad, #ownership .chip.warn").count() == 1
    for record in ("ownership", "spf"):
        values = nina.locator(f"#{record} code")
        stage.dns.add(values.nth(0).inner_text(), "TXT", values.nth(1).inner_text())
    if domain == "newco-en.example":
        portrait(nina, "first-mail-records")
    check_until(nina, "#ownership .chip.good")
    assert nina.locator("#spf .chip.good").count() == 1


def make_login(nina: Any) -> tuple[str, str]:
    """The secret stands on the page once, and in the configurations to paste."""
    nina.goto("/setup/")
    press(nina, "main a[href='/access/add/']")
    press(nina, "main form button.primary")
    secret = nina.locator(".secret code").inner_text()
    login = nina.locator("main .card code").first.inner_text()
    assert axe_problems(nina) == []
    press(nina, "main a.button.primary[href^='/setup/']")
    nina.wait_for_url("**/setup/**")
    assert secret not in nina.content()
    assert login in nina.locator("details pre, details code").first.inner_text()
    again = nina.request.get(nina.locator("dd a[href^='/access/']").get_attribute("href")).text()
    assert login in again
    assert secret not in again
    return login, secret


def follow_the_first_mail(
    nina: Any, stage: Stage, slug: str, login: str, secret: str, words: dict[str, str]
) -> None:
    """The page follows her server live: first a wrong secret, then the right one."""
    assert nina.locator("h1").inner_text() == words["set_up"]
    live = nina.locator("[hx-get$='/setup/live/']")
    assert words["connect"] in live.locator("li.now").inner_text()
    stage.relay_knows()
    letter = (f"nina@{slug}.example", ["dora@partner.example"], f"Hello from {slug}", "Our first mail.")
    assert stage.send(login, "not the secret", *letter).startswith("535 5.7.8")
    live.locator("li.bad").wait_for()
    failed = live.locator("li.bad").inner_text()
    assert words["login"] in failed
    assert words["failed"] in failed
    assert "535" in failed
    assert stage.send(login, secret, *letter) == ""
    live.locator("a.button.primary").wait_for()
    assert live.locator("li.done").count() == 6
    assert words["delivered"] in live.locator("li.done").last.inner_text()
    assert axe_problems(nina) == []
    if slug == "newco-en":
        portrait(nina, "first-mail-followed")


def read_its_story(nina: Any, stage: Stage, words: dict[str, str]) -> None:
    """The message's page: each check, the gateway, the encryption, the other side's answer."""
    arrived = stage.mail_at(PARTNER, "Hello from")
    assert arrived.encrypted
    assert arrived.helo == "good1.smg.example"
    press(nina, "[hx-get$='/setup/live/'] a.button.primary")
    nina.wait_for_url(re.compile(r"/messages/[^/]+/$"))
    told = text_of(nina)
    for words_or_fact in (words["checked"], words["good"], words["delivered"], "250 2.0.0 taken", "TLSv1.3"):
        assert words_or_fact in told
    assert nina.locator(".timeline.compact .mark.good").count() >= 4
    assert nina.locator(".timeline .mark.bad").count() == 0
    assert axe_problems(nina) == []
