"""A new customer from the invitation to the first delivered and signed mail, through the real relay, in both languages:
a running relay, a running portal, a DNS server and a next hop, and a person at a browser."""

from __future__ import annotations

import re
import smtplib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dkim
import pytest
from aiosmtpd.controller import Controller

from gateway.sign import dns_record
from tests.dns_server import DnsServer
from tests.e2e.conftest import axe_problems, picture
from tests.factories import PASSWORD
from tests.relay_harness import ROOT, Relays, RunningRelay
from tests.services import free_port

WORDS = {
    "en": {
        "button": "English",
        "waiting": "Connected to us",
        "wrong": "Logged in",
        "bounced": "The recipient does not exist",
    },
    "de": {
        "button": "Deutsch",
        "waiting": "Mit uns verbunden",
        "wrong": "Angemeldet",
        "bounced": "Den Empfänger gibt es nicht",
    },
}  # fmt: skip
INVITE = """
from gateway.control import customers
from portal import team
customer = customers.create(actor="support", slug="newco", name="Newco", language="{language}")
team.invite(customer, "nina@newco.example", "owner", actor="support@smg.example", link="{link}")
"""
APPROVE = """
from gateway.control import dkim
from gateway.models import DkimKey
key = DkimKey.objects.get(state="requested")
dkim.approve(key, actor="support@smg.example")
print(key.public_key)
"""


class Hop:
    """The next server: keeps what it takes, and knows nobody called nobody."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.controller = Controller(self, hostname="127.0.0.1", port=free_port())

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody@"):
            return "550 5.1.1 User unknown"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append(envelope.content)
        return "250 2.0.0 taken"

    def wait(self, number: int) -> bytes:
        """The last mail, once so many have come."""
        wait_for(lambda: len(self.mails) >= number, f"{number} mails")
        return self.mails[-1]


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 30) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.1)


@pytest.fixture
def hop() -> Iterator[Hop]:
    hop = Hop()
    hop.controller.start()
    yield hop
    hop.controller.stop()


@pytest.fixture
def dns(dns_server: DnsServer) -> DnsServer:
    dns_server.mail_domain("newco.example")
    dns_server.add("newco.example", "TXT", "v=spf1 mx -all")
    dns_server.add("spf.smtp.smg.example", "A", "192.0.2.1")
    for domain in ("acme.example", "smtp.smg.example", "secure.example"):
        dns_server.mail_domain(domain)
    return dns_server


@pytest.fixture
def relay(tmp_path: Path, dns: DnsServer, hop: Hop) -> Iterator[RunningRelay]:
    relays = Relays(tmp_path)
    port = free_port()
    settings = {"SMG_PUBLIC_URL": f"http://127.0.0.1:{port}", "SMG_RELAY_PROCESSES": "1"}
    yield relays.start(dns.endpoint, hop.controller.port, hop.controller.port, **settings)
    relays.stop_all()


@pytest.fixture
def portal(relay: RunningRelay, tmp_path: Path) -> Iterator[str]:
    """The portal on the relay's database; its address."""
    url = relay.env["SMG_PUBLIC_URL"]
    command = [sys.executable, "manage.py", "runserver", "--noreload", url.removeprefix("http://")]
    with (tmp_path / "portal.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=relay.env, stdout=log, stderr=log)
        try:
            wait_for(lambda: answers(url + "/accounts/login/"), "the portal")
            yield url
        finally:
            process.terminate()
            process.wait(timeout=10)


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=5).status == 200)  # noqa: S310 - our own address
    except (urllib.error.URLError, OSError):
        return False


def send(relay: RunningRelay, login: str, secret: str, recipient: str) -> None:
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=30) as smtp:
        smtp.starttls()
        smtp.login(login, secret)
        text = f"From: nina@newco.example\r\nTo: {recipient}\r\nSubject: The first mail\r\n\r\nIt works.\r\n"
        smtp.sendmail("nina@newco.example", [recipient], text)


def reload_until(page: Any, selector: str, timeout_s: float = 30) -> None:
    """Until the page shows it, reloading as a person would."""
    end = time.monotonic() + timeout_s
    while not page.locator(selector).count():
        assert time.monotonic() < end, f"{selector} did not appear on {page.url}"
        page.wait_for_timeout(500)
        page.reload()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("language", ["en", "de"])
def test_from_invitation_to_signed_mail(
    language: str, page: Any, portal: str, relay: RunningRelay, hop: Hop, dns: DnsServer, quiet: list[str]
) -> None:
    words = WORDS[language]
    join(page, portal, relay, hop, words, language)
    prove_domain(page, portal, dns)
    login, secret = make_login(page, portal)
    follow_first_mail(page, relay, hop, login, secret, words)
    ask_for_dkim(page, portal, relay, dns)
    send(relay, login, secret, "dora@partner.example")
    assert signed(hop.wait(3), dns)
    send(relay, login, secret, "nobody@partner.example")
    understand_bounce(page, portal, words)
    force_tls(page, portal)
    send(relay, login, secret, "erik@secure.example")
    understand_failed_tls(page, portal)


def join(page: Any, portal: str, relay: RunningRelay, hop: Hop, words: dict[str, str], language: str) -> None:
    """The invitation leaves through the gateway itself; its link is opened, a password chosen."""
    link = portal + "/invitations/{token}/"
    relay.manage("shell", "-c", INVITE.format(language=language, link=link))
    mail = hop.wait(1).decode()
    found = re.search(r"http://\S+/invitations/\S+", mail.replace("=\r\n", ""))
    assert found, mail
    page.goto(found.group())
    page.get_by_role("button", name=words["button"]).click()
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("[name=again]").fill(PASSWORD)
    page.locator("main form button").first.click()
    page.wait_for_url(portal + "/")
    assert page.locator("html").get_attribute("lang") == language


