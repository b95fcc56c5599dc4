"""SMTP logins, and the set-up page that follows what their servers do."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gateway.control import credentials
from gateway.models import Credential, SetupEvent
from portal.customer.client_configs import CLIENTS
from tests import factories
from tests.factories import Cast
from tests.portal.customer.helpers import Browser, text_of

# ------------------------------------------------------------------------------------------------ logins


def test_a_secret_is_shown_once_and_nowhere_else(alice: Client, cast: Cast) -> None:
    response = alice.post(reverse("credential_add"), {"username": "acme-web", "label": "Shop"})
    secret = response.context["secret"]
    assert secret in response.content.decode()
    pk = Credential.objects.get().pk
    later = [
        text_of(alice, "access"),
        text_of(alice, "credential", pk),
        text_of(alice, "activity"),
        text_of(alice, "setup"),
    ]
    assert not any(secret in text for text in later)
    assert "no-store" in response["Cache-Control"]


def test_the_configurations_are_filled_in(alice: Client, cast: Cast) -> None:
    factories.make_domain(cast.acme, "acme.example")
    factories.make_domain(cast.acme, "not-yet.example", proven=False)
    response = alice.post(reverse("credential_add"), {"username": "acme-web"})
    configs = {config.key: config.text for config in response.context["configs"]}
    assert set(configs) == {key for key, _name in CLIENTS}
    assert all(
        "acme-web" in text and response.context["secret"] in text
        for text in configs.values()
        if "Microsoft" not in text
    )
    assert "you@acme.example" in configs["python"]
    compile(configs["python"], "config", "exec")


def test_rotating_shows_the_new_secret_and_until_when_the_old_one_works(alice: Client, cast: Cast) -> None:
    credential, old = credentials.create(cast.acme, actor="alice", username="acme-web")
    response = alice.post(reverse("credential_rotate", args=[credential.pk]), {"overlap_h": "72"})
    assert response.context["secret"] != old
    assert "valid until" in response.content.decode()


@pytest.mark.parametrize(
    "data",
    [
        {"username": ""}, {"username": "with space"}, {"username": "n", "networks": "10.0.0.0/99"},
        {"username": "n", "senders": "a@b.example"},
    ],
)  # fmt: skip
def test_logins_that_cannot_be_are_said_at_the_field(data: dict[str, str], alice: Client) -> None:
    response = alice.post(reverse("credential_add"), data)
    assert (response.status_code, b"errorlist" in response.content) == (400, True)
    assert not Credential.objects.exists()


def test_a_stopped_login_says_why_and_can_be_released(alice: Client, cast: Cast) -> None:
    credential = factories.make_credential(cast.acme)
    credentials.blow_fuse(credential, reason="40 times the usual volume")
    assert "40 times the usual volume" in text_of(alice, "credential", credential.pk)
    alice.post(reverse("credential_release", args=[credential.pk]))
    assert Credential.objects.get().is_active


# ------------------------------------------------------------------------------------------------ set-up


def note(cast: Cast, stage: str, reply: str = "", session: str = "s1", message: int | None = None) -> None:
    SetupEvent.objects.create(
        customer=cast.acme,
        at=timezone.now(),
        session=session,
        stage=stage,
        reply=reply,
        message=message,
        client_ip="192.0.2.1",
    )


def test_opening_the_page_has_the_relay_watch(alice: Client, cast: Cast, browser_of: Browser) -> None:
    browser_of(cast.bob).get(reverse("setup"))
    cast.acme.refresh_from_db()
    assert cast.acme.watched_until is None
    alice.get(reverse("setup"))
    cast.acme.refresh_from_db()
    assert cast.acme.watched_until is not None


@pytest.mark.parametrize(
    ("stage", "reply", "hint"),
    [
        ("tls", "530 5.7.0 Must issue a STARTTLS command first", "without encryption"),
        ("login", "535 5.7.8 Authentication failed", "user name and secret"),
        (
            "sender",
            "553 5.7.1 Sender domain is not one of your verified domains",
            "must be one that you have proven",
        ),
        ("sender", "550 Sender Domain must resolve", "does not exist in public DNS"),
        (
            "accepted",
            "550 5.7.1 Header From names a domain that is not one of your verified domains",
            "not handed over",
        ),
        ("accepted", "554 5.7.1 Message contains a virus (Eicar)", "virus"),
        ("sender", "451 Ratelimit reached", "limit"),
    ],
)
def test_each_mistake_is_named_with_its_fix(
    stage: str, reply: str, hint: str, alice: Client, cast: Cast
) -> None:
    for reached in ("connected", "tls", "login", "sender", "accepted"):
        if reached == stage:
            break
        note(cast, reached)
    note(cast, stage, reply)
    text = text_of(alice, "setup_live")
    assert 'class="bad"' in text
    assert reply.split("(", maxsplit=1)[0] in text
    assert hint in text


def test_a_wrong_secret_is_found_by_the_user_name(alice: Client, cast: Cast) -> None:
    factories.make_credential(cast.acme, "acme-web")
    refused = {
        "stage": "auth",
        "code": 535,
        "enhanced": "5.7.8",
        "text": "Authentication failed",
        "reason": "login",
    }
    factories.make_refusal(None, detail={"username": "acme-web"}, **refused)
    factories.make_refusal(None, detail={"username": "globex-web"}, **refused)
    text = text_of(alice, "setup_live")
    assert text.count('class="done"') == 2
    assert "535 5.7.8 Authentication failed" in text


def test_the_way_to_the_end_stops_the_polling(alice: Client, cast: Cast) -> None:
    message = factories.make_message(cast.acme)
    for stage in ("connected", "tls", "login", "sender"):
        note(cast, stage)
    note(cast, "accepted", message=message.pk)
    plain = alice.get(reverse("setup_live"))
    polled = alice.get(reverse("setup_live"), headers={"HX-Request": "true"})
    assert (plain.status_code, polled.status_code) == (200, 286)
    assert plain.content.decode().count('class="done"') == 6
    assert reverse("message", args=[message.text_id]) in plain.content.decode()


def test_a_later_failure_does_not_hide_the_success(alice: Client, cast: Cast) -> None:
    message = factories.make_message(cast.acme)
    for stage in ("connected", "tls", "login", "sender"):
        note(cast, stage)
    note(cast, "accepted", message=message.pk)
    note(cast, "login", "535 5.7.8 No", session="s2")
    assert text_of(alice, "setup_live").count('class="done"') == 6
