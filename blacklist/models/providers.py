"""A blocklist, or a reputation system that shows up only in remote replies."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from blacklist.rules.providers import KEY, Cells, CodeRow, build_spec, parse_kinds
from blacklist.rules.requests import RequestClass, request_class
from blacklist.rules.types import ProviderSpec
from gateway import crypto


class Provider(models.Model):
    """One row of the fact files. The key is a secret: it is in no log, page, mail or ticket, and
    `zone` never holds it."""

    class SeverityChoice(models.TextChoices):
        CRITICAL = "critical", _("critical")
        MAJOR = "major", _("major")
        MINOR = "minor", _("minor")
        INFORMATIONAL = "informational", _("informational")

    class Known(models.TextChoices):
        ACTIVE = "active", _("active")
        UNCONFIRMED = "unconfirmed", _("unconfirmed")
        DEAD = "dead", _("dead")

    class Health(models.TextChoices):
        UNKNOWN = "", _("not asked yet")
        OK = "ok", _("answers")
        ERROR = "provider_error", _("refuses or fails")
        DEAD = "dead_list", _("dead or broken")
        TIMEOUT = "timeout", _("silent")

    slug = models.SlugField(_("key word"), unique=True)
    name = models.CharField(_("name"), max_length=200)
    zone = models.CharField(
        _("zone"),
        max_length=253,
        blank=True,
        validators=[
            RegexValidator(
                r"^(\{key\}\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+\.?$", _("A DNS zone, {key} for the key.")
            )
        ],
        help_text=_("{key} stands for the subscriber's key. Empty: known from replies only, never asked."),
    )
    kind = models.CharField(_("kind"), max_length=20, help_text=_("ip4, ip6, ip4+ip6 or domain"))
    return_codes = models.TextField(
        _("answers that are documented"), blank=True, help_text=_("code=meaning;code=meaning")
    )
    error_codes = models.TextField(_("answers that mean “no result”"), blank=True)
    code_rows = models.JSONField(
        _("severity per code"), default=list, blank=True
    )  # of rules.providers.CodeRow
    answer_mode = models.CharField(_("answer mode"), max_length=40, default="codes", blank=True)
    severity = models.CharField(
        _("severity"), max_length=13, choices=SeverityChoice, default=SeverityChoice.MINOR
    )
    severity_reason = models.TextField(_("why this severity"), blank=True)
    needs_key = models.BooleanField(_("needs a key or registration"), default=False)
    key_encrypted = models.TextField(blank=True, editable=False)
    policy = models.TextField(_("who may ask"), blank=True)
    removal_method = models.CharField(_("way of removal"), max_length=40, blank=True)
    removal_to = models.TextField(_("where to ask for removal"), blank=True)
    removal_notes = models.TextField(_("what the operator wants to see"), blank=True)
    test_positive = models.CharField(_("test entry that is listed"), max_length=300, blank=True)
    test_negative = models.CharField(_("test entry that is not listed"), max_length=300, blank=True)
    known = models.CharField(_("status as known"), max_length=11, choices=Known, default=Known.ACTIVE)
    source_url = models.TextField(_("sources"), blank=True)
    request_policy = models.CharField(_("what a ticket may do"), max_length=200, blank=True)
    auto_expiry = models.CharField(_("ends by itself"), max_length=300, blank=True)
    confirmation = models.TextField(_("how sure this is"), blank=True)
    rate_qps = models.FloatField(
        _("questions a second"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.1), MaxValueValidator(1000)],
    )
    enabled = models.BooleanField(_("ask this list"), default=False)
    health = models.CharField(
        _("health"), max_length=14, choices=Health, blank=True, default=Health.UNKNOWN, editable=False
    )
    health_reason = models.CharField(_("why"), max_length=500, blank=True, editable=False)
    health_since = models.DateTimeField(_("since"), null=True, editable=False)
    last_ok_at = models.DateTimeField(_("last good answer"), null=True, editable=False)

    class Meta:
        verbose_name = _("blocklist")
        verbose_name_plural = _("blocklists")
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        from blacklist.control.facts import why_dead

        try:
            parse_kinds(self.kind)
        except ValueError as error:
            raise ValidationError({"kind": _("Use ip4, ip6, ip4+ip6 or domain.")}) from error
        dead = why_dead(self)
        if dead:
            raise ValidationError(
                {"zone": _("This list is dead and is never asked: %(why)s") % {"why": dead}}
            )
        if self.enabled and not self.can_be_asked:
            raise ValidationError(
                {"enabled": _("The list cannot be asked: it has no zone, or its key is missing.")}
            )

    @property
    def has_key(self) -> bool:
        return bool(self.key_encrypted)

    @property
    def can_be_asked(self) -> bool:
        return bool(self.zone) and self.known != self.Known.DEAD and (KEY not in self.zone or self.has_key)

    @property
    def request(self) -> RequestClass:
        return request_class(self.request_policy, self.removal_method)

    def set_key(self, key: str) -> None:
        """Keep the subscriber's key, encrypted; '' forgets it. Not saved yet."""
        self.key_encrypted = crypto.encrypt(key) if key else ""

    def spec(self) -> ProviderSpec:
        """With the key in the zone: for asking only, never for showing."""
        cells = Cells(
            slug=self.slug, name=self.name, zone=self.zone, kind=self.kind, return_codes=self.return_codes,
            error_codes=self.error_codes, severity=self.severity, answer_mode=self.answer_mode,
            removal_method=self.removal_method, test_positive=self.test_positive, test_negative=self.test_negative,
            rate_qps=self.rate_qps,
        )  # fmt: skip
        key = crypto.decrypt(self.key_encrypted) if self.key_encrypted else ""
        return build_spec(cells, [code_row(row) for row in self.code_rows], key)


def code_row(row: dict[str, Any]) -> CodeRow:
    return CodeRow(**{name: str(row.get(name, "")) for name in CodeRow.__slots__})
