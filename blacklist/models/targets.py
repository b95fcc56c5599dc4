"""What is watched: one row per address or domain, however many customers it belongs to."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from gateway.models import Customer, Gateway


class Target(models.Model):
    """An address or domain that is asked about. `value` is canonical (rules.names.canonical_target)."""

    class KindChoice(models.TextChoices):
        IP4 = "ip4", _("IPv4 address")
        IP6 = "ip6", _("IPv6 address")
        DOMAIN = "domain", _("domain")

    class RoleChoice(models.TextChoices):
        GATEWAY = "gateway", _("our gateway")
        CUSTOMER_IP = "customer_ip", _("customer's address")
        DOMAIN = "domain", _("sender domain")

    value = models.CharField(_("address or domain"), max_length=253, unique=True)
    kind = models.CharField(_("kind"), max_length=6, choices=KindChoice)
    role = models.CharField(_("role"), max_length=11, choices=RoleChoice)
    gateway = models.ForeignKey(
        Gateway, models.SET_NULL, null=True, blank=True, related_name="targets", verbose_name=_("gateway")
    )
    customers = models.ManyToManyField(
        Customer, blank=True, related_name="targets", verbose_name=_("customers")
    )
    is_manual = models.BooleanField(_("added by hand"), default=False)
    is_active = models.BooleanField(_("watched"), default=True)
    note = models.CharField(_("note"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("since"), auto_now_add=True)

    class Meta:
        verbose_name = _("watched target")
        verbose_name_plural = _("watched targets")
        ordering = ["role", "value"]

    def __str__(self) -> str:
        return self.value
