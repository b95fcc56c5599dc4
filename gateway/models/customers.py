"""The customer and what they configure to be let in: domains, logins, source networks."""

from __future__ import annotations

import secrets
import uuid

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from gateway.models.fields import validate_domain, validate_network, validate_senders


def new_challenge() -> str:
    """The value of a domain's ownership record: 128 bits, easy to copy."""
    return secrets.token_hex(16)


class Customer(models.Model):
    """One tenant. Everything that is configured or sent belongs to exactly one customer."""

    class Language(models.TextChoices):
        ENGLISH = "en", _("English")
        GERMAN = "de", _("German")

    slug = models.SlugField(_("short name"), unique=True)
    name = models.CharField(_("name"), max_length=200)
    alert_email = models.EmailField(_("address for alerts"), blank=True)
    language = models.CharField(_("language"), max_length=2, choices=Language, default=Language.ENGLISH)
    time_zone = models.CharField(_("time zone"), max_length=64, default="Europe/Berlin")
    rate_limit = models.PositiveIntegerField(
        _("messages a minute"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Empty: no limit."),
    )
    ndr_enabled = models.BooleanField(
        _("send non-delivery reports"),
        default=True,
        help_text=_("Switch off if your own mail server reports failures itself."),
    )
    ndr_on_refusal = models.BooleanField(_("report refused viruses to the sender"), default=True)
    delay_warning_h = models.PositiveSmallIntegerField(
        _("warn about delays after hours"), default=4, help_text=_("0: never.")
    )
    keep_subjects = models.BooleanField(_("keep subjects in the message log"), default=True)
    retention_days = models.PositiveSmallIntegerField(
        _("keep the message log for days"),
        null=True,
        blank=True,
        help_text=_("Empty: the operator's default."),
    )
    suspect_threshold = models.FloatField(_("suspect from score"), null=True, blank=True)
    spam_threshold = models.FloatField(_("spam from score"), null=True, blank=True)
    suspended_at = models.DateTimeField(_("suspended since"), null=True, blank=True, editable=False)
    suspended_reason = models.CharField(_("why suspended"), max_length=300, blank=True, editable=False)
    # While the set-up page waits for a first mail, the relay notes every stage the customer's server reaches.
    watched_until = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("customer")
        verbose_name_plural = _("customers")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Domain(models.Model):
    """A sender domain. It counts only once its customer has proven it; a proven domain has one owner."""

    class Health(models.TextChoices):
        UNKNOWN = "unknown", _("not checked yet")
        GOOD = "good", _("in order")
        WARNING = "warning", _("could be better")
        BROKEN = "broken", _("needs work")

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="domains", verbose_name=_("customer"))
    name = models.CharField(_("domain"), max_length=253, validators=[validate_domain])
    challenge = models.CharField(_("ownership value"), max_length=64, default=new_challenge, editable=False)
    verified_at = models.DateTimeField(_("proven since"), null=True, blank=True)
    verified_by = models.CharField(_("proven by"), max_length=100, blank=True, editable=False)
    checked_at = models.DateTimeField(_("last check"), null=True, blank=True, editable=False)
    next_check_at = models.DateTimeField(
        _("next check"), null=True, blank=True, editable=False, db_index=True
    )
    health = models.CharField(
        _("state"), max_length=10, choices=Health, default=Health.UNKNOWN, editable=False
    )
    # {record name: {state, expected, found, problem, resolver, ttl_s, checked_at, good_since}}: rules/domain_check.py
    records = models.JSONField(_("records"), default=dict, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("domain")
        verbose_name_plural = _("domains")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint("customer", "name", name="domain_once_per_customer"),
            models.UniqueConstraint(
                "name", condition=models.Q(verified_at__isnull=False), name="domain_proven_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_verified(self) -> bool:
        return self.verified_at is not None


class Credential(models.Model):
    """One SMTP login. The secret is made by us, shown once and kept as a keyed hash."""

    class Block(models.TextChoices):
        NONE = "", _("active")
        REVOKED = "revoked", _("revoked")
        FUSE = "fuse", _("stopped by the abuse fuse")

    customer = models.ForeignKey(
        Customer, models.CASCADE, related_name="credentials", verbose_name=_("customer")
    )
    username = models.CharField(
        _("user name"),
        max_length=100,
        validators=[
            RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$", _("Letters, digits and . _ @ + - only."))
        ],
    )
    label = models.CharField(_("used by"), max_length=200, blank=True)
    secret_hash = models.CharField(max_length=64, editable=False)
    previous_secret_hash = models.CharField(max_length=64, blank=True, editable=False)
    previous_until = models.DateTimeField(_("old secret valid until"), null=True, blank=True, editable=False)
    networks = models.JSONField(
        _("only from networks"),
        default=list,
        blank=True,
        validators=[validate_network],
        help_text=_("Empty: from anywhere."),
    )
    senders = models.JSONField(
        _("only these senders"),
        default=list,
        blank=True,
        validators=[validate_senders],
        help_text=_("Addresses or domains. Empty: all proven domains."),
    )
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    block = models.CharField(
        _("state"), max_length=10, choices=Block, blank=True, default=Block.NONE, editable=False
    )
    block_reason = models.CharField(_("why stopped"), max_length=300, blank=True, editable=False)
    blocked_at = models.DateTimeField(_("stopped since"), null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    last_used_ip = models.GenericIPAddressField(_("last used from"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("SMTP login")
        verbose_name_plural = _("SMTP logins")
        ordering = ["username"]
        constraints = [models.UniqueConstraint(Lower("username"), name="credential_username_once")]

    def __str__(self) -> str:
        return self.username

    @property
    def is_active(self) -> bool:
        return self.block == self.Block.NONE


class SourceNetwork(models.Model):
    """A network of the customer: watched in the blocklists, and allowed to relay without a login if support says so."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    customer = models.ForeignKey(
        Customer, models.CASCADE, related_name="networks", verbose_name=_("customer")
    )
    network = models.CharField(
        _("network"), max_length=50, validators=[validate_network], help_text=_("192.0.2.0/28 or one address")
    )
    may_relay = models.BooleanField(_("may relay without login"), default=False)
    note = models.CharField(_("note"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("source network")
        verbose_name_plural = _("source networks")
        ordering = ["network"]
        constraints = [models.UniqueConstraint("customer", "network", name="network_once_per_customer")]

    def __str__(self) -> str:
        return self.network
