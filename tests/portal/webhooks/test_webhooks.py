"""From an event to the receiver: outbox, signature, retries, switching off, sending again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.exceptions import ValidationError
from django.utils import timezone

from gateway import crypto
from gateway.control import customers
from gateway.models import Attempt, AuditEntry, Complaint, Customer, Message, NdrReport, Recipient, Refusal
from gateway.rules.ids import IdMaker
from portal.models import WebhookDelivery, WebhookEndpoint
from portal.webhooks import endpoints, events, tasks
from tests.portal.webhooks.conftest import ALICE, Receiver

pytestmark = pytest.mark.django_db
IDS = IdMaker(8)


def happen(customer: Customer) -> None:
    """One delivered and one bounced recipient, one refusal; a minute ago."""
    at = timezone.now() - timedelta(minutes=1)
    message = Message.objects.create(
        id=IDS.next(int(at.timestamp() * 1000)),
        customer=customer,
        received_at=at,
        size_bytes=1,
        recipient_count=1,
    )
    recipient = Recipient.objects.create(
        id=IDS.next(int(at.timestamp() * 1000)),
        message=message,
        customer=customer,
        address="b@globex.example",
        domain="globex.example",
        expires_at=at,
        pool="good",
    )
    Attempt.objects.create(
        message=message, recipient=recipient.pk, at=at, state="queued", stage="rcpt", code=451
    )
    Attempt.objects.create(
        message=message, recipient=recipient.pk, at=at, state="delivered", stage="dot", code=250
    )
    NdrReport.objects.create(
        at=at,
        customer=customer,
        message=message,
        address="c@globex.example",
        domain="globex.example",
        cause="5.1.1",
    )
    Refusal.objects.create(at=at, customer=customer, stage="mail", code=553, text="no", reason="ownership")


def deliveries(**wanted: Any) -> list[str]:
    return sorted(WebhookDelivery.objects.filter(**wanted).values_list("event", flat=True))


# ---- verbs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://hook.example/",
        "ftp://hook.example/",
        "https://user:pw@hook.example/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest",
        "https://[::ffff:10.0.0.1]/",
        "not a url",
        "https://",
        "javascript:alert(1)",
    ],
)
def test_urls_that_cannot_be_webhooks(acme: Customer, url: str) -> None:
    with pytest.raises(ValidationError):
        endpoints.create(acme, url=url, actor=ALICE)
    assert not WebhookEndpoint.objects.exists()


def test_the_secret_is_shown_once_and_kept_encrypted(acme: Customer) -> None:
    endpoint, secret = endpoints.create(acme, url="https://hook.example/x?token=1", actor=ALICE)
    assert secret not in endpoint.secret
    assert crypto.decrypt(endpoint.secret) == secret
    assert endpoints.rotate_secret(endpoint, actor=ALICE) != secret
    logged = json.dumps(list(AuditEntry.objects.values_list("target", "detail")))
    assert "token=1" not in logged
    assert "whsec_" not in logged


def test_unknown_events_are_refused(acme: Customer) -> None:
    with pytest.raises(ValidationError):
        endpoints.create(acme, url="https://hook.example/", events=["message.exploded"], actor=ALICE)


# ---- the outbox ------------------------------------------------------------------------------------------------


def test_events_of_the_past_are_not_sent(acme: Customer, endpoint: WebhookEndpoint) -> None:
    happen(acme)
    assert events.collect() == 0


def test_events_are_collected_once_and_for_their_customer_only(
    acme: Customer, endpoint: WebhookEndpoint
) -> None:
    globex = customers.create(actor="sam@smg.example", slug="globex", name="Globex")
    events.collect()
    happen(acme)
    happen(globex)
    events.collect()
    events.collect()
    assert deliveries() == ["message.delivered", "message.failed", "message.refused"]
    delivered = WebhookDelivery.objects.get(event="message.delivered").payload["data"]
    assert (delivered["recipient"], delivered["code"]) == ("b@globex.example", 250)


def test_only_wanted_events(acme: Customer, endpoint: WebhookEndpoint) -> None:
    endpoints.change(endpoint, actor=ALICE, events=["message.failed"])
    events.collect()
    happen(acme)
    events.collect()
    assert deliveries() == ["message.failed"]


def test_a_complaint_is_told_once_to_its_customer_only(acme: Customer, endpoint: WebhookEndpoint) -> None:
    events.collect()
    globex = customers.create(actor="sam@smg.example", slug="globex", name="Globex")
    for customer in (acme, globex):
        happen(customer)
    events.collect()
    WebhookDelivery.objects.all().delete()
    own, other = acme.messages.get(), globex.messages.get()
    for number, (message, kind) in enumerate(
        [(own, "abuse"), (own, "not-spam"), (own, "auth-failure"), (other, "abuse"), (None, "abuse")]
    ):
        Complaint.objects.create(
            at=timezone.now(),
            kind=kind,
            customer=message and message.customer,
            message=message,
            recipient="b@globex.example",
            reporter="fbl@provider.example",
            digest=str(number),
        )
    with time_machine.travel(timezone.now() + timedelta(minutes=1), tick=False):
        events.collect()
        events.collect()
    told = WebhookDelivery.objects.get(event="message.complaint")
    assert told.payload["data"] == {
        "message": own.text_id,
        "recipient": "b@globex.example",
        "kind": "abuse",
        "reporter": "fbl@provider.example",
    }


def test_what_has_just_happened_waits_for_late_commits(
    acme: Customer, endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "lag", lambda: timedelta(seconds=5))
    events.collect()
    Refusal.objects.create(at=timezone.now(), customer=acme, stage="mail", code=553, text="no", reason="x")
    assert events.collect() == 0
    with time_machine.travel(timezone.now() + timedelta(minutes=1), tick=False):
        events.collect()
    assert "message.refused" in deliveries()


def test_a_full_batch_is_continued(
    acme: Customer, endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "BATCH", 2)
    events.collect()
    at = timezone.now() - timedelta(minutes=1)
    for number in range(5):
        Refusal.objects.create(at=at, customer=acme, stage="mail", code=553, text=str(number), reason="x")
    for _times in range(4):
        events.collect()
    texts = [row.payload["data"]["text"] for row in WebhookDelivery.objects.filter(event="message.refused")]
    assert sorted(texts) == ["0", "1", "2", "3", "4"]


# ---- delivery --------------------------------------------------------------------------------------------------


def send(endpoint: WebhookEndpoint) -> WebhookDelivery:
    delivery = endpoints.send_test(endpoint, actor=ALICE)
    assert tasks.deliver() == 1
    delivery.refresh_from_db()
    endpoint.refresh_from_db()
    return delivery


def test_a_delivery_is_signed(endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    delivery = send(endpoint)
    assert (delivery.state, delivery.attempts, delivery.log[0]["status"]) == ("delivered", 1, 200)
    assert endpoint.last_success_at
    headers, body = receiver.got[0]
    assert json.loads(body)["type"] == "webhook.test"
    key = base64.b64decode(crypto.decrypt(endpoint.secret).removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == expected
    assert abs(int(headers["webhook-timestamp"]) - timezone.now().timestamp()) < 60


def test_a_failure_is_retried_later_under_the_same_id(endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    receiver.status = 500
    delivery = send(endpoint)
    assert (delivery.state, delivery.attempts, endpoint.failures) == ("pending", 1, 1)
    assert tasks.deliver() == 0  # not due yet
    receiver.status = 204
    with time_machine.travel(timezone.now() + timedelta(seconds=10), tick=False):
        assert tasks.deliver() == 1
    delivery.refresh_from_db()
    endpoint.refresh_from_db()
    assert (delivery.state, delivery.attempts, endpoint.failures, endpoint.failing_since) == (
        "delivered",
        2,
        0,
        None,
    )
    assert len({headers["webhook-id"] for headers, _body in receiver.got}) == 1


def test_after_the_last_retry_it_is_given_up_and_can_be_sent_again(
    endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    receiver.status = 500
    delivery = endpoints.send_test(endpoint, actor=ALICE)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _attempt in range(9):
            tasks.deliver()
            clock.shift(timedelta(days=1, seconds=1))
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.next_attempt_at) == ("failed", 9, None)
    receiver.status = 200
    assert endpoints.send_again(delivery, actor=ALICE)
    tasks.deliver()
    delivery.refresh_from_db()
    assert delivery.state == "delivered"


def test_a_dead_endpoint_is_switched_off_and_its_owner_told(
    endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    WebhookEndpoint.objects.update(failures=9, failing_since=timezone.now() - timedelta(days=3))
    endpoint.refresh_from_db()
    receiver.status = 503
    delivery = send(endpoint)
    assert not endpoint.is_active
    assert delivery.state == "failed"
    assert [one.to for one in mail.outbox] == [["ops@acme.example"]]
    assert AuditEntry.objects.filter(
        action="webhook.disable", actor="system", customer=endpoint.customer
    ).exists()
    with pytest.raises(ValidationError):
        endpoints.send_again(delivery, actor=ALICE)
    assert endpoints.enable(endpoint, actor=ALICE)
    assert (endpoint.failures, endpoint.is_active) == (0, True)


def test_gone_means_gone(endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    receiver.status = 410
    send(endpoint)
    assert endpoint.disabled_reason == "410 Gone"


def test_two_senders_never_send_the_same(endpoint: WebhookEndpoint) -> None:
    endpoints.send_test(endpoint, actor=ALICE)
    assert [len(tasks.claim()), len(tasks.claim())] == [1, 0]


def test_a_lost_sender_is_replaced(endpoint: WebhookEndpoint) -> None:
    endpoints.send_test(endpoint, actor=ALICE)
    tasks.claim()
    with time_machine.travel(timezone.now() + 2 * tasks.LEASE, tick=False):
        assert len(tasks.claim()) == 1


def test_outside_of_a_laboratory_nothing_private_is_reached(
    endpoint: WebhookEndpoint, receiver: Receiver, settings: Any
) -> None:
    settings.SMG_WEBHOOK_NETWORKS = ()
    delivery = send(endpoint)
    assert not receiver.got
    assert delivery.log[0]["error"] == "the name leads to an address that is not public"


def test_what_is_old_is_forgotten(endpoint: WebhookEndpoint) -> None:
    old, fresh = (endpoints.send_test(endpoint, actor=ALICE) for _ in range(2))
    WebhookDelivery.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=31))
    assert tasks.forget_old() == "1 forgotten"
    assert list(WebhookDelivery.objects.all()) == [fresh]


def test_a_new_webhook_is_not_told_what_happened_while_there_was_none(
    endpoint: WebhookEndpoint, acme: Customer
) -> None:
    events.collect()
    endpoints.disable(endpoint, actor=ALICE, reason="for a while")
    happen(acme)
    endpoints.enable(endpoint, actor=ALICE)
    assert events.collect() == 0
    happen(acme)
    assert events.collect() == 3


def test_another_webhook_does_not_keep_the_first_from_its_events(
    endpoint: WebhookEndpoint, acme: Customer
) -> None:
    events.collect()
    happen(acme)
    endpoints.create(acme, url="https://hooks.acme.example/two", events=["message.refused"], actor=ALICE)
    assert events.collect() > 3
