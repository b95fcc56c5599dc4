"""What this installation learned about spam, and who disagreed with a verdict."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from gateway.models.customers import Credential, Customer
from gateway.models.mail import Message


class FeatureVector(models.Model):
    """The features of one judged message, without any text of it: changed thresholds are replayed on these."""

    message = models.OneToOneField(
        Message, models.CASCADE, primary_key=True, related_name="features", db_constraint=False
    )
    customer = models.ForeignKey(Customer, models.CASCADE, db_index=False)
    at = models.DateTimeField(db_index=True)
    score = models.FloatField()
    vector = models.BinaryField()

    def __str__(self) -> str:
        return str(self.message_id)


class LocalWord(models.Model):
    """Counts beside the shipped tables: how often one hashed feature stood in local ham and spam."""

    feature = models.BigIntegerField(primary_key=True)  # -1: number of messages learned
    ham = models.PositiveIntegerField(default=0)
    spam = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.feature}: {self.ham}/{self.spam}"


class Appeal(models.Model):
    """A customer says 'not spam' (or support says 'spam'), and support's decision."""

    class State(models.TextChoices):
        OPEN = "open", _("waiting for support")
        ACCEPTED = "accepted", _("not spam")
        DECLINED = "declined", _("stays as judged")
        UNDONE = "undone", _("undone")

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="appeals", verbose_name=_("customer"))
    message = models.ForeignKey(
        Message, models.SET_NULL, null=True, related_name="appeals", verbose_name=_("message")
    )
    state = models.CharField(_("state"), max_length=9, choices=State, default=State.OPEN)
    comment = models.TextField(_("comment"), blank=True)
    created_by = models.CharField(_("by"), max_length=254)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    flip = models.JSONField(_("smallest set of symbols for Good"), default=list)
    vector = models.BinaryField(null=True, editable=False)
    answer = models.TextField(_("answer"), blank=True)
    decided_by = models.CharField(_("decided by"), max_length=254, blank=True)
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)

    class Meta:
        verbose_name = _("appeal")
        verbose_name_plural = _("appeals")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.customer}: {self.get_state_display()}"


class SpamException(models.Model):
    """A scoped, expiring exception: these symbols do not count for this customer's sender domain (or login)."""

    customer = models.ForeignKey(
        Customer, models.CASCADE, related_name="spam_exceptions", verbose_name=_("customer")
    )
    credential = models.ForeignKey(
        Credential, models.CASCADE, null=True, blank=True, verbose_name=_("SMTP login")
    )
    sender_domain = models.CharField(_("sender domain"), max_length=253, blank=True)
    symbols = models.JSONField(_("symbols"), default=list)
    expires_at = models.DateTimeField(_("until"))
    created_by = models.CharField(_("by"), max_length=254)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    appeal = models.ForeignKey(Appeal, models.SET_NULL, null=True, blank=True, related_name="exceptions")

    class Meta:
        verbose_name = _("spam exception")
        verbose_name_plural = _("spam exceptions")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.customer} {self.sender_domain}: {', '.join(self.symbols)}"
