"""Who changed what, and the number that tells the relay to read its policy anew."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from gateway.models.customers import Customer


class AuditEntry(models.Model):
    """One change, written in its own transaction by `gateway/control`. Never updated, never deleted early."""

    at = models.DateTimeField(_("time"), auto_now_add=True, db_index=True)
    customer = models.ForeignKey(
        Customer,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="audit_entries",
        verbose_name=_("customer"),
    )
    actor = models.CharField(_("who"), max_length=254)  # e-mail address, 'command line' or 'system'
    action = models.CharField(_("action"), max_length=60, db_index=True)  # 'domain.add', 'queue.release' ...
    target = models.CharField(_("what"), max_length=300, blank=True)
    detail = models.JSONField(
        _("details"), default=dict, blank=True
    )  # {'field': [before, after]}; never secrets

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit log")
        ordering = ["-id"]
        indexes = [models.Index(fields=["customer", "-id"], name="audit_by_customer")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.actor} {self.action} {self.target}"


class PolicyVersion(models.Model):
    """One row, counted up by every change the relay must know of; each relay process polls it once a second."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    version = models.PositiveBigIntegerField(default=1)
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return str(self.version)
