"""A critically listed Good gateway rests while another one works; it comes back when the last such listing is gone."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from blacklist.models import BlacklistSettings, Listing
from blacklist.rules.types import Severity
from gateway.control import gateways
from gateway.models import Gateway

ACTOR = "blacklist monitoring"


def take_out(listing: Listing) -> bool:
    """Drain the listed gateway if the setting is on and another Good one is left. True if it was drained just now."""
    gateway = listing.target.gateway
    if gateway is None or listing.drained_gateway or listing.target.kind == "domain":
        return False
    if gateway.pool != Gateway.PoolChoice.GOOD or not BlacklistSettings.load().auto_drain:
        return False
    return _drain(listing, gateway)


def _drain(listing: Listing, gateway: Gateway) -> bool:
    reason = _("Listed by %(list)s") % {"list": listing.provider.name}
    try:
        drained = gateways.drain(gateway, actor=ACTOR, reason=reason, by_listing=True)
    except (
        ValidationError
    ):  # the last of its pool: listed is better than closed, and the alert says that it still sends
        return False
    gateway.refresh_from_db()
    if (
        drained or gateway.drained_by_listing
    ):  # two lists at once: both hold it, the last to go brings it back
        listing.drained_gateway = True
        listing.save(update_fields=["drained_gateway"])
    return drained


def bring_back(listing: Listing) -> bool:
    """Undrain the gateway unless another critical listing still holds it. A person's drain is never ended here."""
    gateway = listing.target.gateway
    if gateway is None or not listing.drained_gateway:
        return False
    Listing.objects.filter(pk=listing.pk).update(drained_gateway=False)
    listing.drained_gateway = False
    held = Listing.objects.filter(
        target__gateway=gateway, delisted_at__isnull=True, drained_gateway=True, severity=Severity.CRITICAL
    )
    return (
        False
        if held.exclude(pk=listing.pk).exists()
        else gateways.undrain(gateway, actor=ACTOR, by_listing=True)
    )
