"""All pages of support and of integrations in a real browser: no CSP message, no request elsewhere, axe finds nothing,
nothing sticks out at 400 pixels. SMG_TEST_SCREENSHOTS=directory keeps what they look like."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from gateway.control import gateways
from gateway.models import FeatureVector, Gateway, Worker
from portal.models import User
from tests import factories
from tests.portal.api.conftest import World, make_world

pytestmark = pytest.mark.django_db(transaction=True)
SHOTS = os.environ.get("SMG_TEST_SCREENSHOTS", "")
SUPPORT = [
    "",
    "requests/",
    "requests/{support-requests}/",
    "customers/",
    "customers/{customer}/",
    "customers/{customer}/suspend/",
    "messages/",
    "messages/?q=acme.example",
    "messages/{messages}/",
    "messages/{messages}/break-glass/",
    "queue/",
    "queue/?destination=friend-of-acme.example",
    "queue/cancel/?destination=friend-of-acme.example",
    "gateways/",
    "gateways/{gateway}/drain/",
    "backtest/?customer={customer}",
    "backtest/?suspect=20&spam=60&customer={customer}",
    "ndr/",
    "system/",
]
CUSTOMER = [
    "/api-access/",
    "/api-access/tokens/add/",
    "/api-access/tokens/{tokens}/revoke/",
    "/api-access/webhooks/add/",
    "/api-access/webhooks/{webhooks}/",
    "/api-access/webhooks/{webhooks}/remove/",
    "/api-access/deliveries/{webhook-deliveries}/",
    "/tickets/requests/",
    "/tickets/requests/add/",
    "/tickets/requests/{support-requests}/",
    "/tickets/requests/consent/",
]
WIDEST = """[...document.querySelectorAll("main *")].filter(one => one.getBoundingClientRect().right > innerWidth + 1
    && !one.closest(".scroll")).slice(0, 5).map(one => one.outerHTML.slice(0, 90))"""
CUT = """[...document.querySelectorAll("main .scroll")].filter(one => one.scrollWidth > one.clientWidth)
    .map(one => one.querySelector("caption").innerText)"""
STAFF_ONLY = [*(f"/support/{path}" for path in SUPPORT)]


@pytest.fixture
def world(transactional_db: None) -> World:
    made = make_world("acme", "alice", 1)
    gateway = gateways.create(
        actor="test", name="mta01", pool="good", hostname="mta01.smg.example", source_ip="198.51.100.9"
    )
    made.ids |= {"customer": str(made.customer.pk), "gateway": str(gateway.pk)}
    gateways.create(actor="test", name="mta03", pool="bad", hostname="mta03.smg.example")
    now = timezone.now()
    Worker.objects.create(
        owner="n:1", node="n", pid=1, slot=0, started_at=now, seen_at=now, degraded={"clamd": "no answer"}
    )
    assert Gateway.objects.count() == 2
    judged = [factories.make_message(made.customer, score=score) for score in (5, 21, 30, 60)]
    FeatureVector.objects.bulk_create(
        FeatureVector(message=row, customer=made.customer, at=row.received_at, score=row.score, vector=b"")
        for row in judged
    )
    return made


@pytest.fixture
def complaints(page: Any, live_server: Any) -> Iterator[list[str]]:
    """What a page does that it must not: requests elsewhere, console errors."""
    found: list[str] = []
    page.on(
        "request",
        lambda one: None if one.url.startswith((live_server.url, "data:")) else found.append(one.url),
    )
    page.on("console", lambda one: found.append(one.text) if one.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    yield found
    assert not found


def log_in(page: Any, live_server: Any, user: User) -> None:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    cookie = {
        "name": settings.SESSION_COOKIE_NAME,
        "value": client.cookies[settings.SESSION_COOKIE_NAME].value,
    }
    page.context.add_cookies([{**cookie, "url": live_server.url}])


def visit(page: Any, live_server: Any, paths: list[str], world: World) -> None:
    from axe_playwright_python.sync_playwright import Axe

    for number, path in enumerate(paths):
        address = live_server.url + path.format(**world.ids)
        page.set_viewport_size({"width": 1280, "height": 800})
        assert page.goto(address).status == 200, path
        found = Axe().run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
        assert page.evaluate(CUT) == [], path
        shoot(page, path, number, "")
        page.set_viewport_size({"width": 400, "height": 800})
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{path} sticks out by {wider} pixels: {page.evaluate(WIDEST)}"
        shoot(page, path, number, "-small")


def shoot(page: Any, path: str, number: int, size: str) -> None:
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        name = path.strip("/").split("?")[0].replace("/", "_").replace("{", "").replace("}", "") or "desk"
        page.screenshot(path=f"{SHOTS}/{number:02}-{name}{size}.png", full_page=True)


@pytest.mark.parametrize("language", ["en", "de"])
def test_supports_pages(
    page: Any, live_server: Any, world: World, complaints: list[str], language: str
) -> None:
    log_in(page, live_server, User.objects.create_user("sam@smg.example", is_staff=True, language=language))
    visit(page, live_server, STAFF_ONLY, world)


def test_the_customers_pages(page: Any, live_server: Any, world: World, complaints: list[str]) -> None:
    log_in(page, live_server, world.owner)
    visit(page, live_server, CUSTOMER, world)


def test_pages_in_the_dark(page: Any, live_server: Any, world: World, complaints: list[str]) -> None:
    log_in(page, live_server, User.objects.create_user("sam@smg.example", is_staff=True, theme="dark"))
    visit(page, live_server, ["/support/", "/support/customers/{customer}/", "/support/gateways/"], world)


def test_the_api_documentation_is_drawn(page: Any, live_server: Any, complaints: list[str]) -> None:
    page.goto(live_server.url + "/api/v1/docs/")
    page.wait_for_selector(".opblock-tag")
    assert page.locator(".opblock").count() > 80
    shoot(page, "api-docs", 99, "")


def test_the_admin_works(page: Any, live_server: Any, world: World, complaints: list[str]) -> None:
    """Support's handling of one DKIM wish and one suspension, with nothing but the mouse."""
    from playwright.sync_api import expect

    log_in(page, live_server, User.objects.create_user("sam@smg.example", is_staff=True))
    page.goto(f"{live_server.url}/admin/gateway/dkimkey/{world.ids['dkim-keys']}/change/")
    page.click("text=Approve: make the key")
    page.click("input[name=apply]")
    expect(page.locator(".success")).to_contain_text("Done for one entry")
    page.goto(f"{live_server.url}/admin/gateway/customer/{world.customer.pk}/change/")
    page.click("button:has-text('Suspend')")
    page.fill("input[name=reason]", "spam wave")
    shoot(page, "admin-suspend", 98, "")
    page.click("input[name=apply]")
    expect(page.locator(".success")).to_contain_text("Done for one entry")
    world.customer.refresh_from_db()
    assert world.customer.suspended_reason == "spam wave"
