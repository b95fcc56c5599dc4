""" "What would the gateway say?": the dry run."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests import factories
from tests.factories import Cast
from tests.portal.customer.helpers import text_of

NO_DOMAIN = "550 Sender Domain must resolve"
ASKED = {
    "sender": "you@acme.example",
    "recipients": "dora@example.org",
    "text": "From: you@acme.example\n\nHello",
}


def test_the_answer_of_the_gateway(alice: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    factories.make_credential(cast.acme, "acme-web")
    told = {
        "accepted": False, "reply": NO_DOMAIN, "limit": {},
        "trace": [{"step": "sender_domain", "outcome": "refuse", "detail": {"reply": NO_DOMAIN}, "ms": 1}],
    }  # fmt: skip
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        "portal.customer.explain.explain", lambda raw, **options: asked.update(options, raw=raw) or told
    )
    text = alice.post(reverse("explain"), ASKED | {"credential": "acme-web"}).content.decode()
    assert "Would be refused" in text
    assert "We answered: 550 Sender Domain must resolve" in text
    assert (asked["credential"], asked["recipients"], asked["raw"][:5]) == (
        "acme-web",
        ["dora@example.org"],
        b"From:",
    )


def test_logins_of_others_cannot_be_asked_for(
    alice: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.make_credential(cast.acme, "acme-web")
    factories.make_credential(cast.globex, "globex-web")
    monkeypatch.setattr("portal.customer.explain.explain", lambda *args, **options: pytest.fail("asked"))
    assert alice.post(reverse("explain"), ASKED | {"credential": "globex-web"}).status_code == 400


def test_without_a_login_the_page_says_so(alice: Client) -> None:
    assert "You need an SMTP login first" in text_of(alice, "explain")
