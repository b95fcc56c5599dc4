"""Rules for what leaves: forced TLS, DKIM keys, shaping of destinations."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from gateway.models.customers import Customer, Domain
from gateway.models.fields import validate_domain, validate_domain_pattern


class TlsRule(models.Model):
    """Forced TLS for mail from one sender domain (or all) to one recipient domain (or all below it)."""

    class Level(models.TextChoices):
        ENCRYPT = "encrypt", _("encrypted")
        VERIFY = "verify", _("encrypted, certificate checked")
        DANE = "dane", _("encrypted, certificate checked by DANE")

    class OnFailure(models.TextChoices):
        REJECT = "reject", _("refuse at once")
        HOLD = "hold", _("hold and keep trying")

    customer = models.ForeignKey(
        Customer, models.CASCADE, related_name="tls_rules", verbose_name=_("customer")
    )
    sender_domain = models.CharField(
        _("from domain"),
        max_length=253,
        blank=True,
        validators=[validate_domain],
        help_text=_("Empty: all your domains."),
    )
    recipient_domain = models.CharField(
        _("to domain"),
        max_length=254,
        validators=[validate_domain_pattern],
        help_text=_("bank.example, or .bank.example for everything below it."),
    )
    level = models.CharField(_("level"), max_length=10, choices=Level, default=Level.VERIFY)
    on_failure = models.CharField(
        _("if it cannot be encrypted"), max_length=10, choices=OnFailure, default=OnFailure.HOLD
    )
    min_version = models.CharField(
        _("TLS version at least"),
        max_length=8,
        default="TLSv1.2",
        choices=[("TLSv1.2", "TLS 1.2"), ("TLSv1.3", "TLS 1.3")],
    )
    fingerprint = models.CharField(
        _("pinned certificate (SHA-256)"),
        max_length=64,
        blank=True,
        validators=[RegexValidator(r"^[0-9a-f]{64}$", _("64 hexadecimal digits, lower case."))],
    )
    shadow = models.BooleanField(_("only record, do not enforce"), default=False)
    note = models.CharField(_("note"), max_length=200, blank=True)
    # The last preflight's verdict: {state, checked_at, expires_at, problem}
    probe = models.JSONField(_("last test"), default=dict, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("forced TLS rule")
        verbose_name_plural = _("forced TLS rules")
        ordering = ["recipient_domain", "sender_domain"]
        constraints = [
            models.UniqueConstraint(
                "customer", "sender_domain", "recipient_domain", name="tls_rule_once_per_pair"
            )
        ]

    def __str__(self) -> str:
        return f"{self.sender_domain or '*'} → {self.recipient_domain}"


class DkimKey(models.Model):
    """A DKIM key's whole life, from the customer's request to its revocation. The private key never leaves."""

    class State(models.TextChoices):
        REQUESTED = "requested", _("requested")
        DECLINED = "declined", _("declined")
        PUBLISHING = "publishing", _("waiting for the DNS record")
        ACTIVE = "active", _("signing")
        RETIRING = "retiring", _("replaced, record still needed")
        REVOKED = "revoked", _("revoked")

    class Kind(models.TextChoices):
        TXT = "txt", _("TXT record at the customer")
        CNAME = "cname", _("CNAME to the operator's zone")

    domain = models.ForeignKey(Domain, models.CASCADE, related_name="dkim_keys", verbose_name=_("domain"))
    state = models.CharField(_("state"), max_length=12, choices=State, default=State.REQUESTED)
    kind = models.CharField(_("record"), max_length=5, choices=Kind, default=Kind.TXT)
    selector = models.CharField(_("selector"), max_length=63, blank=True)
    private_key = models.TextField(blank=True, editable=False)  # encrypted, see gateway/crypto.py
    public_key = models.TextField(_("record value"), blank=True, editable=False)
    note = models.CharField(_("note"), max_length=300, blank=True)
    requested_by = models.CharField(_("requested by"), max_length=254, blank=True, editable=False)
    requested_at = models.DateTimeField(_("requested"), auto_now_add=True)
    approved_at = models.DateTimeField(_("approved"), null=True, blank=True, editable=False)
    approved_by = models.CharField(_("handled by"), max_length=254, blank=True, editable=False)
    checked_at = models.DateTimeField(_("record checked"), null=True, blank=True, editable=False)
    problem = models.CharField(_("problem"), max_length=300, blank=True, editable=False)
    activated_at = models.DateTimeField(_("signing since"), null=True, blank=True, editable=False)
    retired_at = models.DateTimeField(_("replaced"), null=True, blank=True, editable=False)
    rotate_at = models.DateField(_("rotate on"), null=True, blank=True)

    class Meta:
        verbose_name = _("DKIM key")
        verbose_name_plural = _("DKIM keys and requests")
        ordering = ["-requested_at"]
        constraints = [
            models.UniqueConstraint("domain", condition=models.Q(state="active"), name="dkim_one_active_key"),
            models.UniqueConstraint(
                "domain", "selector", condition=~models.Q(selector=""), name="dkim_selector_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.selector or '?'}._domainkey.{self.domain}"


class Shaping(models.Model):
    """How gently we treat one destination."""

    destination = models.CharField(
        _("recipient domain"), max_length=253, unique=True, validators=[validate_domain]
    )
    max_connections = models.PositiveSmallIntegerField(_("connections at once"), default=20)
    messages_per_minute = models.PositiveIntegerField(
        _("messages a minute"), default=0, help_text=_("0: no limit.")
    )
    messages_per_connection = models.PositiveIntegerField(_("messages per connection"), default=100)
    note = models.CharField(_("note"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("shaping rule")
        verbose_name_plural = _("shaping rules")
        ordering = ["destination"]

    def __str__(self) -> str:
        return self.destination
