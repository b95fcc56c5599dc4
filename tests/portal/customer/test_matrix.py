"""Every page, every method, everybody: works, wrong method, colleague, stranger, nobody, bad id, query counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from gateway.models import AuditEntry
from gateway.rules.ids import TEXT_LENGTH
from gateway.tls import preflight
from portal.customer.urls import urlpatterns
from tests.factories import Cast
from tests.portal.customer.pages import PAGES, Page, World, make_world

ORDINARY = [
    page for page in PAGES if page.get not in ("demo", "public", "manual", "image") and page.post != "other"
]
READ = [page for page in ORDINARY if page.get]
WRITES = [page for page in ORDINARY if page.post in ("writers", "owners")]
OWN = [page for page in ORDINARY if page.own]
Browser = Callable[[Any], Client]


@pytest.fixture
def world(
    request: pytest.FixtureRequest, cast: Cast, public_dns: Any, monkeypatch: pytest.MonkeyPatch
) -> World:
    """Small, because there are hundreds of these; parametrize it indirectly with how many of each there are."""
    report = preflight.PreflightReport(
        domain="bank.example", at=preflight._utc_now(), problem="not asked in tests"
    )
    monkeypatch.setattr("portal.tls_tests.preflight_now", lambda *args, **options: report)
    return make_world(cast, getattr(request, "param", 2))


def address(entry: Page, world: World, bad: bool = False) -> str:
    args = [entry.bad if bad else world.ids[entry.own]] if entry.own else []
    return reverse(entry.name, args=args)


def ask(browser: Client, method: str, entry: Page, world: World, *, bad: bool = False) -> HttpResponse:
    url = address(entry, world, bad)
    return browser.get(url) if method == "GET" else browser.post(url, entry.data)  # type: ignore[return-value]


def name(entry: Page) -> str:
    return entry.name


def test_the_table_names_every_page() -> None:
    assert {page.name for page in PAGES} == {pattern.name for pattern in urlpatterns}


@pytest.mark.parametrize("entry", READ, ids=name)
def test_the_owner_reads(entry: Page, world: World, browser_of: Browser) -> None:
    assert ask(browser_of(world.cast.alice), "GET", entry, world).status_code == 200


@pytest.mark.parametrize("entry", [page for page in ORDINARY if page.post], ids=name)
def test_the_owner_posts(entry: Page, world: World, browser_of: Browser) -> None:
    assert ask(browser_of(world.cast.alice), "POST", entry, world).status_code in (200, 302, 400)


@pytest.mark.parametrize("entry", ORDINARY, ids=name)
def test_other_methods_are_not_taken(entry: Page, world: World, browser_of: Browser) -> None:
    alice = browser_of(world.cast.alice)
    refused = [method for method, may in (("GET", entry.get), ("POST", entry.post)) if not may]
    assert [ask(alice, method, entry, world).status_code for method in refused] == [405] * len(refused)
    assert alice.delete(address(entry, world)).status_code == 405


@pytest.mark.parametrize("entry", READ, ids=name)
def test_a_viewer_reads_what_may_be_read(entry: Page, world: World, browser_of: Browser) -> None:
    expected = 200 if entry.get == "all" else 403
    assert ask(browser_of(world.cast.bob), "GET", entry, world).status_code == expected


@pytest.mark.parametrize("entry", WRITES, ids=name)
def test_a_viewer_changes_nothing(entry: Page, world: World, browser_of: Browser) -> None:
    before = AuditEntry.objects.count()
    assert ask(browser_of(world.cast.bob), "POST", entry, world).status_code == 403
    assert AuditEntry.objects.count() == before


@pytest.mark.parametrize("entry", OWN, ids=name)
def test_a_stranger_finds_nothing(entry: Page, world: World, browser_of: Browser) -> None:
    charlie = browser_of(world.cast.charlie)
    before = AuditEntry.objects.count()
    methods = [method for method, may in (("GET", entry.get), ("POST", entry.post)) if may]
    assert [ask(charlie, method, entry, world).status_code for method in methods] == [404] * len(methods)
    assert AuditEntry.objects.count() == before


@pytest.mark.parametrize("entry", OWN, ids=name)
def test_an_id_that_nobody_has_is_404(entry: Page, world: World, browser_of: Browser) -> None:
    alice = browser_of(world.cast.alice)
    methods = [method for method, may in (("GET", entry.get), ("POST", entry.post)) if may]
    assert [ask(alice, method, entry, world, bad=True).status_code for method in methods] == [404] * len(
        methods
    )


@pytest.mark.parametrize("entry", [page for page in OWN if isinstance(page.bad, int)], ids=name)
def test_a_number_beyond_the_database_is_404(entry: Page, world: World, browser_of: Browser) -> None:
    url = reverse(entry.name, args=[2**70])
    response = (
        browser_of(world.cast.alice).post(url) if not entry.get else browser_of(world.cast.alice).get(url)
    )
    assert response.status_code == 404


@pytest.mark.parametrize("entry", ORDINARY, ids=name)
def test_nobody_is_sent_to_the_login(entry: Page, world: World, browser_of: Browser) -> None:
    method = "GET" if entry.get else "POST"
    response = ask(browser_of(None), method, entry, world)
    assert (response.status_code, response["Location"].partition("?")[0]) == (302, reverse("account_login"))


@pytest.mark.parametrize("world", [12], indirect=True)
@pytest.mark.parametrize("entry", READ, ids=name)
def test_ten_queries_are_enough(
    entry: Page, world: World, browser_of: Browser, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    alice = browser_of(world.cast.alice)
    ask(alice, "GET", entry, world)  # the first page of a session also enters it into the list of sessions
    with django_assert_max_num_queries(10):
        response = ask(alice, "GET", entry, world)
        b"".join(response.streaming_content) if response.streaming else None  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["x", "!" * TEXT_LENGTH, "z" * TEXT_LENGTH, "0" * 500, "ü" * TEXT_LENGTH])
def test_what_is_no_message_id_is_404(text: str, cast: Cast, browser_of: Browser) -> None:
    assert browser_of(cast.alice).get(reverse("message", args=[text])).status_code == 404


def test_a_form_without_its_token_is_403(world: World, cast: Cast) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    pages = [entry for entry in ORDINARY if entry.post]
    assert {strict.post(address(entry, world), entry.data).status_code for entry in pages} == {403}


def test_people_without_a_customer_are_told_so(cast: Cast, browser_of: Browser) -> None:
    cast.bob.memberships.all().delete()
    response = browser_of(cast.bob).get("/")
    assert response.status_code == 403
    assert b"does not belong to a customer" in response.content
