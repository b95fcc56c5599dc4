"""A search that no index serves ends in time, says how far it got, and goes on from there without losing anything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from gateway.models import Customer, Message, Recipient
from gateway.rules.ids import IdMaker
from portal import windows
from portal.customer.message_rows import Page
from portal.customer.message_search import is_served, search
from portal.models import User
from portal.support import messages as support
from portal.windows import FIRST, GROWTH
from tests.factories import Cast, make_cast

IDS = IdMaker(9)
MONTH: dict[str, Any] = {"range": "30d"}


class Watch:
    """A clock that tells what it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


def page_of(user: User, address: str) -> str:
    browser = Client()
    browser.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return browser.get(address).content.decode()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch()
    monkeypatch.setattr(windows, "time", made)
    return made


def test_quick_windows_grow_and_meet_without_a_gap(watch: Watch) -> None:
    given = list(windows.windows(0, 1000 * FIRST))
    assert [high - low for low, high in given[:3]] == [FIRST, GROWTH * FIRST, GROWTH**2 * FIRST]
    assert [low for low, _high in given[:-1]] == [high for _low, high in given[1:]]
    assert (given[0][1], given[-1][0]) == (1000 * FIRST, 0)


def test_slow_windows_shrink_and_end(watch: Watch) -> None:
    spans = []
    for low, high in windows.windows(0, 1000 * FIRST, budget_s=0.1):
        spans.append(high - low)
        watch.now_s += 0.06
    assert spans == [FIRST, FIRST // 2]


def test_an_empty_time_is_one_window(watch: Watch) -> None:
    assert list(windows.windows(7, 7)) == [(7, 7)]


def test_what_an_index_serves_is_one_window(watch: Watch) -> None:
    assert list(windows.windows(0, 1000 * FIRST, at_once=True)) == [(0, 1000 * FIRST)]


@pytest.mark.parametrize(
    ("wanted", "served"),
    [
        ({}, True), ({"id": "x", "q": "y"}, True), ({"sender": "a@acme.example"}, True),
        ({"sender": "acme.example"}, False), ({"recipient": "globex.example"}, True), ({"q": "y"}, False),
        ({"recipient": "globex.example", "q": "y"}, False), ({"status": "open"}, True), ({"gateway": 1}, False),
    ],
)  # fmt: skip
def test_which_filters_an_index_serves(wanted: dict[str, Any], served: bool) -> None:
    assert is_served(wanted) is served


def letters(customer: Customer, days: list[int]) -> list[int]:
    """A message with one recipient so many days ago, each; returns their ids as the log shows them."""
    made = []
    for ago in days:
        at = timezone.now() - timedelta(days=ago)
        ms = int(at.timestamp() * 1000)
        message = Message.objects.create(
            id=IDS.next(ms) if ago == days[0] else IdMaker(9).next(ms), customer=customer, received_at=at,
            size_bytes=1, recipient_count=1, subject="needle", sender="a@acme.example", category="spam",
            sender_domain="acme.example", client_ip="192.0.2.77",
        )  # fmt: skip
        Recipient.objects.create(
            id=message.pk + 1, message=message, customer=customer, address="b@globex.example",
            domain="globex.example", expires_at=at, pool="bad", state="bounced", code=550, text="no needle",
            remote_host="mx.globex.example",
        )  # fmt: skip
        made.append(message.pk)
    return made


def one_window_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    real = windows.windows
    for where in ("portal.customer.message_search.windows", "portal.support.messages.windows"):
        monkeypatch.setattr(where, lambda *args, **options: real(*args, **(options | {"budget_s": -1.0})))


def walk(ask: Callable[[str], Page]) -> tuple[list[int], int]:
    """(ids found, pages) of a search that is gone through to its end."""
    found: list[int] = []
    cursor, pages = "", 0
    while pages == 0 or cursor:
        page = ask(cursor)
        assert not page.searched_to or page.next_cursor
        found += [row.message.id for row in page.rows]
        cursor, pages = page.next_cursor, pages + 1
    return found, pages


WINDOWS = 30 * 12 + 1  # of two hours in a month, and the minute that clocks may differ


@pytest.mark.parametrize(
    "wanted", [{"q": "needle"}, {"reply": "needle"}, {"q": "needle", "status": "bounced"}]
)
def test_a_search_cut_short_goes_on_where_it_stopped(
    wanted: dict[str, str], cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_window_a_page(monkeypatch)
    expected = sorted(letters(cast.acme, [0, 1, 5, 12, 29]), reverse=True)
    found = walk(lambda cursor: search(cast.acme, MONTH | wanted, cursor=cursor))
    assert found == (expected, WINDOWS)


@pytest.mark.parametrize(
    "term", ["192.0.2.77", "no needle", "mx.globex.example", "globex.example", "acme.example"]
)
def test_supports_search_goes_on_where_it_stopped(
    term: str, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_window_a_page(monkeypatch)
    expected = sorted(letters(cast.acme, [0, 1, 5]) + letters(cast.globex, [12, 29]), reverse=True)
    found = walk(lambda cursor: support.search(support.question(term), timedelta(days=30), cursor))
    assert found == (expected, WINDOWS)


@pytest.mark.parametrize("term", ["b@globex.example", "a@acme.example"])
def test_supports_search_goes_by_pages(term: str, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "PAGE_SIZE", 2)
    expected = sorted(letters(cast.acme, [0, 1, 5]) + letters(cast.globex, [12, 29]), reverse=True)
    asked = support.question(term)
    assert walk(lambda cursor: support.search(asked, timedelta(days=30), cursor)) == (expected, 3)


@pytest.mark.parametrize(
    ("term", "where", "found"),
    [
        ("acme.example", "sender", True), ("acme.example", "recipient", False), ("globex.example", "recipient", True),
        ("globex.example", "sender", False), ("mx.globex.example", "answer", True), ("needle", "answer", True),
        ("acme.example", "answer", False), ("a@acme.example", "sender", True), ("a@acme.example", "recipient", False),
        ("b@globex.example", "recipient", True), ("b@globex.example", "sender", False), ("needle", "sender", False),
    ],
)  # fmt: skip
def test_support_may_say_where_to_look(term: str, where: str, found: bool, cast: Cast) -> None:
    letters(cast.acme, [0])
    page = support.search(support.question(term, where), timedelta(days=30))
    assert bool(page.rows) is found


def test_the_page_says_how_far_it_got(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    one_window_a_page(monkeypatch)
    text = page_of(cast.alice, "/messages/?range=30d&q=no+such")
    assert "Search further back" in text
    assert "Nothing fits these filters" not in text


def test_supports_page_says_how_far_it_got(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    one_window_a_page(monkeypatch)
    address = "/support/messages/?range=30d&q=192.0.2.77"
    assert "Nothing fits back to" in page_of(cast.sam, address)
    letters(cast.acme, [0])
    text = page_of(cast.sam, address)
    assert "Searched back to" in text
    assert "?range=30d&amp;q=192.0.2.77&amp;before=" in text
