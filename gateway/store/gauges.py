"""What the metrics page shows of the database: the queue, complaints, and what other apps have to tell.

Counting a long queue takes the database a while, so it is done in a thread of its own and not for every scrape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, TypeVar

from django.apps import apps
from django.db import connection
from django.db.models import Count
from django.utils.module_loading import module_has_submodule

from gateway.models import Complaint, Recipient, Worker
from gateway.rules.gauges import Gauge
from gateway.rules.ids import created_ms
from gateway.store.leases import OPEN

Result = TypeVar("Result")

QUEUED, HELD = Recipient.StateChoice.QUEUED, Recipient.StateChoice.HELD
POOLS = ("good", "bad")


def numbers_of(node: str, since: datetime) -> list[tuple[str, dict[str, object]]]:
    """(slot, numbers) of the processes of a node that gave a sign of life since then."""
    rows = Worker.objects.filter(node=node, seen_at__gte=since).order_by("slot")
    return [(str(slot), numbers) for slot, numbers in rows.values_list("slot", "numbers")]


def read_gauges(now: datetime) -> list[Gauge]:
    """All gauges of the database."""
    return [*_queue(now), *_complaints(now), *_of_other_apps(now)]


def apart(function: Callable[..., Result], *args: Any) -> Result:
    """Call a reading function in a thread that is not the database's own: no connection stays behind."""
    try:
        return function(*args)
    finally:
        connection.close()


def _queue(now: datetime) -> Iterator[Gauge]:
    with connection.cursor() as cursor:
        cursor.execute(_QUEUE_SQL)
        counted = {(state, pool): (number, oldest) for state, pool, number, oldest in cursor.fetchall()}
    for pool in POOLS:
        for state in (QUEUED, HELD):
            number, _ = counted.get((state.value, pool), (0, None))
            labels = {"state": str(state.value), "pool": pool}
            yield Gauge("smg_queue_recipients", "Recipients that are not settled", number, labels)
        _, oldest = counted.get((QUEUED.value, pool), (0, None))
        age = 0.0 if oldest is None else _age_s(oldest, now)
        yield Gauge("smg_queue_oldest_seconds", "Age of the oldest mail that waits", age, {"pool": pool})


_QUEUE_SQL = (
    "SELECT state, pool, COUNT(*), MIN(id) FROM gateway_recipient"  # noqa: S608
    f" WHERE {OPEN} GROUP BY state, pool"
)


def _age_s(recipient_id: int, now: datetime) -> float:
    """Ids begin with their time, so the smallest tells the age without a look at the message."""
    return max(0.0, now.timestamp() - created_ms(recipient_id) / 1000)


def _complaints(now: datetime) -> Iterator[Gauge]:
    """Those that found their message: anybody can send the others. A gauge, for old rows are deleted."""
    rows = Complaint.objects.filter(at__gte=now - timedelta(days=1), message__isnull=False)
    numbers = dict(rows.order_by().values_list("kind").annotate(Count("id")))
    for kind in Complaint.Kind.values:
        yield Gauge(
            "smg_complaints_day", "Feedback reports of the last day", numbers.get(kind, 0), {"kind": kind}
        )


def _of_other_apps(now: datetime) -> Iterator[Gauge]:
    """An app may have a module `gauges` with `gauges(now) -> Iterable[Gauge]`; nothing here knows which do."""
    for app in apps.get_app_configs():
        if module_has_submodule(app.module, "gauges"):
            gather: Callable[[datetime], Iterator[Gauge]] = import_module(f"{app.name}.gauges").gauges
            yield from gather(now)
