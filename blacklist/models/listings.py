"""Listings by episode, the incidents they belong to, and what people were told about them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from blacklist.models.providers import Provider
from blacklist.models.targets import Target
from gateway.models import Customer


class Incident(models.Model):
    """Listings of one target that began within a day of each other: one story, one mail to the customer."""

    target = models.ForeignKey(Target, models.CASCADE, related_name="incidents", verbose_name=_("target"))
    opened_at = models.DateTimeField(_("opened"))
    last_listing_at = models.DateTimeField(_("last listing"))
    closed_at = models.DateTimeField(_("closed"), null=True)

    class Meta:
        verbose_name = _("incident")
        verbose_name_plural = _("incidents")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.target} {self.opened_at:%Y-%m-%d}"


class Listing(models.Model):
    """One episode of one target on one list; a return within 14 days continues it."""

    class Source(models.TextChoices):
        DNS = "dns", _("asked the list")
        REPLY = "reply", _("remote reply")

    target = models.ForeignKey(Target, models.CASCADE, related_name="listings", verbose_name=_("target"))
    provider = models.ForeignKey(Provider, models.CASCADE, related_name="listings", verbose_name=_("list"))
    incident = models.ForeignKey(
        Incident, models.SET_NULL, null=True, related_name="listings", verbose_name=_("incident")
    )
    source = models.CharField(_("known from"), max_length=5, choices=Source, default=Source.DNS)
    is_confirmed = models.BooleanField(
        _("confirmed"), default=True
    )  # False: only a reply names it, our question is to come
    severity = models.CharField(_("severity"), max_length=13)
    codes = models.JSONField(_("codes"), default=list)
    labels = models.JSONField(_("meaning"), default=list)
    raw = models.JSONField(_("answer"), default=list)
    reason = models.CharField(_("reason given by the list"), max_length=1000, blank=True)
    ttl_s = models.PositiveIntegerField(_("TTL"), default=0)
    first_seen = models.DateTimeField(_("listed since"))
    last_seen = models.DateTimeField(_("last seen"))
    last_checked = models.DateTimeField(_("last asked"), null=True)
    last_status = models.CharField(_("last result"), max_length=14, blank=True)
    last_run = models.BigIntegerField(null=True)  # a run that is evaluated twice counts once
    clean_runs = models.PositiveSmallIntegerField(_("clean runs in a row"), default=0)
    times_listed = models.PositiveIntegerField(_("times listed"), default=1)
    delisted_at = models.DateTimeField(_("delisted"), null=True)
    alerted_at = models.DateTimeField(_("alerted"), null=True)
    alerted_severity = models.CharField(max_length=13, blank=True)
    alerted_labels = models.JSONField(default=list)
    reminded_at = models.DateTimeField(null=True)
    drained_gateway = models.BooleanField(_("took the gateway out of use"), default=False)
    impact = models.JSONField(_("whose mail it hit"), default=dict)  # see control/impact.py

    class Meta:
        verbose_name = _("listing")
        verbose_name_plural = _("listings")
        ordering = ["-first_seen", "-id"]
        constraints = [
            models.UniqueConstraint(
                "target", "provider", condition=models.Q(delisted_at__isnull=True), name="listing_open_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.target} – {self.provider}"

    @property
    def is_open(self) -> bool:
        return self.delisted_at is None


class Alert(models.Model):
    """One piece of news about a listing. Mail, webhooks and the portal take it from here."""

    class KindChoice(models.TextChoices):
        LISTED = "listed", _("listed")
        RELISTED = "relisted", _("listed again")
        WORSE = "worse", _("got worse")
        NEW_CODE = "new_code", _("listed for another reason too")
        STILL_LISTED = "still_listed", _("still listed")
        REJECTED = "rejected", _("removal refused")
        DELISTED = "delisted", _("no longer listed")

    listing = models.ForeignKey(Listing, models.CASCADE, related_name="alerts", verbose_name=_("listing"))
    kind = models.CharField(_("kind"), max_length=12, choices=KindChoice)
    severity = models.CharField(_("severity"), max_length=13)
    at = models.DateTimeField(_("time"), db_index=True)
    customers = models.ManyToManyField(
        Customer, blank=True, related_name="alerts", verbose_name=_("customers")
    )
    delivery = models.CharField(_("way"), max_length=8)  # rules.episodes.Delivery
    mailed_at = models.DateTimeField(_("mailed"), null=True)
    acknowledged_at = models.DateTimeField(_("acknowledged"), null=True)
    acknowledged_by = models.CharField(_("acknowledged by"), max_length=254, blank=True)

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["delivery"], condition=models.Q(mailed_at__isnull=True), name="alert_to_mail"
            )
        ]

    def __str__(self) -> str:
        return f"{self.listing} {self.kind}"


class Mute(models.Model):
    """A customer's wish not to be mailed about a list for a time. Never applies to critical listings."""

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="mutes", verbose_name=_("customer"))
    provider = models.ForeignKey(Provider, models.CASCADE, related_name="mutes", verbose_name=_("list"))
    reason = models.CharField(_("reason"), max_length=300)
    until = models.DateTimeField(_("until"))
    created_by = models.CharField(_("by"), max_length=254)
    created_at = models.DateTimeField(_("since"), auto_now_add=True)

    class Meta:
        verbose_name = _("muted list")
        verbose_name_plural = _("muted lists")
        ordering = ["-until"]
        constraints = [models.UniqueConstraint("customer", "provider", name="mute_once")]

    def __str__(self) -> str:
        return f"{self.customer}: {self.provider}"
