"""What the journeys play on: a relay and a portal on one database, a DNS server, other people's mail servers, and
browsers of the people in the story.

All waiting is for conditions. `Stage.relay_knows()` waits until the relay works with everything configured so far.
"""

from __future__ import annotations

import asyncio
import email
import re
import smtplib
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from email.policy import default as modern
from typing import Any, Self

from tests.dns_server import DnsServer
from tests.e2e.conftest import SHOTS, picture
from tests.factories import PASSWORD
from tests.fake_next_hop import FakeNextHop, Received
from tests.relay_harness import RunningPortal, RunningRelay, decoded

PATIENCE_S = 60.0  # a busy machine is slow, not broken
INBOX, PARTNER, BANK, SLOW = "127.0.0.21", "127.0.0.22", "127.0.0.23", "127.0.0.24"


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """The condition's first true value."""
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.1)
    return found


class Servers:
    """Other people's mail servers, on one port of several loopback addresses, in a thread of their own: Playwright
    keeps a loop in the test's."""

    def __init__(self, port: int, tls: ssl.SSLContext, addresses: Sequence[str]) -> None:
        self.port = port
        self.tls = tls
        self.hops = {address: FakeNextHop(host=address, port=port, tls=tls) for address in addresses}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mail-servers", daemon=True)
        self._stack = AsyncExitStack()

    def __getitem__(self, address: str) -> FakeNextHop:
        return self.hops[address]

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def hang_up(self, address: str) -> None:
        """Close the idle connections, so that the next mail meets the server as it is now."""
        self._run(self.hops[address].drop_all())

    async def _open(self) -> None:
        for hop in self.hops.values():
            await self._stack.enter_async_context(hop)

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)


@dataclass
class Stage:
    relay: RunningRelay
    portal: RunningPortal
    dns: DnsServer
    servers: Servers

    def mail_at(self, address: str, subject: str) -> Received:
        """The mail with that subject which arrived at a server."""
        return wait_until(lambda: self._arrived(address, subject), f"{subject!r} at {address}")  # type: ignore[no-any-return]

    def has_mail(self, address: str, subject: str) -> bool:
        return self._arrived(address, subject) is not None

    def _arrived(self, address: str, subject: str) -> Received | None:
        rows = reversed(self.servers[address].messages)
        return next((row for row in rows if subject in str(parsed(row)["Subject"])), None)

    def relay_knows(self) -> None:
        """Until every relay process works with the policy as it is in the database now."""
        ((wanted,),) = self.relay.query("SELECT version FROM gateway_policyversion")
        wait_until(lambda: self._known_version() >= wanted, f"policy version {wanted}")

    def _known_version(self) -> int:
        rows = self.relay.query("SELECT numbers FROM gateway_worker")
        return min((decoded(numbers).get("policy_version", 0) for (numbers,) in rows), default=0)

    def send(
        self, login: str, secret: str, sender: str, recipients: Sequence[str], subject: str, text: str
    ) -> str:
        """Hand over a mail as a customer's server does; '' or the reply it was refused with."""
        head = f"From: {sender}\r\nTo: {recipients[0]}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n"
        letter = f"{head}Content-Type: text/plain; charset=us-ascii\r\n\r\n{text}\r\n"
        try:
            with self.client(login, secret) as smtp:
                smtp.sendmail(sender, list(recipients), letter)
        except smtplib.SMTPResponseException as error:
            return f"{error.smtp_code} {error.smtp_error.decode()}"  # type: ignore[union-attr]
        except smtplib.SMTPRecipientsRefused as error:
            code, answer = next(iter(error.recipients.values()))
            return f"{code} {answer.decode()}"
        return ""

    def client(self, login: str, secret: str) -> smtplib.SMTP:
        smtp = smtplib.SMTP("127.0.0.1", self.relay.port, timeout=PATIENCE_S)
        smtp.ehlo("mail.customer.example")
        smtp.starttls(context=ssl._create_unverified_context())  # noqa: S323 - the relay's certificate is self-signed
        smtp.ehlo("mail.customer.example")
        smtp.login(login, secret)
        return smtp


@dataclass
class People:
    """Everybody's own browser, watched: no page may write to the console, throw, or ask another host."""

    browser: Any
    arguments: dict[str, Any]
    stage: Stage
    complaints: list[str] = field(default_factory=list)
    contexts: list[Any] = field(default_factory=list)

    def stranger(self, locale: str = "en-GB") -> Any:
        """A page of somebody who is not logged in."""
        context = self.browser.new_context(
            **self.arguments | {"locale": locale}, base_url=self.stage.portal.url
        )
        context.set_default_timeout(PATIENCE_S * 1000)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda one: self.complaints.append(str(one)))
        page.on("request", lambda one: self._request(one.url))
        return page

    def enter(self, address: str) -> Any:
        """The page of somebody who logged in with the form."""
        page = self.stranger()
        page.goto("/accounts/login/")
        page.locator("[name=login]").fill(address)
        page.locator("[name=password]").fill(PASSWORD)
        press(page, "main form button.primary")
        page.wait_for_url(lambda url: "/accounts/login" not in url)
        return page

    def leave(self) -> None:
        for context in self.contexts:
            context.close()

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _request(self, url: str) -> None:
        if not url.startswith((self.stage.portal.url, "data:")):
            self.complaints.append(url)


def press(page: Any, selector: str) -> None:
    """The first button or link that fits."""
    page.locator(selector).first.click()


def reload_until(page: Any, selector: str, **wanted: Any) -> Any:
    """The element, once the page shows it: reloading as a person would."""
    end = time.monotonic() + PATIENCE_S
    while not page.locator(selector, **wanted).count():
        assert time.monotonic() < end, f"{selector} {wanted} did not appear on {page.url}:\n{text_of(page)}"
        page.wait_for_timeout(300)
        page.reload()
    return page.locator(selector, **wanted).first


def check_until(page: Any, selector: str, **wanted: Any) -> None:
    """Press a domain's "check now" until its page shows it: two checks in five seconds are one too many."""

    def pressed() -> bool:
        press(page, "form[action$='/check/'] button")
        return bool(page.locator(selector, **wanted).count())

    if not page.locator(selector, **wanted).count():
        wait_until(pressed, f"{selector} {wanted}")


def portrait(page: Any, name: str) -> None:
    """A picture (SMG_TEST_SCREENSHOTS) in a window as high as the page, so that the side bar is as high as it."""
    if not SHOTS:
        return
    wide = page.viewport_size
    page.set_viewport_size(
        {"width": wide["width"], "height": page.evaluate("document.documentElement.scrollHeight")}
    )
    picture(page, name)
    page.set_viewport_size(wide)


def text_of(page: Any) -> str:
    return str(page.locator("main").inner_text())


def parsed(mail: Received) -> Any:
    return email.message_from_bytes(mail.body, policy=modern)


def link_in(mail: Received, pattern: str) -> str:
    """The first link in a mail's text that fits."""
    text = parsed(mail).get_body(("plain",)).get_content()
    found = re.search(pattern, text)
    assert found, text
    return found.group()
