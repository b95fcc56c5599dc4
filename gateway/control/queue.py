"""What people do with mail that waits: hold, release, retry, cancel. One by one or by filter.

Every verb takes a queryset of Recipient (already narrowed to what the actor may touch), changes only the rows that are
in a fitting state, and returns how many there were. Hold and cancel move the policy version, so that relay processes
look again at what waits in their memory; an attempt that is already on its way may still deliver.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from gateway import store
from gateway.control.audit import move_policy_version, record
from gateway.models import Customer, Recipient

HELD_BY_PERSON, CANCELLED = "held_by_support", "cancelled"  # reasons of those who give none
OPEN = (Recipient.StateChoice.QUEUED, Recipient.StateChoice.HELD)


def hold(
    recipients: QuerySet[Recipient], *, actor: str, reason: str = "", customer: Customer | None = None
) -> int:
    """Stop queued mail until somebody releases it (or its lifetime ends in a report)."""
    queued = recipients.filter(state=Recipient.StateChoice.QUEUED)
    return _change(
        queued, actor, "queue.hold", customer, reason=reason or HELD_BY_PERSON,
        state=Recipient.StateChoice.HELD, next_attempt_at=None, lease_owner="",
    )  # fmt: skip


def release(recipients: QuerySet[Recipient], *, actor: str, customer: Customer | None = None) -> int:
    """Let held mail go on, at once."""
    held = recipients.filter(state=Recipient.StateChoice.HELD)
    return _change(
        held,
        actor,
        "queue.release",
        customer,
        state=Recipient.StateChoice.QUEUED,
        next_attempt_at=timezone.now(),
    )


def retry(recipients: QuerySet[Recipient], *, actor: str, customer: Customer | None = None) -> int:
    """Try queued mail now instead of at its next time."""
    waiting = recipients.filter(state=Recipient.StateChoice.QUEUED, lease_owner="")
    return _change(waiting, actor, "queue.retry", customer, next_attempt_at=timezone.now())


def cancel(
    recipients: QuerySet[Recipient], *, actor: str, reason: str = "", customer: Customer | None = None
) -> int:
    """Give open mail up for good; nobody gets a report."""
    return _change(
        recipients.filter(state__in=OPEN), actor, "queue.cancel", customer, finish=True,
        state=Recipient.StateChoice.CANCELLED, settled_at=timezone.now(), next_attempt_at=None, lease_owner="",
        reason=reason or CANCELLED,
    )  # fmt: skip


@transaction.atomic
def _change(
    recipients: QuerySet[Recipient],
    actor: str,
    action: str,
    customer: Customer | None,
    *,
    finish: bool = False,
    **values: object,
) -> int:
    """Update the rows, audit with the count; `finish` also deletes bodies that nobody needs any more."""
    if customer is not None:
        recipients = recipients.filter(customer=customer)
    message_ids = set(recipients.values_list("message_id", flat=True)) if finish else set()
    changed = recipients.update(**values)
    if not changed:
        return 0
    store.delete_finished_bodies(message_ids)
    if "lease_owner" in values:
        move_policy_version()
    detail: dict[str, object] = {"recipients": changed}
    if values.get("reason") not in (None, HELD_BY_PERSON, CANCELLED):
        detail["reason"] = values["reason"]
    record(actor, action, customer=customer, detail=detail)
    return changed
