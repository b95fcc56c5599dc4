"""Waiting mail by filter: what a filter means, how much it is, and the queue's verbs on it, audited per customer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from gateway.control import queue
from gateway.models import Customer, Recipient
from gateway.rules.ids import id_at

OPEN = (Recipient.StateChoice.QUEUED, Recipient.StateChoice.HELD)
VERBS: dict[str, Callable[..., int]] = {
    "hold": queue.hold,
    "release": queue.release,
    "retry": queue.retry,
    "cancel": queue.cancel,
}
TOUCHES = {  # which of the open states a verb changes
    "hold": (Recipient.StateChoice.QUEUED,),
    "release": (Recipient.StateChoice.HELD,),
    "retry": (Recipient.StateChoice.QUEUED,),
    "cancel": OPEN,
}


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which open recipients; an empty field narrows nothing. Everything it selects waits: the log is never touched."""

    customer: int | None = None
    destination: str = ""  # recipient domain
    state: str = ""
    reason: str = ""
    pool: str = ""
    credential: int | None = None
    sender_domain: str = ""
    client_ip: str = ""  # who handed the message over
    older_than_h: int | None = None

    @property
    def is_empty(self) -> bool:
        return all(getattr(self, field.name) in (None, "") for field in fields(self))

    def rows(self) -> QuerySet[Recipient]:
        found = Recipient.objects.filter(state__in=[self.state] if self.state in OPEN else OPEN)
        named = {
            "customer": self.customer,
            "domain": self.destination.strip().lower(),
            "reason": self.reason,
            "pool": self.pool,
            "message__credential": self.credential,
            "message__client_ip": self.client_ip,
            "message__sender_domain": self.sender_domain.strip().lower(),
        }
        found = found.filter(**{name: value for name, value in named.items() if value not in (None, "")})
        if self.older_than_h:
            since = timezone.now() - timedelta(hours=self.older_than_h)
            found = found.filter(message__lt=id_at(since))
        return found


def touched(verb: str, rows: QuerySet[Recipient]) -> QuerySet[Recipient]:
    """The recipients among these that the verb would change. Raises KeyError for an unknown verb."""
    return rows.filter(state__in=TOUCHES[verb])


@transaction.atomic
def apply(verb: str, rows: QuerySet[Recipient], *, actor: str, reason: str = "") -> int:
    """Run a verb of the queue on rows of any customers: an audit entry for each customer, who can read theirs.

    Returns how many recipients changed. Raises KeyError for an unknown verb.
    """
    function = VERBS[verb]
    given = {"reason": reason} if verb in ("hold", "cancel") else {}
    # Plain keys: a joined or ordered queryset cannot be updated, and the rows must not change between the customers.
    keys = Recipient.objects.filter(pk__in=rows.order_by().values("pk"), state__in=TOUCHES[verb])
    owners: set[int | None] = set(keys.values_list("customer_id", flat=True).distinct())
    customers = Customer.objects.in_bulk([owner for owner in owners if owner is not None])
    changed = sum(function(keys, actor=actor, customer=customer, **given) for customer in customers.values())
    if None in owners:
        changed += function(keys.filter(customer=None), actor=actor, **given)
    return changed
