"""Globex has one of everything, ACME nothing at all: whatever ACME's owner finds of an object is Globex's.

Every address of the URL conf with every id there is, by every method; every list and form with the neighbour's names,
ids, cursors and keys in every field: the answer is the one for what does not exist.
"""

from __future__ import annotations

import base64
import difflib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus, urlencode, urljoin, urlsplit

import pytest
from django.db import transaction
from django.test import Client

from gateway.models import AuditEntry
from gateway.rules.ids import from_text, to_text
from portal.models import TlsTest, User
from tests import factories
from tests.portal.api.conftest import World, make_world, schema
from tests.portal.markup.addresses import Address, all_addresses, candidates
from tests.portal.markup.poison import OURS, make_row, our_models
from tests.portal.markup.reading import Page, body_of
from tests.portal.markup.test_markup import open_the_api_and_shut_the_network

pytestmark = pytest.mark.django_db
METHODS = ("get", "post", "put", "patch", "delete")
# Made anew each time: tokens and secrets of webhooks and logins, what proves a domain.
MADE = r"\b(smg|whsec)_[\w+/=-]+|\b\w{4}(-\w{4}){6}\b|\b[0-9a-f]{32}\b"
PUBLIC = {"help_page", "help_image", "invitation"}  # the manual; an invitation is for whoever has its token
NAME = "globex"
BIG = "424242"  # a login and a TLS test with a number that stands nowhere else on a page


@pytest.fixture
def globex(monkeypatch: pytest.MonkeyPatch) -> World:
    open_the_api_and_shut_the_network(monkeypatch)
    world = make_world(NAME, "charlie", 1)
    for model in our_models():
        if not model._default_manager.exists():
            make_row(model)
    factories.make_credential(world.customer, "globex-big", id=int(BIG))
    test = TlsTest.objects.get()
    test.pk = int(BIG)
    test.save(force_insert=True)
    return world


@pytest.fixture
def ids(globex: World) -> list[Any]:
    """Whatever leads to something of Globex's; taken before there is an ACME."""
    return candidates()


@pytest.fixture
def alice(ids: list[Any]) -> User:
    """The owner of a customer without anything."""
    person = factories.make_member(factories.make_customer("acme", name="ACME"), email="alice@acme.example")
    person.memberships.update(id=987_001)  # hers is none of Globex's
    return person


@pytest.fixture
def browser(alice: User) -> Client:
    client = Client()
    client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    return client


def addresses(*, with_id: bool) -> list[Address]:
    """Everything of ours but support's."""
    known = {
        one.name: one for one in all_addresses() if one.module.startswith(OURS) and one.name not in PUBLIC
    }
    staff = {
        name
        for name, one in known.items()
        if name.startswith("admin:") or one.module.startswith("portal.support")
    }
    return [one for name, one in known.items() if name not in staff and bool(one.parameters) == with_id]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_id_opens_anything(ids: list[Any], browser: Client) -> None:
    before = AuditEntry.objects.count()
    paths = [path for address in addresses(with_id=True) for path in address.paths(ids)]
    assert len(paths) > 500
    found = [
        problem
        for path, method in itertools.product(paths, METHODS)
        for problem in told(browser, method, path)
    ]
    assert not found, "\n".join(found)
    assert AuditEntry.objects.count() == before


def told(browser: Client, method: str, path: str) -> list[str]:
    """What an answer gives away: that there is something."""
    data = {} if method == "get" else {"data": "{}", "content_type": "application/json"}
    answer = getattr(browser, method)(path, **data)
    is_absent = answer.status_code in (404, 405) and NAME not in body_of(answer).replace(path, "")
    return [] if is_absent else [f"{method} {path}: {answer.status_code} {body_of(answer)[:200]}"]


def test_the_neighbour_himself_finds_them(globex: World, ids: list[Any]) -> None:
    """So that the test above cannot be right for the wrong reason."""
    charlie = Client()
    charlie.force_login(globex.owner, backend="django.contrib.auth.backends.ModelBackend")
    shut = [
        one.name
        for one in addresses(with_id=True)
        if not any(opens(charlie, path) for path in one.paths(ids))
    ]
    assert shut == ["mail_caught", "mail_caught_raw"]  # the demo's, for support


def opens(client: Client, path: str) -> bool:
    return client.get(path).status_code in (200, 302, 405)


# ---- names, ids and cursors of the neighbour where people search, filter and type -------------------------------


def pairs(globex: World) -> list[tuple[str, str]]:
    """(something of Globex's, the same of nobody's)."""
    message, recipient = globex.ids["messages"], globex.ids["recipients"]
    names = ("globex.example", "globex@globex.example", "to@friend-of-globex.example", "globex-web", "globex")
    return [
        *((one, one.replace(NAME, "qwertz")) for one in names),
        *((one, to_text(from_text(one) + 3)) for one in (message, recipient)),
        (BIG, "987654"),
        (globex.ids["webhook-deliveries"], "00000000-0000-4000-8000-000000000000"),
    ]


