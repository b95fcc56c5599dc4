"""What is too old goes: settled messages with everything that hangs on them, refusals, audit entries, set-up events.

A customer's own `retention_days`, else SMG_RETENTION_DAYS. A message with an open recipient stays, however old it is.
Rows go in small batches with pauses, each in its own short transaction, so that mail never waits for the clean-up; it
may be killed at any time and begins again where it was.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.utils import timezone

from gateway.db import exclusive, writer_lock
from gateway.models import AuditEntry, Complaint, Customer, Message, Recipient, Refusal, SetupEvent
from gateway.rules.ids import id_at

BATCH = (
    150  # rows of one transaction with what hangs on them: about 40 ms in which SQLite has no other writer
)
SHARED_BATCH = 1000  # where writers do not wait for each other
PAUSE_S = 0.05  # between two transactions, at least
REST = 2.0  # times what the transaction took: the clean-up takes a third of one core from the mail beside it
SETUP_EVENTS = timedelta(days=1)
OPEN = (Recipient.StateChoice.QUEUED, Recipient.StateChoice.HELD)


@dataclass(frozen=True, slots=True)
class Span:
    """Whose rows go, and from which time back. `customer_id` None: those of nobody, of the gateway itself."""

    customer_id: int | None
    before: datetime


def rest(took_s: float) -> None:
    """Between two transactions, by how long the one before took."""
    time.sleep(max(PAUSE_S, REST * took_s))


@dataclass(slots=True)
class Sweep:
    """One run. With `dry_run` it only counts what would go."""

    dry_run: bool = False
    pause: Callable[[float], None] = rest
    gone: Counter[str] = field(default_factory=Counter)  # table -> rows

    def remove(self, rows: QuerySet[Any]) -> None:
        """Delete what the queryset selects, the oldest first."""
        if self.dry_run:
            self.gone[_name(rows.model)] += rows.count()
            return
        lock = writer_lock(settings.SMG.var_dir)
        size = SHARED_BATCH if lock is None else BATCH
        last = 0
        while keys := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:size]):
            last = keys[-1]
            begun = time.monotonic()
            with exclusive(lock), transaction.atomic():
                # The whole condition once more: a row may have changed since it was chosen.
                _number, by_model = rows.filter(pk__in=keys).only("pk").delete()
            self.gone.update({label.rpartition(".")[2].lower(): count for label, count in by_model.items()})
            self.pause(time.monotonic() - begun)


def clean_up(now: datetime | None = None, *, dry_run: bool = False) -> dict[str, int]:
    """Delete everything whose time is over; run once a day by the schedule. Returns rows by table."""
    sweep = Sweep(dry_run=dry_run)
    sweep_all(sweep, now or timezone.now())
    return {name: count for name, count in sorted(sweep.gone.items()) if count}


def sweep_all(sweep: Sweep, now: datetime) -> None:
    for span in spans(now):
        sweep.remove(settled_messages(span))
    for before, whose in groups(now):
        sweep.remove(Refusal.objects.filter(whose, at__lt=before))
        sweep.remove(Complaint.objects.filter(whose, at__lt=before))
        sweep.remove(AuditEntry.objects.filter(whose, at__lt=before))
    sweep.remove(SetupEvent.objects.filter(at__lt=now - SETUP_EVENTS))


def spans(now: datetime) -> Iterator[Span]:
    """Every customer by their own time, then what belongs to nobody."""
    default = settings.SMG.retention_days
    for customer_id, days in Customer.objects.order_by("pk").values_list("pk", "retention_days"):
        yield Span(customer_id, now - timedelta(days=days or default))
    yield Span(None, now - timedelta(days=default))


def groups(now: datetime) -> Iterator[tuple[datetime, Q]]:
    """The same as conditions, one for all that share a time: for tables that are read by time."""
    special: dict[int, list[int]] = {}
    for customer_id, days in Customer.objects.exclude(retention_days=None).values_list(
        "pk", "retention_days"
    ):
        special.setdefault(days or settings.SMG.retention_days, []).append(customer_id)
    for days, customer_ids in special.items():
        yield now - timedelta(days=days), Q(customer__in=customer_ids)
    others = [customer_id for customer_ids in special.values() for customer_id in customer_ids]
    everybody_else = Q(customer=None) | ~Q(customer__in=others)
    yield now - timedelta(days=settings.SMG.retention_days), everybody_else


def settled_messages(span: Span) -> QuerySet[Message]:
    """Messages whose time is over and that nobody waits for. An id holds its time: this is a range of an index."""
    waiting = Recipient.objects.filter(message=OuterRef("pk"), state__in=OPEN)
    before = id_at(span.before)
    return Message.objects.filter(~Exists(waiting), customer=span.customer_id, pk__lt=before)


def _name(model: type[Model]) -> str:
    return model._meta.model_name or ""
