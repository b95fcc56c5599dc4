"""What people see and get when something is not possible: our own words, in their language, with a way on."""

from __future__ import annotations

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse

from portal.models import User

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("language", "words"), [("en", "open for too long"), ("de", "zu lange offen")])
def test_a_form_without_its_token(language: str, words: str) -> None:
    browser = Client(enforce_csrf_checks=True, headers={"Accept-Language": language})
    response = browser.post(reverse("account_login"), {"login": "alice@acme.example", "password": "x"})
    assert response.status_code == 403
    assert words in response.content.decode()


def test_too_many_attempts_to_reset_a_password() -> None:
    User.objects.create_user("alice@acme.example", "an-old-password")
    browser = Client(headers={"Accept-Language": "de"})
    url = reverse("account_reset_password")
    answers = [browser.post(url, {"email": "alice@acme.example"}) for _ in range(8)]
    assert answers[-1].status_code == 429
    assert "Zu viele Versuche" in answers[-1].content.decode()


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_mails_of_a_forgotten_password(language: str) -> None:
    User.objects.create_user("alice@acme.example", "an-old-password")
    browser = Client(headers={"Accept-Language": language})
    for address in ("alice@acme.example", "nobody@acme.example"):
        browser.post(reverse("account_reset_password"), {"email": address})
    known, unknown = mail.outbox
    assert (
        known.subject
        == {
            "en": "A new password for the Secure Mail Gateway",
            "de": "Ein neues Passwort für das Secure Mail Gateway",
        }[language]
    )
    assert "/accounts/password/reset/key/" in known.body
    assert "/signup/" not in unknown.body
    assert {"en": "by invitation", "de": "durch Einladung"}[language] in unknown.body
    assert not any(
        word in one.body + one.subject for one in mail.outbox for word in ("testserver!", "[testserver]")
    )
