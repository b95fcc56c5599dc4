"""Verbs on the ways out: create, change, remove, drain and undrain.

A drained gateway takes no new mail; what was queued for its pool goes by the others. Two kinds of drain exist: a
person's, which only a person ends, and one made by a blacklist listing, which ends with the listing.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.control.audit import move_policy_version, record, save_changes
from gateway.models import Bar, Gateway

CHANGEABLE = {
    "name", "pool", "hostname", "source_ip", "source_ip6", "next_hop", "next_hop_username", "next_hop_tls", "weight",
}  # fmt: skip


@transaction.atomic
def create(*, actor: str, next_hop_password: str = "", **values: Any) -> Gateway:
    """A new way out; it is used from the next policy version on.

    `values` are fields of Gateway (see CHANGEABLE). Raises ValidationError.
    """
    _refuse_unknown(values)
    gateway = Gateway(**values, next_hop_password=_sealed(next_hop_password))
    gateway.full_clean()
    gateway.save(force_insert=True)
    record(
        actor, "gateway.create", gateway, detail={name: ["", str(value)] for name, value in values.items()}
    )
    move_policy_version()
    return gateway


@transaction.atomic
def change(gateway: Gateway, *, actor: str, next_hop_password: str | None = None, **values: Any) -> list[str]:
    """Save the named fields; `next_hop_password` None leaves the password, '' removes it.

    Returns the names of the fields that changed. Raises ValidationError.
    """
    _refuse_unknown(values)
    changed = save_changes(gateway, actor, "gateway.change", customer=None, **values)
    if next_hop_password is not None:
        changed += _change_password(gateway, next_hop_password, actor)
    return changed


@transaction.atomic
def remove(gateway: Gateway, *, actor: str) -> None:
    """Delete a gateway that takes no mail any more; the log keeps its messages. Raises ValidationError."""
    if gateway.drained_at is None:
        raise ValidationError(_("Drain the gateway first."), code="not_drained")
    record(actor, "gateway.remove", gateway)
    gateway.delete()
    move_policy_version()


@transaction.atomic
def drain(gateway: Gateway, *, actor: str, reason: str, by_listing: bool = False) -> bool:
    """Send no more mail by this gateway. True if something changed.

    `by_listing` marks an automatic drain. It is refused (ValidationError, code 'last_of_pool') when no other gateway of
    the pool would be left: listed is better than closed. A person may drain the last one. A person's drain of a gateway
    that was drained automatically makes the drain theirs; an automatic drain never takes over a person's.
    """
    if not reason.strip():
        raise ValidationError(_("Say why."), code="reason_missing")
    working = _working(gateway.pool)  # locked: two listings at once must not both find the other one working
    if by_listing and working == {gateway.pk}:
        raise ValidationError(_("It is the last working gateway of its pool."), code="last_of_pool")
    return _set_drain(gateway, actor, reason.strip()[:300], by_listing)


@transaction.atomic
def undrain(gateway: Gateway, *, actor: str, by_listing: bool = False) -> bool:
    """Use the gateway again. True if something changed.

    With `by_listing` (the listing is gone) only an automatic drain ends, a person's stays.
    """
    wanted = Gateway.objects.filter(pk=gateway.pk, drained_at__isnull=False)
    if by_listing:
        wanted = wanted.filter(drained_by_listing=True)
    if not wanted.update(drained_at=None, drained_reason="", drained_by_listing=False):
        return False
    gateway.refresh_from_db()
    record(actor, "gateway.undrain", gateway)
    move_policy_version()
    return True


@transaction.atomic
def lift_bar(bar: Bar, *, actor: str) -> None:
    """Try this destination from this gateway again at once."""
    record(actor, "bar.lift", bar, detail={"reason": [bar.reason, ""]})
    bar.delete()
    move_policy_version()


def _working(pool: str) -> set[int]:
    rows = Gateway.objects.select_for_update().filter(pool=pool, drained_at__isnull=True)
    return set(rows.values_list("pk", flat=True))


def _set_drain(gateway: Gateway, actor: str, reason: str, by_listing: bool) -> bool:
    current = Gateway.objects.get(pk=gateway.pk)
    if current.drained_at and not current.drained_by_listing:
        return False
    if current.drained_at and by_listing:
        return False
    gateway.drained_at = current.drained_at or timezone.now()
    gateway.drained_reason, gateway.drained_by_listing = reason, by_listing
    gateway.save(update_fields=["drained_at", "drained_reason", "drained_by_listing"])
    record(
        actor, "gateway.drain", gateway, detail={"reason": ["", reason], "by_listing": ["", str(by_listing)]}
    )
    move_policy_version()
    return True


def _change_password(gateway: Gateway, password: str, actor: str) -> list[str]:
    gateway.next_hop_password = _sealed(password)
    gateway.save(update_fields=["next_hop_password"])
    record(actor, "gateway.password", gateway)
    move_policy_version()
    return ["next_hop_password"]


def _sealed(password: str) -> str:
    from gateway import crypto

    return crypto.encrypt(password) if password else ""


def _refuse_unknown(values: dict[str, Any]) -> None:
    unknown = set(values) - CHANGEABLE
    if unknown:
        raise ValidationError(_("Unknown fields: %(names)s"), params={"names": ", ".join(sorted(unknown))})
