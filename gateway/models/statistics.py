"""Numbers that overviews read instead of scanning the log."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from gateway.models.customers import Customer


class HourlyCount(models.Model):
    """Counts of one hour (UTC), customer and sender domain. Upserted in the transactions that settle or refuse mail."""

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="hourly_counts")
    hour = models.DateTimeField()
    domain = models.CharField(max_length=255)  # sender domain, '' for the null sender
    accepted = models.PositiveIntegerField(default=0)  # messages; those neither suspect nor spam are clean
    refused = models.PositiveIntegerField(default=0)
    infected = models.PositiveIntegerField(default=0)
    suspect = models.PositiveIntegerField(default=0)
    spam = models.PositiveIntegerField(default=0)
    recipients = models.PositiveIntegerField(default=0)
    delivered = models.PositiveIntegerField(default=0)  # recipients
    deferred = models.PositiveIntegerField(default=0)  # attempts that came to nothing yet
    bounced = models.PositiveIntegerField(default=0)
    expired = models.PositiveIntegerField(default=0)
    held = models.PositiveIntegerField(default=0)
    unknown_user = models.PositiveIntegerField(default=0)
    size_kib = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name = _("hourly count")
        verbose_name_plural = _("hourly counts")
        constraints = [models.UniqueConstraint("customer", "hour", "domain", name="hourly_count_once")]
        indexes = [models.Index(fields=["hour"], name="hourly_by_hour")]

    def __str__(self) -> str:
        return f"{self.customer_id} {self.domain} {self.hour:%Y-%m-%d %H}"


class RateWindow(models.Model):
    """The customer's minute that is running: opened by its first message, shared by all relay processes."""

    customer = models.OneToOneField(Customer, models.CASCADE, primary_key=True, related_name="rate_window")
    started_at = models.DateTimeField()
    used = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.customer_id}: {self.used}"


class TlsCount(models.Model):
    """TLS sessions of one day and policy domain, for the reports of RFC 8460."""

    day = models.DateField()
    policy_domain = models.CharField(max_length=253)
    policy_type = models.CharField(max_length=16)  # 'sts' | 'tlsa' | 'no-policy-found'
    result = models.CharField(max_length=40)  # 'success' or a result type of RFC 8460 4.3
    mx = models.CharField(max_length=253, blank=True)
    sessions = models.PositiveIntegerField(default=0)
    reported_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "day", "policy_domain", "policy_type", "result", "mx", name="tls_count_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.policy_domain} {self.result}"
