"""The verbs on webhooks: create, change, rotate, switch on and off, remove, test, send again."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway import crypto
from gateway.control.audit import record
from gateway.models import Customer
from gateway.rules.mx import IPNetwork
from portal.models import WebhookDelivery, WebhookEndpoint
from portal.webhooks import sender, signing
from portal.webhooks.events import EVENTS, TEST, envelope, start_anew

MOST_ENDPOINTS = 20


def laboratory() -> tuple[IPNetwork, ...]:
    """Private networks that webhooks may reach all the same: tests and laboratories only (SMG_WEBHOOK_NETWORKS)."""
    return tuple(ipaddress.ip_network(word) for word in getattr(settings, "SMG_WEBHOOK_NETWORKS", ()))


@transaction.atomic
def create(
    customer: Customer, *, url: str, events: Sequence[str] = (), description: str = "", actor: str
) -> tuple[WebhookEndpoint, str]:
    """A new endpoint and its secret, which is shown once. Raises ValidationError."""
    if customer.webhooks.count() >= MOST_ENDPOINTS:
        raise ValidationError(_("Remove webhooks that are not used any more first."))
    secret = signing.new_secret()
    endpoint = WebhookEndpoint(
        customer=customer,
        url=url.strip(),
        events=list(events),
        description=description,
        secret=crypto.encrypt(secret),
    )
    _check(endpoint)
    start_anew()
    endpoint.save(force_insert=True)
    record(
        actor, "webhook.create", shown(endpoint), customer=customer, detail={"events": ["", " ".join(events)]}
    )
    return endpoint, secret


@transaction.atomic
def change(endpoint: WebhookEndpoint, *, actor: str, **values: Any) -> list[str]:
    """Save url, events or description; returns the names of the changed fields. Raises ValidationError."""
    unknown = set(values) - {"url", "events", "description"}
    if unknown:
        raise ValidationError(_("Unknown fields: %(names)s"), params={"names": ", ".join(sorted(unknown))})
    before = shown(endpoint)
    changed = [name for name, value in values.items() if getattr(endpoint, name) != value]
    for name in changed:
        setattr(endpoint, name, values[name])
    _check(endpoint)
    if changed:
        endpoint.save(update_fields=changed)
        record(
            actor,
            "webhook.change",
            shown(endpoint),
            customer=endpoint.customer,
            detail={"url": [before, shown(endpoint)]},
        )
    return changed


@transaction.atomic
def rotate_secret(endpoint: WebhookEndpoint, *, actor: str) -> str:
    """A new secret, valid at once; returns it, it is shown once."""
    secret = signing.new_secret()
    endpoint.secret = crypto.encrypt(secret)
    endpoint.save(update_fields=["secret"])
    record(actor, "webhook.rotate", shown(endpoint), customer=endpoint.customer)
    return secret


@transaction.atomic
def enable(endpoint: WebhookEndpoint, *, actor: str) -> bool:
    """Send to it again. True if something changed."""
    fresh = {"disabled_at": None, "disabled_reason": "", "failures": 0, "failing_since": None}
    start_anew()
    if not WebhookEndpoint.objects.filter(pk=endpoint.pk, disabled_at__isnull=False).update(**fresh):
        return False
    endpoint.refresh_from_db()
    record(actor, "webhook.enable", shown(endpoint), customer=endpoint.customer)
    return True


@transaction.atomic
def disable(endpoint: WebhookEndpoint, *, actor: str, reason: str) -> bool:
    """Send nothing more; what waits is given up (and can be sent again). True if something changed."""
    off = {"disabled_at": timezone.now(), "disabled_reason": reason[:300]}
    if not WebhookEndpoint.objects.filter(pk=endpoint.pk, disabled_at=None).update(**off):
        return False
    waiting = endpoint.deliveries.filter(state=WebhookDelivery.State.PENDING)
    waiting.update(state=WebhookDelivery.State.FAILED, settled_at=timezone.now(), next_attempt_at=None)
    endpoint.refresh_from_db()
    record(
        actor, "webhook.disable", shown(endpoint), customer=endpoint.customer, detail={"reason": ["", reason]}
    )
    return True


@transaction.atomic
def remove(endpoint: WebhookEndpoint, *, actor: str) -> None:
    """Delete the endpoint with its delivery log."""
    record(actor, "webhook.remove", shown(endpoint), customer=endpoint.customer)
    endpoint.delete()


@transaction.atomic
def send_test(endpoint: WebhookEndpoint, *, actor: str) -> WebhookDelivery:
    """Put a test event into the outbox. Raises ValidationError for an endpoint that is switched off."""
    if not endpoint.is_active:
        raise ValidationError(_("The webhook is switched off."))
    now = timezone.now()
    payload = envelope(TEST, now, {"customer": endpoint.customer.slug, "sent_by": actor})
    record(actor, "webhook.test", shown(endpoint), customer=endpoint.customer)
    return WebhookDelivery.objects.create(endpoint=endpoint, event=TEST, payload=payload, next_attempt_at=now)


@transaction.atomic
def send_again(delivery: WebhookDelivery, *, actor: str) -> bool:
    """Put a settled delivery back into the outbox, under its old id. True if something changed."""
    if not delivery.endpoint.is_active:
        raise ValidationError(_("The webhook is switched off."))
    fresh = {
        "state": WebhookDelivery.State.PENDING,
        "attempts": 0,
        "next_attempt_at": timezone.now(),
        "settled_at": None,
    }
    settled = WebhookDelivery.objects.filter(pk=delivery.pk).exclude(state=WebhookDelivery.State.PENDING)
    if not settled.update(**fresh):
        return False
    delivery.refresh_from_db()
    record(actor, "webhook.send_again", delivery, customer=delivery.endpoint.customer)
    return True


def shown(endpoint: WebhookEndpoint) -> str:
    """The URL without what people put into it as a secret (user, password, query)."""
    url = urlsplit(endpoint.url)
    return f"{url.scheme}://{url.hostname or ''}{f':{url.port}' if url.port else ''}{url.path}"


def _check(endpoint: WebhookEndpoint) -> None:
    endpoint.full_clean()
    errors: dict[str, Any] = {}
    if not isinstance(endpoint.events, list) or set(map(str, endpoint.events)) - set(EVENTS):
        errors["events"] = _("Unknown event.")
    problem = url_problem(endpoint.url)
    if problem:
        errors["url"] = problem
    if errors:
        raise ValidationError(errors)


def url_problem(url: str) -> Any:
    """Why a URL cannot be a webhook, as far as it can be seen without asking DNS; '' if nothing is seen."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not laboratory():
        return _("The URL must begin with https://.")
    if parts.username or parts.password:
        return _("No user name and password in the URL; requests are signed.")
    try:
        address = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return ""
    return "" if sender.is_allowed(address, laboratory()) else _("This address is not public.")
