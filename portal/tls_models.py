"""Tests of a partner's mail servers that people asked for: they take up to a minute, so they run in the background."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.models import Customer, TlsRule

__all__ = ["TlsTest"]

LATE = timedelta(minutes=2)  # a preflight ends after 45 seconds; what takes longer was never begun


class TlsTest(models.Model):
    """One preflight. `rule` gets the verdict; `values` are those of a rule that is not saved yet."""

    customer = models.ForeignKey(
        Customer, models.CASCADE, related_name="tls_tests", verbose_name=_("customer")
    )
    rule = models.ForeignKey(TlsRule, models.CASCADE, null=True, related_name="tests", verbose_name=_("rule"))
    domain = models.CharField(_("domain"), max_length=254)
    values = models.JSONField(default=dict)
    asked_at = models.DateTimeField(_("asked"), auto_now_add=True)
    done_at = models.DateTimeField(_("done"), null=True)
    report = models.JSONField(_("report"), default=dict)  # PreflightReport.as_json()

    class Meta:
        verbose_name = _("TLS test")
        verbose_name_plural = _("TLS tests")
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.domain

    @property
    def is_running(self) -> bool:
        return self.done_at is None and timezone.now() - self.asked_at < LATE

    @property
    def is_lost(self) -> bool:
        """Nobody ran it: the background tasks are down."""
        return self.done_at is None and not self.is_running
