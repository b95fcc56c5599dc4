"""What support sets for all of blacklist monitoring. One row."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class BlacklistSettings(models.Model):
    """The single row; `load()` makes it. Who we are goes into the removal requests."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    auto_drain = models.BooleanField(
        _("take critically listed Good gateways out of use"),
        default=True,
        help_text=_("Only while another Good gateway is left. Undone when the listing ends."),
    )
    operator = models.CharField(_("operator, for removal requests"), max_length=200, blank=True)
    contact_mail = models.EmailField(_("contact address, for removal requests"), blank=True)
    phone = models.CharField(_("phone, for removal requests"), max_length=60, blank=True)
    hoster_mail = models.EmailField(_("abuse address of our network's owner"), blank=True)
    hoster_language = models.CharField(
        _("language of our network's owner"),
        max_length=2,
        default="en",
        choices=[("en", "English"), ("de", "Deutsch")],
    )
    last_attempt = models.BigIntegerField(
        default=0, editable=False
    )  # deliveries up to this id were read for list names

    class Meta:
        verbose_name = _("settings of blacklist monitoring")
        verbose_name_plural = _("settings of blacklist monitoring")

    def __str__(self) -> str:
        return str(self._meta.verbose_name)

    @classmethod
    def load(cls) -> BlacklistSettings:
        return cls.objects.get_or_create(id=1)[0]
