"""What customers and support say to each other, and who may look into a message."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.models import Customer
from gateway.rules.ids import to_text

__all__ = ["ContentGrant", "ContentLook", "SupportReply", "SupportRequest"]


class SupportRequest(models.Model):
    """A customer's question, answered by support."""

    class Topic(models.TextChoices):
        QUESTION = "question", _("a question")
        DELIVERY = "delivery", _("mail does not arrive")
        ACCESS = "access", _("log-in or SMTP access")
        DNS = "dns", _("domains, DKIM, SPF")
        BLACKLIST = "blacklist", _("a blacklist listing")
        OTHER = "other", _("something else")

    class State(models.TextChoices):
        OPEN = "open", _("waiting for support")
        ANSWERED = "answered", _("answered")
        CLOSED = "closed", _("closed")

    customer = models.ForeignKey(
        Customer, models.CASCADE, related_name="support_requests", verbose_name=_("customer")
    )
    subject = models.CharField(_("subject"), max_length=200)
    topic = models.CharField(_("about"), max_length=10, choices=Topic, default=Topic.QUESTION)
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.OPEN)
    message_id = models.BigIntegerField(_("message"), null=True, blank=True)  # a Message of the customer
    created_by = models.CharField(_("by"), max_length=254)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("last word"), auto_now_add=True)
    deadline_at = models.DateTimeField(_("answer until"), null=True, blank=True)
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True)

    class Meta:
        verbose_name = _("support request")
        verbose_name_plural = _("support requests")
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["deadline_at"], condition=models.Q(state="open"), name="support_request_waiting"
            )
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.subject}"

    @property
    def text_id(self) -> str:
        """The message it is about, as people see it; '' for none."""
        return to_text(self.message_id) if self.message_id else ""


class SupportReply(models.Model):
    """One word in a request's conversation. Internal notes are support's own and never shown to the customer."""

    request = models.ForeignKey(SupportRequest, models.CASCADE, related_name="replies")
    author = models.CharField(_("by"), max_length=254)
    from_support = models.BooleanField(default=False)
    internal = models.BooleanField(_("note for support only"), default=False)
    text = models.TextField(_("text"), max_length=20_000)
    created_at = models.DateTimeField(_("time"), auto_now_add=True)

    class Meta:
        verbose_name = _("reply")
        verbose_name_plural = _("replies")
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.author}: {self.text[:60]}"


class ContentGrant(models.Model):
    """Leave to look at subjects and bodies for a while: from the customer, or taken in an emergency with a reason."""

    class Kind(models.TextChoices):
        CUSTOMER = "customer", _("given by the customer")
        BREAK_GLASS = "break_glass", _("taken by support")

    customer = models.ForeignKey(
        Customer, models.CASCADE, related_name="content_grants", verbose_name=_("customer")
    )
    kind = models.CharField(_("kind"), max_length=11, choices=Kind, default=Kind.CUSTOMER)
    message_id = models.BigIntegerField(_("message"), null=True, blank=True)  # null: every message
    granted_by = models.CharField(_("by"), max_length=254)
    granted_to = models.CharField(_("for"), max_length=254, blank=True)  # '' = whoever works in support
    reason = models.CharField(_("reason"), max_length=500)
    created_at = models.DateTimeField(_("since"), auto_now_add=True)
    expires_at = models.DateTimeField(_("until"))
    revoked_at = models.DateTimeField(_("taken back"), null=True, blank=True)

    class Meta:
        verbose_name = _("grant")
        verbose_name_plural = _("grants")
        ordering = ["-id"]
        indexes = [models.Index(fields=["customer", "expires_at"], name="content_grant_valid")]

    def __str__(self) -> str:
        return f"{self.customer}: {self.get_kind_display()}"

    @property
    def text_id(self) -> str:
        """The message as people see it, '' for every message."""
        return to_text(self.message_id) if self.message_id else ""

    @property
    def is_valid(self) -> bool:
        return self.revoked_at is None and self.expires_at > timezone.now()


class ContentLook(models.Model):
    """One look at a subject or body. Append-only: rows are chained by hash, per customer, see portal/consent.py."""

    class What(models.TextChoices):
        SUBJECT = "subject", _("subject")
        BODY = "body", _("subject and body")

    customer = models.ForeignKey(
        Customer, models.CASCADE, related_name="content_looks", verbose_name=_("customer")
    )
    grant = models.ForeignKey(ContentGrant, models.RESTRICT, related_name="looks", verbose_name=_("grant"))
    at = models.DateTimeField(_("time"))
    who = models.CharField(_("who"), max_length=254)
    message_id = models.BigIntegerField(_("message"))
    what = models.CharField(_("what"), max_length=7, choices=What)
    previous = models.CharField(max_length=64, blank=True)  # hash of the customer's look before this one
    hash = models.CharField(max_length=64)

    class Meta:
        verbose_name = _("look at content")
        verbose_name_plural = _("looks at content")
        ordering = ["-id"]
        indexes = [models.Index(fields=["customer", "-id"], name="content_look_by_customer")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.who} {self.what}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk:
            self._refuse()
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse()

    @property
    def text_id(self) -> str:
        return to_text(self.message_id)

    def _refuse(self) -> NoReturn:
        raise TypeError("the log of looks is append-only")
