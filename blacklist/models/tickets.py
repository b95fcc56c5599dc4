"""The delisting desk: a ticket per listing with everything that was found, tried and said."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from blacklist.models.listings import Listing


class DelistingTicket(models.Model):
    """Support's work on one listing. States and deadlines: rules/tickets.py; every change goes through control.desk."""

    class StateChoice(models.TextChoices):
        DETECTED = "detected", _("named by a receiver, being checked")
        DROPPED = "dropped", _("not confirmed")
        OPEN = "open", _("open")
        REOPENED = "reopened", _("open again")
        INVESTIGATING = "investigating", _("looking for the cause")
        READY = "ready", _("cause fixed, request ready")
        REQUESTED = "requested", _("removal requested")
        WAITING_EXPIRY = "waiting_expiry", _("waits until it expires")
        WAITING_PROVIDER = "waiting_provider", _("waits for the network's owner")
        NEEDS_CUSTOMER = "needs_customer", _("waits for the customer")
        REJECTED = "rejected", _("removal refused")
        DELISTED_PENDING = "delisted_pending", _("clean once, being confirmed")
        CLOSED = "closed", _("closed")
        LIST_INVALID = "list_invalid", _("the list is dead or broken")
        ACCEPTED_RISK = "accepted_risk", _("accepted for now")

    class Cause(models.TextChoices):
        UNKNOWN = "unknown", _("unknown")
        COMPROMISED = "compromised", _("account taken over")
        WEBSITE = "website", _("hacked web site")
        NEWSLETTER = "newsletter", _("unwanted mailing")
        BACKSCATTER = "backscatter", _("bounces to forged senders")
        RDNS = "rdns", _("reverse DNS")
        NEIGHBOUR = "neighbour", _("neighbours in the network")
        INFECTION = "infection", _("infected computer")

    listing = models.OneToOneField(Listing, models.CASCADE, related_name="ticket", verbose_name=_("listing"))
    state = models.CharField(
        _("state"), max_length=16, choices=StateChoice, default=StateChoice.OPEN, db_index=True
    )
    state_since = models.DateTimeField(_("in this state since"))
    opened_at = models.DateTimeField(_("opened"))
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True)
    next_action_at = models.DateTimeField(_("deadline"), null=True, blank=True, db_index=True)
    expected_end = models.DateTimeField(_("should end by"), null=True, blank=True)
    assigned_to = models.CharField(_("in charge"), max_length=254, blank=True)
    cause = models.CharField(_("cause"), max_length=12, choices=Cause, default=Cause.UNKNOWN)
    cause_text = models.CharField(_("cause in one sentence"), max_length=500, blank=True)
    action_text = models.CharField(_("what was done"), max_length=500, blank=True)
    fixed_at = models.DateTimeField(_("fixed since"), null=True, blank=True)
    prechecks = models.JSONField(
        _("pre-checks"), default=list, blank=True
    )  # [{name, ok: true|false|null, text}]
    prechecked_at = models.DateTimeField(_("pre-checked"), null=True, blank=True)
    draft_subject = models.CharField(_("subject"), max_length=300, blank=True)
    draft_text = models.TextField(_("text of the request"), blank=True)
    draft_fields = models.JSONField(_("fields to paste"), default=list, blank=True)  # [[label, value], ...]
    request_to = models.CharField(_("where"), max_length=500, blank=True)
    requested_at = models.DateTimeField(_("requested"), null=True, blank=True)
    requested_by = models.CharField(_("requested by"), max_length=254, blank=True)
    request_via = models.CharField(_("requested via"), max_length=20, blank=True)  # 'e-mail' | 'form'
    request_ref = models.CharField(_("reference"), max_length=200, blank=True)
    risk_until = models.DateTimeField(_("accepted until"), null=True, blank=True)
    close_reason = models.CharField(_("why closed"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("delisting ticket")
        verbose_name_plural = _("delisting tickets")
        ordering = ["next_action_at", "-id"]

    def __str__(self) -> str:
        return f"#{self.pk} {self.listing}"


class TicketEvent(models.Model):
    """One line of a ticket's history. `is_public` lines are what the customer reads."""

    ticket = models.ForeignKey(DelistingTicket, models.CASCADE, related_name="events")
    at = models.DateTimeField(_("time"))
    actor = models.CharField(_("who"), max_length=254)
    kind = models.CharField(
        _("what"), max_length=20
    )  # 'state' | 'comment' | 'request' | 'precheck' | 'seen' | 'alert'
    old_state = models.CharField(max_length=16, blank=True)
    new_state = models.CharField(max_length=16, blank=True)
    text = models.TextField(_("text"), blank=True)
    is_public = models.BooleanField(_("shown to the customer"), default=False)

    class Meta:
        verbose_name = _("ticket event")
        verbose_name_plural = _("ticket events")
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.actor} {self.kind}"
