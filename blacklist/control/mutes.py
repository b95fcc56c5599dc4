"""A customer's wish not to be mailed about a list for a time."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from blacklist.models import Mute, Provider
from gateway.control.audit import record
from gateway.models import Customer

LONGEST = timedelta(days=366)


@transaction.atomic
def mute(customer: Customer, provider: Provider, *, reason: str, until: datetime, actor: str) -> Mute:
    """No mail about this list until then; critical listings are mailed all the same. Raises ValidationError."""
    now = timezone.now()
    if not reason.strip():
        raise ValidationError(_("Say why."))
    if not now < until <= now + LONGEST:
        raise ValidationError(_("The end must lie in the future, at most a year from now."))
    values = {"reason": reason.strip()[:300], "until": until, "created_by": actor}
    made, _created = Mute.objects.update_or_create(customer=customer, provider=provider, defaults=values)
    record(
        actor, "blacklist.mute", provider.slug, customer=customer, detail={"until": ["", until.isoformat()]}
    )
    return made


@transaction.atomic
def unmute(customer: Customer, provider: Provider, *, actor: str) -> bool:
    """Mail about this list again. True if it was muted."""
    deleted, _rows = Mute.objects.filter(customer=customer, provider=provider).delete()
    if deleted:
        record(actor, "blacklist.unmute", provider.slug, customer=customer)
    return bool(deleted)
