"""The pages about a stopped login in a real browser: drawn without a complaint, and clicked through to the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from gateway.control import credentials
from gateway.models import Credential, Recipient
from portal.models import User
from tests import factories
from tests.e2e.conftest import STICKS_OUT, axe_problems, picture

pytestmark = pytest.mark.django_db(transaction=True)
THIEF = "203.0.113.66"


@pytest.fixture
def stolen(transactional_db: None) -> Credential:
    acme = factories.make_cast().acme
    login = factories.make_credential(acme, "acme-web", label="The shop")
    for number in range(12):
        factories.make_message(
            acme, to=(f"victim{number}@far-away.example",), state="held", credential=login, client_ip=THIEF,
            category="spam", score=90, recipient={"reason": "abuse"},
        )  # fmt: skip
    factories.make_message(acme, state="held", credential=login, recipient={"reason": "abuse"})
    signals = {"bad": [0.62, 0.01], "flood": [4200, 31], "networks": [0.97, 0.0]}
    credentials.blow_fuse(login, reason="62% of the messages look like spam", signals=signals)
    return login


def addresses(login: Credential) -> dict[str, str]:
    message = Recipient.objects.filter(state="held").latest("id").message
    held = reverse("credential_held", args=[login.pk])
    return {
        "stopped-messages": "/messages/", "stopped-access": "/access/",
        "stopped-login": reverse("credential", args=[login.pk]),
        "stopped-message": reverse("message", args=[message.text_id]),
        "held-mail": held, "held-mail-none": f"{held}?client_ip=198.51.100.1",
        "held-mail-delete": reverse("credential_held_delete", args=[login.pk]) + f"?client_ip={THIEF}",
        "held-mail-release": reverse("credential_held_release", args=[login.pk]),
    }  # fmt: skip


@pytest.mark.parametrize("narrow", [False, True], ids=["wide-english", "narrow-dark-german"])
def test_the_pages_are_drawn(
    narrow: bool,
    page: Any,
    live_server: Any,
    stolen: Credential,
    log_in: Callable[[User], None],
    quiet: list[str],
) -> None:
    alice = User.objects.get(email="alice@acme.example")
    if narrow:
        User.objects.filter(pk=alice.pk).update(language="de", theme="dark")
        page.set_viewport_size({"width": 400, "height": 800})
    log_in(alice)
    problems = []
    for name, path in addresses(stolen).items():
        page.goto(live_server.url + path)
        picture(page, name + ("-narrow-dark" if narrow else ""))
        problems += [f"{name}: {problem}" for problem in axe_problems(page) + page.evaluate(STICKS_OUT)]
    assert problems == []


def test_from_the_message_list_to_a_login_that_sends_again(
    page: Any, live_server: Any, stolen: Credential, log_in: Callable[[User], None], quiet: list[str]
) -> None:
    log_in(User.objects.get(email="alice@acme.example"))
    page.goto(live_server.url + "/messages/")
    page.get_by_role("link", name="What to do").click()
    page.get_by_role("link", name="13 held recipients").click()
    page.get_by_role("link", name=THIEF).click()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete (12)").click()
    page.get_by_role("link", name="Release").click()
    page.get_by_role("button", name="Release (1)").click()
    page.get_by_role("link", name="To the login").click()
    page.get_by_role("button", name="Let it send again").click()
    states = Recipient.objects.order_by("id").values_list("state", flat=True)
    assert list(states) == ["cancelled"] * 12 + ["queued"]
    assert Credential.objects.get(pk=stolen.pk).is_active
