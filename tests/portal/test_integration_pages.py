"""The customer's pages for tokens, webhooks, requests and consent: they work, for owner, viewer and stranger."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal import consent, tokens
from portal.models import ApiToken, ContentGrant, SupportRequest, WebhookDelivery, WebhookEndpoint
from tests.portal.api.conftest import World, make_world, member

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(db: None) -> World:
    return make_world("acme", "alice", 1)


@pytest.fixture
def globex(db: None) -> World:
    return make_world("globex", "charlie", 2)


def as_user(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def alice(acme: World) -> Client:
    return as_user(acme.owner)


LISTS = ["integrations", "support_requests", "consent", "consent_csv"]
FORMS = ["token_add", "webhook_add", "support_request_add"]
OBJECTS = {
    "token_revoke": "tokens",
    "webhook": "webhooks",
    "webhook_remove": "webhooks",
    "webhook_delivery": "webhook-deliveries",
    "support_request": "support-requests",
}
POSTS = {
    "webhook_test": "webhooks",
    "webhook_rotate": "webhooks",
    "webhook_switch": "webhooks",
    "webhook_remove": "webhooks",
    "webhook": "webhooks",
    "webhook_again": "webhook-deliveries",
    "token_revoke": "tokens",
    "consent_revoke": "content-grants",
    "support_request": "support-requests",
    "support_request_close": "support-requests",
}


def url_of(name: str, world: World) -> str:
    return reverse(name, args=[world.ids[(OBJECTS | POSTS)[name]]])


@pytest.mark.parametrize("name", [*LISTS, *FORMS])
def test_pages_open(name: str, alice: Client) -> None:
    answer = alice.get(reverse(name))
    assert answer.status_code == 200


@pytest.mark.parametrize("name", list(OBJECTS))
def test_objects_open_for_their_customer_and_nobody_else(
    name: str, acme: World, globex: World, alice: Client
) -> None:
    answer = alice.get(url_of(name, acme))
    assert answer.status_code == 200
    assert "internal note" not in answer.content.decode()
    assert alice.get(url_of(name, globex)).status_code == 404
    assert Client().get(url_of(name, acme)).status_code == 302


@pytest.mark.parametrize("name", list(POSTS))
def test_the_others_objects_cannot_be_changed(name: str, acme: World, globex: World, alice: Client) -> None:
    assert alice.post(url_of(name, globex), {"text": "x"}).status_code == 404


@pytest.mark.parametrize("name", [*FORMS, *POSTS, "consent"])
def test_viewers_change_nothing(name: str, acme: World) -> None:
    bob = as_user(member(acme, "bob", "viewer"))
    url = url_of(name, acme) if name in POSTS else reverse(name)
    assert bob.post(url, {"text": "x", "hours": 1}).status_code == 403


def test_a_token_is_shown_once(acme: World, alice: Client) -> None:
    page = alice.post(reverse("token_add"), {"name": "backup", "scopes": ["read"]})
    text = re.search(r"smg_[0-9a-f]{10}_[\w-]{43}", page.content.decode())
    assert text
    assert tokens.recognise(text[0])
    assert "no-store" in page["Cache-Control"]
    assert text[0] not in alice.get(reverse("integrations")).content.decode()
    alice.post(reverse("token_revoke", args=[ApiToken.objects.latest("id").pk]))
    assert tokens.recognise(text[0]) is None


def test_a_bad_form_says_so(alice: Client) -> None:
    answer = alice.post(reverse("webhook_add"), {"url": "https://192.168.1.1/"})
    assert answer.status_code == 400
    assert "not public" in answer.content.decode()
    assert alice.post(reverse("token_add"), {"name": ""}).status_code == 400
    wrong = alice.post(
        reverse("support_request_add"), {"subject": "s", "topic": "dns", "text": "t", "message": "nonsense"}
    )
    assert wrong.status_code == 400


def test_a_webhook_from_making_to_removal(acme: World, alice: Client) -> None:
    page = alice.post(reverse("webhook_add"), {"url": "https://hook.example/x", "events": ["message.failed"]})
    assert "whsec_" in page.content.decode()
    endpoint = WebhookEndpoint.objects.get(url="https://hook.example/x")
    alice.post(reverse("webhook_test", args=[endpoint.pk]))
    delivery = endpoint.deliveries.get()
    assert "webhook.test" in alice.get(reverse("webhook_delivery", args=[delivery.pk])).content.decode()
    alice.post(reverse("webhook_switch", args=[endpoint.pk]))
    endpoint.refresh_from_db()
    assert not endpoint.is_active
    assert WebhookDelivery.objects.get(pk=delivery.pk).state == "failed"
    alice.post(reverse("webhook_switch", args=[endpoint.pk]))
    alice.post(reverse("webhook_again", args=[delivery.pk]))
    assert WebhookDelivery.objects.get(pk=delivery.pk).state == "pending"
    alice.post(reverse("webhook", args=[endpoint.pk]), {"url": "https://hook.example/y"})
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.events) == ("https://hook.example/y", [])
    alice.post(reverse("webhook_remove", args=[endpoint.pk]))
    assert not WebhookEndpoint.objects.filter(pk=endpoint.pk).exists()


def test_answers_of_receivers_are_text(acme: World, alice: Client) -> None:
    WebhookDelivery.objects.update(
        log=[{"at": "2026-01-01T00:00:00", "status": 500, "error": "", "body": "<script>x", "ms": 1}]
    )
    page = alice.get(url_of("webhook_delivery", acme)).content.decode()
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page


def test_a_question_its_answer_and_the_end(acme: World, alice: Client) -> None:
    form = {
        "subject": "Lost mail",
        "topic": "delivery",
        "text": "Where is <b>it</b>?",
        "message": acme.ids["messages"],
    }
    page = alice.post(reverse("support_request_add"), form, follow=True)
    assert "Where is &lt;b&gt;it" in page.content.decode()
    made = SupportRequest.objects.latest("id")
    assert (made.text_id, made.state, made.deadline_at is not None) == (acme.ids["messages"], "open", True)
    alice.post(reverse("support_request_close", args=[made.pk]))
    alice.post(reverse("support_request", args=[made.pk]), {"text": "One more thing."})
    made.refresh_from_db()
    assert (made.state, made.replies.count()) == ("open", 2)


def test_leave_is_given_and_taken_back(acme: World, alice: Client) -> None:
    alice.post(reverse("consent"), {"hours": 8, "message": acme.ids["messages"]})
    given = ContentGrant.objects.latest("id")
    assert (given.is_valid, given.text_id) == (True, acme.ids["messages"])
    alice.post(reverse("consent_revoke", args=[given.pk]))
    given.refresh_from_db()
    assert not given.is_valid


def test_the_log_of_looks_is_shown_and_its_holes_too(acme: World, alice: Client) -> None:
    consent.look(acme.customer.messages.get(), what="body", actor="sam@smg.example")
    assert "sam@smg.example" in alice.get(reverse("consent")).content.decode()
    assert b"sam@smg.example" in b"".join(alice.get(reverse("consent_csv")).streaming_content)  # type: ignore[attr-defined]
    assert "tampered" not in alice.get(reverse("consent")).content.decode()
    acme.customer.content_looks.filter(what="subject")._raw_delete("default")
    assert "tampered" in alice.get(reverse("consent")).content.decode()


@pytest.mark.parametrize("name", [*LISTS[:3], "webhook", "support_request", "webhook_delivery"])
def test_few_queries(name: str, acme: World, alice: Client) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    url = url_of(name, acme) if name in OBJECTS else reverse(name)
    alice.get(url)  # the first page of a session notes the session
    with CaptureQueriesContext(connection) as queries:
        alice.get(url)
    assert len(queries) <= 10, [one["sql"][:90] for one in queries]
