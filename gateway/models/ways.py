"""The ways out and who works on the queue."""

from __future__ import annotations

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _


class Gateway(models.Model):
    """One way out: an address and a name, Good or Bad."""

    class PoolChoice(models.TextChoices):
        GOOD = "good", _("Good")
        BAD = "bad", _("Bad")

    class NextHopTls(models.TextChoices):
        NONE = "none", _("clear text")
        OPPORTUNISTIC = "opportunistic", _("encrypt if offered")
        ENCRYPT = "encrypt", _("encrypted")
        VERIFY = "verify", _("encrypted, certificate checked")

    name = models.SlugField(_("name"), unique=True)
    pool = models.CharField(_("pool"), max_length=4, choices=PoolChoice)
    hostname = models.CharField(
        _("host name"), max_length=253, help_text=_("Said in EHLO; its A record and the PTR must match.")
    )
    source_ip = models.GenericIPAddressField(_("IPv4 address"), protocol="IPv4", null=True, blank=True)
    source_ip6 = models.GenericIPAddressField(_("IPv6 address"), protocol="IPv6", null=True, blank=True)
    next_hop = models.CharField(
        _("next hop"),
        max_length=260,
        blank=True,
        validators=[RegexValidator(r"^(\[[0-9a-fA-F:.]+\]|[^\s:]+):\d{1,5}$", _("host:port"))],
        help_text=_("host:port of a smart host. Empty: delivery to the recipient's MX."),
    )
    next_hop_username = models.CharField(_("next hop user name"), max_length=200, blank=True)
    next_hop_password = models.TextField(blank=True, editable=False)  # encrypted
    next_hop_tls = models.CharField(
        _("next hop TLS"), max_length=13, choices=NextHopTls, default=NextHopTls.OPPORTUNISTIC
    )
    weight = models.PositiveSmallIntegerField(_("weight"), default=1, validators=[MinValueValidator(1)])
    drained_at = models.DateTimeField(_("drained since"), null=True, blank=True, editable=False)
    drained_reason = models.CharField(_("why drained"), max_length=300, blank=True, editable=False)
    drained_by_listing = models.BooleanField(_("drained automatically"), default=False, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("gateway")
        verbose_name_plural = _("gateways")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Bar(models.Model):
    """A destination that refuses one of our gateways: not tried from there until the bar ends."""

    gateway = models.ForeignKey(Gateway, models.CASCADE, related_name="bars", verbose_name=_("gateway"))
    destination = models.CharField(_("recipient domain"), max_length=253)
    until = models.DateTimeField(_("until"), db_index=True)
    reason = models.CharField(_("reason"), max_length=500)
    created_at = models.DateTimeField(_("since"), auto_now_add=True)

    class Meta:
        verbose_name = _("bar")
        verbose_name_plural = _("bars")
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint("gateway", "destination", name="bar_once")]

    def __str__(self) -> str:
        return f"{self.gateway} → {self.destination}"


class Worker(models.Model):
    """The heartbeat of one relay process. Its leases are taken over when it falls silent."""

    owner = models.CharField(_("owner"), max_length=100, primary_key=True)
    node = models.CharField(_("node"), max_length=100)
    pid = models.PositiveIntegerField(_("process"))
    slot = models.PositiveSmallIntegerField(unique=True)  # the node part of the ids this process makes
    gateways = models.JSONField(_("gateways"), default=list)
    started_at = models.DateTimeField(_("started"))
    seen_at = models.DateTimeField(_("last sign of life"), db_index=True)
    # {part: sentence} of what this process cannot use just now, and numbers for the status page
    degraded = models.JSONField(_("degraded parts"), default=dict)
    numbers = models.JSONField(_("numbers"), default=dict)

    class Meta:
        verbose_name = _("relay process")
        verbose_name_plural = _("relay processes")

    def __str__(self) -> str:
        return self.owner
