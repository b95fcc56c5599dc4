"""What recipients said about mail: one row per feedback report of a mailbox provider."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from gateway.models.customers import Credential, Customer
from gateway.models.mail import Message
from gateway.rules.arf import COMPLAINTS


class Complaint(models.Model):
    """A feedback report (RFC 5965). Without a message it could not be attributed; `obstacle` says why."""

    class Kind(models.TextChoices):
        ABUSE = "abuse", _("reported as spam")
        FRAUD = "fraud", _("reported as fraud")
        VIRUS = "virus", _("reported as a virus")
        OTHER = "other", _("reported for another reason")
        NOT_SPAM = "not-spam", _("reported as no spam")
        AUTH_FAILURE = "auth-failure", _("authentication failed")

    class Obstacle(models.TextChoices):
        UNKNOWN = "unknown", _("no such message, or no longer kept")
        SENDER = "sender", _("the message has another sender than the report says")

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(_("time"))
    kind = models.CharField(_("kind"), max_length=12, choices=Kind)
    customer = models.ForeignKey(
        Customer, models.CASCADE, null=True, related_name="complaints", db_index=False
    )
    credential = models.ForeignKey(Credential, models.SET_NULL, null=True, related_name="+", db_index=False)
    message = models.ForeignKey(
        Message, models.CASCADE, null=True, related_name="complaints", db_constraint=False
    )
    obstacle = models.CharField(_("not attributed because"), max_length=8, choices=Obstacle, blank=True)
    reporter = models.CharField(_("reported by"), max_length=320, blank=True)
    user_agent = models.CharField(_("program"), max_length=200, blank=True)
    author = models.CharField(_("From"), max_length=320, blank=True)  # of the message, as the report shows it
    recipient = models.CharField(
        _("recipient"), max_length=320, blank=True
    )  # often taken out by the provider
    source_ip = models.GenericIPAddressField(_("source address"), null=True)
    header_id = models.CharField(_("Message-ID"), max_length=300, blank=True)
    digest = models.CharField(max_length=64, unique=True)  # of the report: it counts once
    told_at = models.DateTimeField(_("customer told"), null=True)

    class Meta:
        verbose_name = _("complaint")
        verbose_name_plural = _("complaints")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["customer", "-id"], name="complaint_by_customer"),
            models.Index(fields=["credential", "message"], name="complaint_by_login"),
            models.Index(fields=["at"], name="complaint_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.reporter}"

    @property
    def is_counted(self) -> bool:
        """Whether it speaks against the sender."""
        return self.kind in COMPLAINTS
