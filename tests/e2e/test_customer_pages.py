"""All pages of the customer in a real browser, with the demo's days of mail: light and dark, wide and 400 px, English
and German, with and without JavaScript. SMG_TEST_SCREENSHOTS=docs/img makes the manual's pictures."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from gateway.control import domain_checks
from gateway.demo_dns import demo_dns
from gateway.dns import Resolver
from gateway.models import Customer, Message, NdrReport, Recipient, Refusal
from portal.demo import letters
from portal.demo.cast import make_cast
from portal.demo.traffic import Traffic
from portal.models import User
from tests import factories
from tests.e2e.conftest import STICKS_OUT, axe_problems, picture, run_elsewhere

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def alice(monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> User:
    """ACME with the demo's mail; the relay is alive."""
    monkeypatch.setattr(domain_checks, "make_resolver", lambda: Resolver((), static=demo_dns()))
    monkeypatch.setattr(domain_checks, "asyncio", SimpleNamespace(run=run_elsewhere))
    make_cast()
    Traffic(Customer.objects.get(slug="acme"), timezone.now(), letters.ACME).make()
    factories.make_worker()
    return User.objects.get(email="alice@acme.example")


def addresses() -> dict[str, str]:
    """Name of the picture -> address."""
    bounced = Recipient.objects.filter(state="bounced").latest("id").message
    spam = Message.objects.filter(category="spam").latest("id")
    held = Recipient.objects.get(state="held").message
    login = Customer.objects.get(slug="acme").credentials.get(username="acme-web")
    return {
        "overview": "/", "messages": "/messages/", "message": reverse("message", args=[bounced.text_id]),
        "message-spam": reverse("message", args=[spam.text_id]),
        "message-held": reverse("message", args=[held.text_id]),
        "message-cancel": reverse("message_cancel", args=[held.text_id]),
        "refusals": "/refusals/", "refusal": reverse("refusal", args=[Refusal.objects.latest("id").pk]),
        "statistics": "/statistics/", "explain": "/explain/", "ndr": "/ndr/",
        "ndr-detail": reverse("ndr_detail", args=[NdrReport.objects.latest("id").pk]), "suppressions": "/suppressions/",
        "domains": "/domains/", "domain": "/domains/acme-shop.example/", "domain-good": "/domains/acme.example/",
        "domain-add": "/domains/add/", "dkim": "/domains/acme.example/dkim/", "tls": "/tls/", "tls-add": "/tls/add/",
        "tls-test": "/tls/test/", "access": "/access/", "login": reverse("credential", args=[login.pk]),
        "login-add": "/access/add/", "login-revoke": reverse("credential_revoke", args=[login.pk]), "setup": "/setup/",
        "settings": "/settings/", "team": "/team/", "activity": "/activity/", "security": "/settings/security/",
        "help": "/help/", "help-page": "/help/dns/", "codes": "/help/codes/",
        "code": "/help/codes/?q=550+5.1.1+User+unknown",
        "totp": "/accounts/2fa/totp/activate/", "sessions": "/accounts/sessions/",
        "password": "/accounts/password/change/",
        "not-found": "/messages/nonsense/",
    }  # fmt: skip


def look_at_all(page: Any, base: str, suffix: str) -> list[str]:
    """Problems of all pages, with the page's name."""
    problems: list[str] = []
    for name, path in addresses().items():
        page.goto(base + path)
        picture(page, name + suffix)
        problems += [f"{name}: {problem}" for problem in axe_problems(page) + page.evaluate(STICKS_OUT)]
    return problems


def not_found_is_meant(quiet: list[str]) -> None:
    quiet[:] = [text for text in quiet if "404" not in text]


def test_wide_and_light(
    page: Any, live_server: Any, alice: User, log_in: Callable[[User], None], quiet: list[str]
) -> None:
    log_in(alice)
    assert look_at_all(page, live_server.url, "") == []
    not_found_is_meant(quiet)


def test_narrow_dark_and_german(
    page: Any, live_server: Any, alice: User, log_in: Callable[[User], None], quiet: list[str]
) -> None:
    User.objects.filter(pk=alice.pk).update(language="de", theme="dark")
    page.set_viewport_size({"width": 400, "height": 800})
    log_in(alice)
    assert look_at_all(page, live_server.url, "-narrow-dark") == []
    not_found_is_meant(quiet)


def test_the_log_in(page: Any, live_server: Any, alice: User, quiet: list[str]) -> None:
    alice.set_password("correct horse battery")
    alice.save()
    page.goto(live_server.url + "/messages/")
    assert axe_problems(page) == []
    picture(page, "log-in")
    page.get_by_label("Email").fill("alice@acme.example")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in", exact=True).click()
    assert page.url == live_server.url + "/messages/"


def test_the_menu_on_a_telephone(
    page: Any, live_server: Any, alice: User, log_in: Callable[[User], None], quiet: list[str]
) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    log_in(alice)
    page.goto(live_server.url)
    page.get_by_role("link", name="Menu", exact=True).click()
    assert axe_problems(page) == []
    page.get_by_role("link", name="Domains", exact=True).click()
    assert page.url == live_server.url + "/domains/"


def test_the_keyboard(
    page: Any, live_server: Any, alice: User, log_in: Callable[[User], None], quiet: list[str]
) -> None:
    log_in(alice)
    page.goto(live_server.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("g")
    page.keyboard.press("m")
    page.wait_for_url("**/messages/")
    page.keyboard.press("?")
    page.wait_for_url("**/help/")


def test_copying_says_so(
    page: Any, live_server: Any, alice: User, log_in: Callable[[User], None], quiet: list[str]
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    log_in(alice)
    page.goto(live_server.url + "/domains/acme-shop.example/")
    button = page.locator("[data-copy]").first
    button.click()
    button.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "_smg-challenge.acme-shop.example"


def test_without_javascript(
    browser: Any, live_server: Any, alice: User, log_in: Callable[[User], None], page: Any
) -> None:
    log_in(alice)
    context = browser.new_context(java_script_enabled=False, storage_state=page.context.storage_state())
    plain = context.new_page()
    plain.goto(live_server.url + "/messages/")
    plain.get_by_label("State").select_option("bounced")
    plain.get_by_role("button", name="Search").click()
    assert "status=bounced" in plain.url
    plain.get_by_role("link").filter(has_text="Invoice").or_(plain.locator("tbody a")).first.click()
    plain.get_by_text("The recipient").first.wait_for(state="visible")
    plain.goto(live_server.url + "/domains/acme-shop.example/")
    plain.get_by_role("button", name="Check now").click()
    plain.get_by_role("status").wait_for(state="visible")
    context.close()
