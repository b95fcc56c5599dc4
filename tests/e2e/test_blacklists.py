"""One listing in a real browser: the customer reads it, support handles it from the first look to the end, the customer
reads the outcome. axe finds nothing, nothing is asked elsewhere; SMG_TEST_SCREENSHOTS=directory keeps the pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from blacklist.control import runs
from blacklist.models import DelistingTicket, Listing
from portal.models import User
from tests.blacklist.lab import Lab, add_list
from tests.factories import Cast, make_cast, make_domain, make_gateway

pytestmark = pytest.mark.django_db(transaction=True)
SHOTS = os.environ.get("SMG_TEST_SCREENSHOTS", "")
WIDEST = """[...document.querySelectorAll("main *")].filter(one => one.getBoundingClientRect().right > innerWidth + 1
    && !one.closest(".scroll")).slice(0, 5).map(one => one.outerHTML.slice(0, 90))"""
# Django's own admin markup is not ours to mend
ADMIN = {"exclude": [[".breadcrumbs"], ["#changelist-filter"], [".paginator"], ["#toolbar"], [".actions"]]}


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def cast(transactional_db: None, lab: Lab) -> Cast:
    made = make_cast()
    made.alice.language = "en"
    make_gateway("mta01", source_ip="192.0.2.10", hostname="mta01")
    make_gateway("mta02", source_ip="192.0.2.11", hostname="mta02")
    make_domain(made.acme, "acme.example")
    add_list(lab, "zen", severity="critical")
    add_list(
        lab, "nord", kind="domain", removal_method="email", removal_url_or_email="delist@nord.example",
        request_policy="e-mail, after a person has confirmed the fix",
    )  # fmt: skip
    add_list(lab, "flaky", kind="domain")
    lab.ways["flaky.lab"] = "silent"
    lab.put("zen.lab", "192.0.2.10", text="SBL4711")
    lab.put("nord.lab", "acme.example", "127.0.1.2", text="seen in spam")
    check(lab)
    return made


def check(lab: Lab) -> None:
    runs.start("daily", actor="system", options=lab.options())


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
    assert not found, found


def log_in(page: Any, live_server: Any, user: User) -> None:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    cookie = {
        "name": settings.SESSION_COOKIE_NAME,
        "value": client.cookies[settings.SESSION_COOKIE_NAME].value,
    }
    page.context.clear_cookies()
    page.context.add_cookies([{**cookie, "url": live_server.url}])


def looked_at(page: Any, complaints: list[str], name: str, options: dict[str, Any] | None = None) -> None:
    """axe, and a picture when somebody wants them."""
    from axe_playwright_python.sync_playwright import Axe

    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"blacklists-{name}.png"), full_page=True)
    before = len(complaints)
    results = Axe().run(page, context=options) if options else Axe().run(page)
    del complaints[before:]  # on admin pages axe itself tries inline styles, which the CSP forbids
    assert results.violations_count == 0, results.generate_report()


def test_the_customers_pages(page: Any, live_server: Any, cast: Cast, complaints: list[str]) -> None:
    log_in(page, live_server, cast.alice)
    listing = Listing.objects.get(target__value="acme.example")
    paths = {
        "matrix": reverse("blacklists"), "listing": reverse("listing", args=[listing.pk]), "alerts": reverse("alerts"),
        "tickets": reverse("tickets"), "ticket": reverse("ticket", args=[listing.ticket.pk]),
    }  # fmt: skip
    for name, path in paths.items():
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(live_server.url + path)
        looked_at(page, complaints, name)
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate(WIDEST) == [], path
    page.emulate_media(color_scheme="dark")
    page.goto(live_server.url + reverse("blacklists"))
    looked_at(page, complaints, "matrix-dark")


def expect(what: Any) -> Any:
    """Waits, unlike is_visible(); imported late, because playwright may be missing."""
    from playwright.sync_api import expect as expected

    return expected(what)


def test_the_runs_page(page: Any, live_server: Any, cast: Cast, complaints: list[str]) -> None:
    log_in(page, live_server, cast.sam)
    page.goto(live_server.url + reverse("blacklist_runs"))
    looked_at(page, complaints, "runs")
    page.get_by_role("link", name=re.compile(r"\d{4}-\d\d-\d\d")).first.click()
    expect(page.get_by_text("flaky").first).to_be_visible()
    looked_at(page, complaints, "run")


def test_one_listing_from_the_first_look_to_the_end(
    page: Any, live_server: Any, cast: Cast, lab: Lab, complaints: list[str], mailoutbox: list[Any]
) -> None:
    ticket = DelistingTicket.objects.get(listing__target__value="acme.example")
    log_in(page, live_server, cast.sam)
    page.goto(live_server.url + reverse("admin:blacklist_delistingticket_changelist"))
    looked_at(page, complaints, "desk", ADMIN)
    deadline = page.locator("th.column-deadline").bounding_box()
    assert deadline["x"] + deadline["width"] < page.locator("#changelist-filter").bounding_box()["x"]
    page.get_by_role("link", name=f"#{ticket.pk}", exact=True).click()
    expect(page.get_by_text("seen in spam").first).to_be_visible()
    looked_at(page, complaints, "ticket-new", ADMIN)

    def press(label: str) -> None:
        page.goto(live_server.url + reverse("admin:blacklist_delistingticket_change", args=[ticket.pk]))
        page.get_by_role("button", name=label, exact=True).click()

    press("Take it: I look for the cause")
    press("Ask the customer")
    page.get_by_label("Question to the customer").fill("Was a form on your site misused?")
    page.get_by_role("button", name="Ask the customer").click()

    log_in(page, live_server, cast.alice)
    page.goto(live_server.url + reverse("ticket", args=[ticket.pk]))
    expect(page.get_by_text("Was a form on your site misused?")).to_be_visible()
    page.get_by_label("What did you find, what did you fix?").fill("Yes. It has a captcha now.")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("It has a captcha now.")).to_be_visible()

    log_in(page, live_server, cast.sam)
    press("Confirm the cause: it is fixed")
    page.get_by_label("Cause:", exact=True).select_option("website")
    page.get_by_label("What was done").fill("the form was closed and cleaned")
    looked_at(page, complaints, "confirm-cause", ADMIN)
    page.get_by_role("button", name="Confirm the cause: it is fixed").click()
    mailoutbox.clear()
    press("Send the request by mail")
    page.get_by_role("button", name="Send the request by mail").click()
    (sent,) = mailoutbox
    assert sent.to == ["delist@nord.example"]
    assert "the form was closed and cleaned" in sent.body

    lab.take("nord.lab", "acme.example")
    check(lab)
    page.goto(live_server.url + reverse("admin:blacklist_delistingticket_change", args=[ticket.pk]))
    looked_at(page, complaints, "ticket-closed", ADMIN)
    log_in(page, live_server, cast.alice)
    page.goto(live_server.url + reverse("ticket", args=[ticket.pk]))
    expect(page.get_by_text("Closed").first).to_be_visible()
    looked_at(page, complaints, "ticket-done")
