"""DKIM from the wish to the signed mail: requested by the customer, made by support, published, seen, in use."""

from __future__ import annotations

import re
from typing import Any

import dkim
import pytest

from tests.dns_server import DnsServer
from tests.e2e.conftest import axe_problems
from tests.e2e.journeys.stage import PARTNER, People, Stage, check_until, portrait, press, text_of
from tests.relay_harness import SECRET

DOMAIN = "acme.example"
LETTER = ("alice@acme.example", ["dora@partner.example"])


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_from_the_wish_to_the_signed_mail(people: People, stage: Stage) -> None:
    assert stage.send("acme-web", SECRET, *LETTER, "Before the key", "Unsigned.") == ""
    assert b"DKIM-Signature" not in stage.mail_at(PARTNER, "Before the key").body
    alice, sam = people.enter("alice@acme.example"), people.enter("sam@smg.example")
    ask(alice)
    approve(sam)
    selector = publish(alice, stage)
    stage.relay_knows()
    assert stage.send("acme-web", SECRET, *LETTER, "With the key", "Signed.") == ""
    mail = stage.mail_at(PARTNER, "With the key").body
    assert f"s={selector};".encode() in mail
    assert dkim.verify(mail, dnsfunc=asker(stage.dns))
    assert not dkim.verify(mail.replace(b"Signed.", b"Forged."), dnsfunc=asker(stage.dns))
    read_of_the_signature(alice, selector)


def ask(alice: Any) -> None:
    alice.goto(f"/domains/{DOMAIN}/")
    press(alice, f"a[href='/domains/{DOMAIN}/dkim/']")
    alice.locator("[name=note]").fill("For our newsletters")
    press(alice, "main form button.primary")
    alice.wait_for_url(f"**/domains/{DOMAIN}/")
    assert "Requested" in alice.locator("table tbody").last.inner_text()


def approve(sam: Any) -> None:
    """The wish lies on the desk with its deadline; the key is made with two clicks and never shown."""
    sam.goto("/support/")
    task = sam.locator("tbody tr", has_text="DKIM request")
    assert DOMAIN in task.inner_text()
    task.locator("a").first.click()
    assert "For our newsletters" in sam.locator("#content").inner_text()
    sam.get_by_role("button", name="Approve: make the key").click()
    press(sam, "[name=apply]")
    sam.locator(".success", has_text="Done for one entry").wait_for()
    assert "PRIVATE KEY" not in sam.content()
    sam.goto("/support/")
    assert sam.locator("tbody tr", has_text="DKIM request").count() == 0


def publish(alice: Any, stage: Stage) -> str:
    """A record that says something else is named as such; the right one switches the key on. Returns the selector."""
    alice.goto(f"/domains/{DOMAIN}/")
    check_until(alice, "[id^=dkim] code")
    card = alice.locator("[id^=dkim]", has=alice.locator("code"))
    assert card.locator(".chip.bad").count() == 1
    name, value = (card.locator("code").nth(place).inner_text() for place in (0, 1))
    stage.dns.add(name, "TXT", "v=DKIM1; k=rsa; p=AAAA")
    check_until(alice, "[id^=dkim] .chip.bad", has_text="Differs")
    portrait(alice, "dkim-differs")
    assert axe_problems(alice) == []
    stage.dns.remove(name, "TXT")
    stage.dns.add(name, "TXT", quoted(value))
    check_until(alice, "[id^=dkim] .chip.good")
    assert "Signing" in alice.locator("table tbody").last.inner_text()
    return name.partition(".")[0]


def quoted(value: str) -> str:
    """As in a zone file: strings of 255 characters at most."""
    if value.startswith('"'):
        return value
    return " ".join(f'"{value[start : start + 255]}"' for start in range(0, len(value), 255))


def read_of_the_signature(alice: Any, selector: str) -> None:
    """The message's page says which key signed it; the one before says nothing of a key."""
    for subject, is_signed in (("With the key", True), ("Before the key", False)):
        alice.goto("/messages/")
        press(alice, f"tbody a:has-text('{subject}')")
        alice.wait_for_url(re.compile(r"/messages/[^/]+/$"))
        assert (f"Signed as {selector}._domainkey.{DOMAIN}." in text_of(alice)) is is_signed


def asker(dns: DnsServer) -> Any:
    """Finds the key where a receiver would: in the test's DNS."""

    def lookup(name: bytes, timeout: int = 5) -> bytes:
        texts = dns._records[name.decode().rstrip("."), "TXT"]
        return "".join(re.findall(r'"([^"]*)"', texts[0])).encode()

    return lookup
