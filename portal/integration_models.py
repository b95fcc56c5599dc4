"""What machines of the customer use: API tokens, webhooks, idempotency keys."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core.validators import URLValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.models import Customer

__all__ = ["ApiToken", "ApiWindow", "IdempotencyKey", "WebhookCursor", "WebhookDelivery", "WebhookEndpoint"]


class ApiToken(models.Model):
    """A key to the API for one customer. It never may do more than the person who made it may do today."""

    customer = models.ForeignKey(
        Customer, models.CASCADE, related_name="api_tokens", verbose_name=_("customer")
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens", verbose_name=_("made by")
    )
    name = models.CharField(_("name"), max_length=100)
    prefix = models.CharField(_("begins with"), max_length=16, unique=True, editable=False)
    secret_hash = models.CharField(max_length=64, editable=False)  # keyed, see portal/tokens.py
    scopes = models.JSONField(_("may"), default=list)  # of 'read', 'write'
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    last_used_ip = models.GenericIPAddressField(_("last used from"), null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def is_active(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())


class ApiWindow(models.Model):
    """The minute of a token or person that is running: how many requests all web processes have taken from it."""

    asker = models.CharField(max_length=80, primary_key=True)  # 'api-token-7'
    started_at = models.DateTimeField(db_index=True)
    used = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.asker}: {self.used}"


class WebhookEndpoint(models.Model):
    """An address of the customer that is told of events (Standard Webhooks)."""

    customer = models.ForeignKey(
        Customer, models.CASCADE, related_name="webhooks", verbose_name=_("customer")
    )
    url = models.CharField(_("URL"), max_length=500, validators=[URLValidator(schemes=["https", "http"])])
    description = models.CharField(_("used by"), max_length=200, blank=True)
    events = models.JSONField(_("events"), default=list, blank=True)  # empty: all
    secret = models.TextField(editable=False)  # encrypted 'whsec_...'
    disabled_at = models.DateTimeField(_("switched off"), null=True, blank=True, editable=False)
    disabled_reason = models.CharField(_("why"), max_length=300, blank=True, editable=False)
    failures = models.PositiveIntegerField(_("failures in a row"), default=0, editable=False)
    failing_since = models.DateTimeField(_("failing since"), null=True, blank=True, editable=False)
    last_success_at = models.DateTimeField(_("last success"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.url

    @property
    def is_active(self) -> bool:
        return self.disabled_at is None


class WebhookDelivery(models.Model):
    """One event for one endpoint: the outbox, and afterwards the delivery log."""

    class State(models.TextChoices):
        PENDING = "pending", _("to be sent")
        DELIVERED = "delivered", _("delivered")
        FAILED = "failed", _("given up")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE, related_name="deliveries")
    event = models.CharField(_("event"), max_length=40)
    payload = models.JSONField(_("payload"), default=dict)
    state = models.CharField(_("state"), max_length=9, choices=State, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True)
    lease_until = models.DateTimeField(null=True)
    log = models.JSONField(_("attempts"), default=list)  # [{at, status, error, body, ms}], one per attempt
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    settled_at = models.DateTimeField(_("settled"), null=True)

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["next_attempt_at"], condition=models.Q(state="pending"), name="webhook_delivery_due"
            ),
            models.Index(fields=["endpoint", "-created_at"], name="webhook_delivery_by_endpoint"),
            models.Index(fields=["created_at"], name="webhook_delivery_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.id}"


class WebhookCursor(models.Model):
    """How far the events of one source were turned into deliveries."""

    source = models.CharField(max_length=40, primary_key=True)
    last_id = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.source}: {self.last_id}"


class IdempotencyKey(models.Model):
    """The answer to a write that carried an Idempotency-Key, given again when the same write is repeated."""

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)  # hash of method, path, body and who asked
    status = models.PositiveSmallIntegerField(default=0)  # 0: being worked on
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint("customer", "key", name="idempotency_key_once")]

    def __str__(self) -> str:
        return self.key
