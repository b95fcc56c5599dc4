"""Send what is due in the outbox, and forget what is old.

The database is spoken to by this thread alone; only the POSTs run in parallel, so one slow receiver delays nobody.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from gateway import crypto
from portal.models import WebhookDelivery, WebhookEndpoint
from portal.webhooks import endpoints, signing
from portal.webhooks.sender import Answer, post

AT_ONCE = 8
BATCH = 100
MOST_BATCHES = 20  # the rest waits for the next call
LEASE = timedelta(seconds=120)  # a batch of receivers that all run into the time-out takes 65
KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Request:
    delivery: WebhookDelivery
    body: bytes
    headers: dict[str, str]


def forget_old() -> str:
    """For the schedule."""
    forgotten, _rows = WebhookDelivery.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
    return f"{forgotten} forgotten"


def deliver(goes_on: Callable[[], bool] = lambda: True) -> int:
    """Send what is due, in batches while `goes_on`; returns the number of attempts."""
    sent = 0
    for _batch in range(MOST_BATCHES):
        if not goes_on():
            break
        requests = [_prepared(delivery) for delivery in claim()]
        if not requests:
            break
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(_send, requests))
        for request, answer in zip(requests, answers, strict=True):
            settle(request.delivery, answer)
        sent += len(requests)
    return sent


def claim() -> list[WebhookDelivery]:
    """Due deliveries, each leased to this caller: two schedulers never send the same one."""
    now = timezone.now()
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    due = WebhookDelivery.objects.filter(
        free, state=WebhookDelivery.State.PENDING, next_attempt_at__lte=now, endpoint__disabled_at=None
    )
    wanted = due.select_related("endpoint__customer").order_by("next_attempt_at")[:BATCH]
    leased = WebhookDelivery.objects.filter(free)
    return [delivery for delivery in wanted if leased.filter(pk=delivery.pk).update(lease_until=now + LEASE)]


@transaction.atomic
def settle(delivery: WebhookDelivery, answer: Answer) -> None:
    """Write what an attempt came to, for the delivery and for its endpoint."""
    now = timezone.now()
    attempts = delivery.attempts + 1
    again = None if answer.is_success else signing.next_attempt(attempts, now, answer.retry_after_s)
    delivery.attempts, delivery.next_attempt_at, delivery.lease_until = attempts, again, None
    delivery.state = _state(answer, again)
    delivery.settled_at = None if delivery.state == WebhookDelivery.State.PENDING else now
    delivery.log = [*delivery.log[-20:], _entry(answer, now)]
    delivery.save(update_fields=["attempts", "next_attempt_at", "lease_until", "state", "settled_at", "log"])
    if answer.is_success:
        quiet = {"failures": 0, "failing_since": None, "last_success_at": now}
        WebhookEndpoint.objects.filter(pk=delivery.endpoint_id).update(**quiet)
    else:
        _note_failure(delivery.endpoint, answer, now)


def _state(answer: Answer, again: datetime | None) -> str:
    if answer.is_success:
        return WebhookDelivery.State.DELIVERED
    return WebhookDelivery.State.PENDING if again else WebhookDelivery.State.FAILED


def _entry(answer: Answer, now: datetime) -> dict[str, Any]:
    return {
        "at": now.isoformat(),
        "status": answer.status,
        "error": answer.error,
        "body": answer.body,
        "ms": answer.ms,
    }


def _note_failure(endpoint: WebhookEndpoint, answer: Answer, now: datetime) -> None:
    rows = WebhookEndpoint.objects.filter(pk=endpoint.pk)
    rows.filter(failing_since=None).update(failing_since=now)
    rows.update(failures=F("failures") + 1)
    endpoint.refresh_from_db(fields=["failures", "failing_since", "disabled_at"])
    if answer.is_gone:
        _switch_off(endpoint, "410 Gone")
    elif signing.is_dead(endpoint.failures, endpoint.failing_since, now):
        _switch_off(endpoint, answer.error or f"HTTP {answer.status}")


def _switch_off(endpoint: WebhookEndpoint, reason: str) -> None:
    if not endpoints.disable(endpoint, actor="system", reason=reason) or not endpoint.customer.alert_email:
        return
    with translation.override(endpoint.customer.language):
        subject = _("A webhook was switched off")
        text = _(
            "Nothing could be sent to %(url)s for a long time (%(reason)s), so it was switched off.\n"
            "Mend it, then switch it on again: %(page)s"
        ) % {
            "url": endpoints.shown(endpoint),
            "reason": reason,
            "page": f"{settings.SMG.public_url}/api-access/",
        }
    send_mail(subject, text, None, [endpoint.customer.alert_email])


def _prepared(delivery: WebhookDelivery) -> Request:
    body = json.dumps(delivery.payload, ensure_ascii=False, separators=(",", ":")).encode()
    stamp = int(timezone.now().timestamp())
    delivery_id = f"msg_{delivery.pk.hex}"
    secret = crypto.decrypt(delivery.endpoint.secret)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "SecureMailGateway-Webhooks/1",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": signing.sign(secret, delivery_id, stamp, body),
    }
    return Request(delivery, body, headers)


def _send(request: Request) -> Answer:
    return post(
        request.delivery.endpoint.url, request.body, request.headers, laboratory=endpoints.laboratory()
    )
