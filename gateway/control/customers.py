"""Verbs on customers: create, change, suspend and resume, watch a set-up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.control.audit import move_policy_version, record, save_changes
from gateway.models import Customer, SourceNetwork

CHANGEABLE = {
    "slug", "name", "alert_email", "language", "time_zone", "rate_limit", "ndr_enabled", "ndr_on_refusal",
    "delay_warning_h", "keep_subjects", "retention_days", "suspect_threshold", "spam_threshold",
}  # fmt: skip
WATCH = timedelta(minutes=30)


@transaction.atomic
def create(*, actor: str, **values: Any) -> Customer:
    """A new customer; `values` are fields of Customer (see CHANGEABLE). Raises ValidationError."""
    _refuse_unknown(values)
    customer = Customer(**values)
    customer.full_clean()
    customer.save(force_insert=True)
    record(actor, "customer.create", customer, customer=customer)
    move_policy_version()
    return customer


@transaction.atomic
def change(customer: Customer, *, actor: str, **values: Any) -> list[str]:
    """Save the named fields. Returns the names of those that changed. Raises ValidationError."""
    _refuse_unknown(values)
    return save_changes(customer, actor, "customer.change", customer=customer, **values)


@transaction.atomic
def suspend(customer: Customer, *, actor: str, reason: str) -> bool:
    """Accept nothing more from this customer; what is queued goes on. True if something changed."""
    if not reason.strip():
        raise ValidationError({"reason": _("Say why.")})
    if customer.suspended_at:
        return False
    customer.suspended_at, customer.suspended_reason = timezone.now(), reason.strip()[:300]
    return _save_suspension(customer, actor, "customer.suspend")


@transaction.atomic
def resume(customer: Customer, *, actor: str) -> bool:
    """Let the customer send again. True if something changed."""
    if not customer.suspended_at:
        return False
    customer.suspended_at, customer.suspended_reason = None, ""
    return _save_suspension(customer, actor, "customer.resume")


def watch(customer: Customer) -> None:
    """Have the relay note what this customer's servers do for the next half hour (SetupEvent). Not a change of
    anything configured, so without an audit entry; at most one policy version a quarter of an hour."""
    now = timezone.now()
    if customer.watched_until and customer.watched_until > now + WATCH / 2:
        return
    with transaction.atomic():
        customer.watched_until = now + WATCH
        customer.save(update_fields=["watched_until"])
        move_policy_version()


@transaction.atomic
def add_network(
    customer: Customer, *, actor: str, network: str, may_relay: bool = False, note: str = ""
) -> SourceNetwork:
    """A network of the customer: watched in the blocklists. `may_relay` (without login) is support's to give."""
    row = SourceNetwork(customer=customer, network=network.strip(), may_relay=may_relay, note=note)
    row.full_clean()
    row.save(force_insert=True)
    record(actor, "network.add", row, customer=customer, detail={"may_relay": ["", str(may_relay)]})
    move_policy_version()
    return row


@transaction.atomic
def remove_network(network: SourceNetwork, *, actor: str) -> None:
    record(actor, "network.remove", network, customer=network.customer)
    network.delete()
    move_policy_version()


def _save_suspension(customer: Customer, actor: str, action: str) -> bool:
    customer.save(update_fields=["suspended_at", "suspended_reason"])
    record(actor, action, customer, customer=customer, detail={"reason": ["", customer.suspended_reason]})
    move_policy_version()
    return True


def _refuse_unknown(values: dict[str, Any]) -> None:
    unknown = set(values) - CHANGEABLE
    if unknown:
        raise ValidationError(_("Unknown fields: %(names)s"), params={"names": ", ".join(sorted(unknown))})
