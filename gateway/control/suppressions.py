"""Verbs on suppressed recipients: addresses that are not tried again for one customer."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from gateway.control.audit import record
from gateway.models import Customer, Suppression
from gateway.rules.address import AddressError, parse_mailbox


@transaction.atomic
def add(
    customer: Customer, address: str, *, actor: str, reason: str = "manual", text: str = ""
) -> Suppression:
    """Do not send to this address for this customer any more. Raises ValidationError for what is no address."""
    try:
        canonical = str(parse_mailbox(address.strip())).lower()
    except AddressError as error:
        message = _("“%(value)s” is not an e-mail address.")
        raise ValidationError({"address": ValidationError(message, params={"value": address})}) from error
    row, created = Suppression.objects.get_or_create(
        customer=customer, address=canonical, defaults={"reason": reason[:30], "text": text[:500]}
    )
    if created:
        record(actor, "suppression.add", canonical, customer=customer, detail={"reason": ["", reason]})
    return row


@transaction.atomic
def remove(suppression: Suppression, *, actor: str) -> None:
    """Send to this address again."""
    deleted, _rows = Suppression.objects.filter(pk=suppression.pk).delete()
    if deleted:
        record(actor, "suppression.remove", suppression.address, customer=suppression.customer)