def shape(answer: Any, value: str) -> tuple[int, str]:
    """An answer without what was asked for and what differs each time."""
    text = body_of(answer)
    for written in (value, value.capitalize(), quote(value), quote_plus(value), quote(quote(value))):
        text = text.replace(written, "?")
    text = re.sub(MADE, "", text)
    text = re.sub(r'(csrfmiddlewaretoken" value|nonce)="[^"]*"|(copy|code)-\d+', "", text)
    return answer.status_code, re.sub(r"\d+ (ms|seconds?)\b|\d\d:\d\d:\d\d|\d\.\d+", "", text)


def differs(ask: Callable[[str], Any], there: str, absent: str, what: str) -> list[str]:
    """What an answer about Globex's thing says that one about nobody's does not."""
    first, second = (shape(ask(value), value) for value in (there, absent))
    if first == second:
        return []
    lines = [
        line
        for line in difflib.unified_diff(second[1].split("\n"), first[1].split("\n"), n=0)
        if line[0] in "+-"
    ]
    return [f"{what}={there}: {second[0]} -> {first[0]} {' '.join(lines)[:300]}"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_filter_finds_anything(globex: World, browser: Client) -> None:
    """By every name that the pages' own forms and links ask with, and every parameter of the API's lists."""
    asked = list(questions(browser))
    assert len({path for path, _ in asked}) > 30
    found = [
        problem
        for (path, name), (there, absent) in itertools.product(asked, pairs(globex))
        for problem in differs(
            lambda value, path=path, name=name: browser.get(path, {name: value}),
            there,
            absent,
            f"{path}?{name}",
        )  # type: ignore[misc]
    ]
    assert not found, "\n".join(found)


def questions(browser: Client) -> Iterator[tuple[str, str]]:
    for path, methods in schema()["paths"].items():
        if "get" in methods and "{" not in path:
            yield from (
                (path, one["name"]) for one in methods["get"].get("parameters", []) if one["in"] == "query"
            )
    for path, page in pages(browser):
        if path.startswith("/help/"):  # the dictionary answers what looks like a reply, whoever asks
            continue
        names = {
            name for form in page.forms if form.method == "get" for name in form.texts + list(form.values)
        }
        names |= {
            name
            for link in page.links
            if urljoin(path, link).startswith(path + "?")
            for name in parse_qs(urlsplit(link).query)
        }
        yield from (
            (path, name) for name in names | {"before", "after", "q", "message", "login", "test", "customer"}
        )


def pages(browser: Client) -> Iterator[tuple[str, Page]]:
    """The pages without an id in their address, as they are for ACME's owner."""
    for path in itertools.chain.from_iterable(address.paths([]) for address in addresses(with_id=False)):
        answer = browser.get(path)
        if answer.status_code == 200 and answer["Content-Type"].startswith("text/html"):
            yield path, Page(body_of(answer))


# A login's name is the whole gateway's: whoever wants one has to be told that it is taken.
TAKEN = {("/access/add/", "username")}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_form_knows_the_neighbours_things(globex: World, browser: Client) -> None:
    found = []
    for path, page in pages(browser):
        for form in (one for one in page.forms if one.method == "post" and "logout" not in one.action):
            for name, (there, absent) in itertools.product(form.texts, pairs(globex)):
                values = form.values | {other: ["nothing"] for other in form.texts}
                ask = partial(submit, browser, urljoin(path, form.action), values, name)
                found += [] if (path, name) in TAKEN else differs(ask, there, absent, f"POST {path} {name}")
    assert not found, "\n".join(found)


def submit(browser: Client, path: str, values: dict[str, list[str]], name: str, value: str) -> Any:
    """The answer, and nothing of it kept."""
    with transaction.atomic():
        answer = browser.post(path, values | {name: [value]}, follow=True)
        transaction.set_rollback(True)
    return answer


def test_the_neighbours_cursor_shows_the_own_rows_only(ids: list[Any], browser: Client) -> None:
    for path in (path for path, methods in schema()["paths"].items() if "get" in methods and "{" not in path):
        for position in ids:
            cursor = base64.b64encode(urlencode({"p": str(position)}).encode()).decode()
            answer = browser.get(path, {"cursor": cursor})
            assert answer.status_code in (200, 400), (path, position, answer.content)
            assert NAME not in body_of(answer), (path, position)


def test_the_neighbours_idempotency_key_is_nobodys(globex: World, browser: Client) -> None:
    charlie = Client()
    charlie.force_login(globex.owner, backend="django.contrib.auth.backends.ModelBackend")
    data = json.dumps({"name": "backup", "scopes": ["read"]})
    first, second = (
        client.post(
            "/api/v1/tokens/", data=data, content_type="application/json", headers={"Idempotency-Key": "K-1"}
        )
        for client in (charlie, browser)
    )
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["token"] != second.json()["token"]
    assert "Idempotent-Replayed" not in second