def prove_domain(page: Any, portal: str, dns: DnsServer) -> None:
    """Add the domain, publish what the page shows, check."""
    page.goto(portal + "/domains/add/")
    page.locator("[name=name]").fill("Newco.example")
    page.locator("main form button").first.click()
    page.wait_for_url("**/domains/newco.example/")
    assert page.locator("#spf .chip.bad").count() == 1
    picture(page, "first-mail-domain")
    boxes = page.locator("#ownership code")
    dns.add(boxes.nth(0).inner_text(), "TXT", boxes.nth(1).inner_text())
    dns.remove("newco.example", "TXT")
    dns.add("newco.example", "TXT", page.locator("#spf code").nth(1).inner_text())
    page.wait_for_timeout(5500)
    page.locator("form[action$='/check/'] button").click()
    assert page.locator("#ownership .chip.good").count() == 1
    assert page.locator("#spf .chip.good").count() == 1


def make_login(page: Any, portal: str) -> tuple[str, str]:
    """The secret stands on the page once."""
    page.goto(portal + "/access/add/")
    page.locator("main form button").first.click()
    login, secret = (
        page.locator("main .card code").nth(0).inner_text(),
        page.locator(".secret code").inner_text(),
    )
    assert axe_problems(page) == []
    page.goto(portal + "/access/")
    assert secret not in page.content()
    return login, secret


def follow_first_mail(
    page: Any, relay: RunningRelay, hop: Hop, login: str, secret: str, words: dict[str, str]
) -> None:
    """The page follows the server live: first a wrong secret, then the right one."""
    page.goto(page.url.replace("/access/", "/setup/"))
    live = page.locator("[hx-get$='/setup/live/']")
    assert words["waiting"] in live.locator("li.now").inner_text()
    page.wait_for_timeout(2500)  # the relay learns within a second that it is watched
    with pytest.raises(smtplib.SMTPAuthenticationError):
        send(relay, login, "not the secret", "dora@partner.example")
    live.locator("li.bad").wait_for(timeout=15_000)
    assert words["wrong"] in live.locator("li.bad").inner_text()
    picture(page, "setup-failed")
    send(relay, login, secret, "dora@partner.example")
    live.locator("a.button.primary").wait_for(timeout=20_000)
    assert live.locator("li.done").count() == 6
    picture(page, "setup-done")
    assert b"It works." in hop.wait(2)
    live.locator("a.button.primary").click()
    page.wait_for_url("**/messages/*/")
    assert page.locator(".timeline .mark.good").count() > 5
    assert axe_problems(page) == []


def ask_for_dkim(page: Any, portal: str, relay: RunningRelay, dns: DnsServer) -> None:
    """Requested by the customer, made by support, published, seen, switched on."""
    page.goto(portal + "/domains/newco.example/dkim/")
    page.locator("main form button").first.click()
    page.wait_for_url("**/domains/newco.example/")
    public = relay.manage("shell", "-c", APPROVE).strip().splitlines()[-1]
    dns.add("smg1._domainkey.newco.example", "TXT", dns_record(public))
    page.wait_for_timeout(5500)
    page.locator("form[action$='/check/'] button").click()
    assert page.locator("#dkimsmg1 .chip.good").count() == 1
    page.wait_for_timeout(2000)  # the relay's next look at the policy


def signed(mail: bytes, dns: DnsServer) -> bool:
    """dkimpy finds the key where a receiver would."""

    def lookup(name: bytes, timeout: int = 5) -> bytes:
        texts = dns._records[name.decode().rstrip("."), "TXT"]
        return "".join(re.findall(r'"([^"]*)"', texts[0])).encode()

    return bool(dkim.verify(mail, dnsfunc=lookup))


def understand_bounce(page: Any, portal: str, words: dict[str, str]) -> None:
    """The report says in plain words what happened and who must act."""
    page.goto(portal + "/ndr/")
    reload_until(page, "tbody a")
    assert words["bounced"] in page.locator("main").inner_text()
    page.locator("a[href*='/ndr/']", has_text="nobody@partner.example").click()
    page.wait_for_url(re.compile(r"/ndr/\d+/"))
    assert page.locator(".path .acts").count() == 1
    assert "550 5.1.1" in page.locator("main").inner_text()


def force_tls(page: Any, portal: str) -> None:
    """A rule for a partner whose server cannot encrypt: the test says so, the customer wants it all the same."""
    page.goto(portal + "/tls/add/")
    page.locator("[name=recipient_domain]").fill("Secure.example")
    page.locator("[name=level][value=verify]").check()
    page.locator("[name=on_failure][value=reject]").check()
    page.locator("button[name=test]").click()
    assert page.locator("main .chip.bad, main .chip.warn").count() > 0
    picture(page, "tls-tested")
    page.locator("button[name=save]").click()
    page.wait_for_url("**/tls/")
    page.wait_for_timeout(2000)  # the relay's next look at the policy


def understand_failed_tls(page: Any, portal: str) -> None:
    """The message was not sent in clear text; its page says why."""
    page.goto(portal + "/messages/?recipient=erik@secure.example")
    reload_until(page, "tbody .chip.bad")
    page.locator("tbody a").first.click()
    page.wait_for_url("**/messages/*/")
    assert page.locator(".timeline .mark.bad").count() == 1
    assert "TLS" in page.locator(".timeline details[open]").inner_text()
