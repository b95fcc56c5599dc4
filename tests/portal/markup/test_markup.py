"""Stored markup: every page of everybody, with attacks in all text there is. Nothing of it comes alive, nothing breaks.

The pages come from the URL conf, the rows from the models, the forms and links from the pages themselves.
"""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.core.cache import cache
from django.db import transaction
from django.test import Client

from gateway.control import domain_checks
from gateway.dns import Resolver, StaticZone
from gateway.tls import preflight
from portal.access import OPENED_AS
from portal.api import throttling
from portal.models import User
from tests.portal.api.conftest import World
from tests.portal.markup.addresses import Address, all_addresses, candidates
from tests.portal.markup.poison import ATTACKS, OURS, poisoned_world
from tests.portal.markup.reading import Form, Page, alive, body_of, formulas

pytestmark = pytest.mark.django_db
ENOUGH = 2  # pages of one address
LEAVES = ("/accounts/logout/", "/admin/logout/")
# Pages that need more than rows: the demo's mail, pictures on disk, the token of an invitation.
SHUT = {"mail_catcher", "mail_caught", "mail_caught_raw", "help_image", "invitation"}


class Crawler:
    """One person's browser on the poisoned pages; `problems` is what is wrong, with the address."""

    def __init__(self, user: User, attack: str, opened_as: int = 0) -> None:
        self.attack = ATTACKS[attack]
        self.client = Client(raise_request_exception=False)
        self.client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        if opened_as:
            session = self.client.session
            session[OPENED_AS] = opened_as
            session.save()
        self.problems: list[str] = []
        self.seen: set[str] = set()
        self.reached: set[str] = set()  # names of addresses

    def open(self, path: str, **data: Any) -> Page | None:
        """GET; the page when it is one."""
        self.seen.add(path)
        answer = self.client.get(path, **data)
        self.status = answer.status_code
        return self._read(f"GET {path}", answer)

    def all_of(self, address: Address, ids: list[Any]) -> list[tuple[str, Page]]:
        """The first pages of an address that open."""
        found: list[tuple[str, Page]] = []
        for path in address.paths(ids):
            page = self.open(path)
            if self.status not in (404, 429):
                self.reached.add(address.name)
            found += [(path, page)] if page else []
            if len(found) == ENOUGH:
                break
        return found

    def follow(self, path: str, page: Page) -> None:
        """The links of a page that lead to the same page otherwise: filters, tabs, orders, the next page."""
        for link in page.links:
            target = urljoin(path, link)
            if urlsplit(target).query and target.startswith("/") and target not in self.seen:
                self.open(target)

    def fill_in(self, path: str, page: Page) -> None:
        """Every form of a page, by each of its buttons, with the attack in every text field; then undone."""
        for form in page.forms:
            target = urljoin(path, form.action)
            if target in LEAVES:
                continue
            for button in form.buttons or [("", "")]:
                extra = {button[0]: [button[1]]} if button[0] else {}
                self._submit(target, form, form.filled(self.attack) | extra)

    def _submit(self, target: str, form: Form, data: dict[str, list[str]]) -> None:
        if form.method == "get":
            self.open(target, data=data)
            return
        cookies = self.client.cookies.copy()
        with transaction.atomic():
            answer = self.client.post(target, data, follow=True)
            page = self._read(f"POST {target} {sorted(data)}", answer)
            if page and "apply" in {name for one in page.forms for name, _ in one.buttons}:
                self._confirm(target, page)
            transaction.set_rollback(True)
        self.client.cookies = cookies
        cache.clear()

    def _confirm(self, target: str, page: Page) -> None:
        """The administration's second page of an action."""
        for form in page.forms:
            if ("apply" in dict(form.buttons)) and not form.action:
                data = form.filled(self.attack) | {"apply": ["1"]}
                self._read(f"POST {target}, confirmed", self.client.post(target, data, follow=True))

    def _read(self, what: str, response: Any) -> Page | None:
        self.problems += [f"{what}: {one}" for one in alive(response)]
        if response.status_code >= 500:
            self.problems.append(f"{what}: {response.status_code} {getattr(response, 'exc_info', None)}")
        is_page = response.status_code < 300 and response["Content-Type"].startswith("text/html")
        return Page(body_of(response)) if is_page else None


@pytest.fixture
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """Poisoned; nobody asks the network, and nobody asks too often."""
    open_the_api_and_shut_the_network(monkeypatch)
    return poisoned_world(request.getfixturevalue("attack"))


def open_the_api_and_shut_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    report = preflight.PreflightReport(
        domain="x.example", at=preflight._utc_now(), problem="not asked in tests"
    )
    monkeypatch.setattr(throttling.Throttle, "allow_request", lambda *_: True)
    monkeypatch.setattr(domain_checks, "make_resolver", lambda: Resolver((), static=StaticZone({})))
    for module in ("portal.tls_tests", "gateway.control.tls_probes"):
        monkeypatch.setattr(f"{module}.preflight_now", lambda *args, **options: report)


@pytest.fixture
def crawler(request: pytest.FixtureRequest, world: World, attack: str) -> Crawler:
    who = request.getfixturevalue("who")
    if who == "customer":
        return Crawler(world.owner, attack)
    language = "de" if attack == "link" else "en"
    sam = User.objects.create_user("sam@smg.example", is_staff=True, is_superuser=True, language=language)
    return Crawler(sam, attack, opened_as=world.customer.pk if who == "opened" else 0)


def part_of(who: str) -> list[Address]:
    """Which addresses somebody walks over: support's own and the administration, or the customer's."""
    shown = (*OURS, "allauth", "django.contrib.admin")
    own = [address for address in all_addresses() if address.module.startswith(shown)]
    staff = [one for one in own if one.name.startswith("admin:") or one.module.startswith("portal.support")]
    return staff if who == "support" else [address for address in own if address not in staff]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("who", "attack"),
    [*itertools.product(("customer", "support"), ATTACKS), ("opened", "markup")],
)
def test_nothing_comes_alive(who: str, attack: str, crawler: Crawler) -> None:
    ids = candidates()
    walked = part_of(who)
    for address in walked:
        for path, page in crawler.all_of(address, ids):
            crawler.follow(path, page)
            crawler.fill_in(path, page)
    assert crawler.problems == []
    if who != "opened":  # support reads what a viewer may
        ours = {address.name for address in walked if address.module.startswith(OURS)}
        assert ours - crawler.reached == (SHUT if who == "customer" else set())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<td>{}</td>", "<zqx>"), ('<a title="{}">x</a>', '" onclick=zqx x="'),
        ('<a href="{}">x</a>', "JavaScript:zqx()"),
        ("<script>x = '{}'</script>", "zqx"), ("<!-- {} -->", "zqx"), ("<p>{}</p>", "9801547"),
        ('<i style="{}"></i>', "zqx"),
    ],
)  # fmt: skip
def test_the_reader_sees_what_a_browser_would_run(text: str, what: str) -> None:
    assert Page(text.format(what)).alive
    assert not Page(text.format("as it should be")).alive


@pytest.mark.parametrize("cell", ["=1+1", " -1", "@SUM(A1)", "\t=1", "+49"])
def test_the_reader_sees_formulas(cell: str) -> None:
    assert formulas(f'a,"{cell}"\r\n')
    assert not formulas(f'a,"\'{cell}"\r\n')
