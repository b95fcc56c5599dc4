"""Which events there are, and how new rows of the log become deliveries.

The relay knows nothing of webhooks: `collect` follows the tables by their growing ids. On PostgreSQL a row is read
seconds after it was written, because a transaction with a smaller id may commit later; SQLite's commit one after the
other. Customers without webhooks cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Model, QuerySet
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from blacklist.models import Alert, Listing, TicketEvent
from gateway.models import Attempt, AuditEntry, Complaint, NdrReport, Refusal
from gateway.rules.arf import COMPLAINTS
from gateway.rules.ids import to_text
from portal.models import WebhookCursor, WebhookDelivery, WebhookEndpoint

TEST = "webhook.test"
EVENTS: dict[str, str | Promise] = {
    "message.delivered": _("a recipient's server took a message"),
    "message.failed": _("a message could not be delivered"),
    "message.delayed": _("a message is late"),
    "message.refused": _("we refused a message"),
    "message.complaint": _("a recipient reported a message as unwanted"),
    "blacklist.alert": _("one of your addresses or domains was listed, or is free again"),
    "blacklist.ticket": _("a delisting ticket moved"),
    "account.changed": _("somebody changed your settings"),
}
BATCH = 500

Payload = dict[str, Any]
Found = Iterable[tuple[int | None, str, Payload]]  # customer id, event, data


@dataclass(frozen=True, slots=True)
class Source:
    """One table that events come from. `found` makes the event of a row, `rows` narrows to customers."""

    name: str
    events: frozenset[str]
    model: type[Model]
    rows: Callable[[QuerySet[Any], set[int]], QuerySet[Any]]
    found: Callable[[Any], Found]
    time_field: str = "at"


def envelope(event: str, at: datetime, data: Payload) -> Payload:
    """The body of a request, as Standard Webhooks recommends it."""
    return {"type": event, "timestamp": at.isoformat(), "data": data}


def _delivered(row: Attempt) -> Found:
    data = {"message": to_text(row.message_id), "recipient": _recipient_address(row), **_reply(row)}
    return [(row.message.customer_id, "message.delivered", data | {"remote_host": row.remote_host})]


def _recipient_address(row: Attempt) -> str:
    return next((one.address for one in row.message.recipients.all() if one.pk == row.recipient), "")


def _reported(row: NdrReport) -> Found:
    event = "message.delayed" if row.kind == "delayed" else "message.failed"
    data = {
        "message": to_text(row.message_id),
        "recipient": row.address,
        "sender": row.sender,
        "cause": row.cause,
    }
    return [(row.customer_id, event, data | _reply(row))]


def _refused(row: Refusal) -> Found:
    data = {"sender": row.sender, "recipient": row.recipient, "login": row.username, "reason": row.reason}
    return [(row.customer_id, "message.refused", data | _reply(row))]


def _complained(row: Complaint) -> Found:
    data = {
        "message": to_text(row.message_id),
        "recipient": row.recipient,
        "kind": row.kind,
        "reporter": row.reporter,
    }
    return [(row.customer_id, "message.complaint", data)]


def _changed(row: AuditEntry) -> Found:
    return [(row.customer_id, "account.changed", {"by": row.actor, "action": row.action, "what": row.target})]


def _alerted(row: Alert) -> Found:
    data = {"kind": row.kind, "severity": row.severity, **_listing(row.listing)}
    return [(customer.pk, "blacklist.alert", data) for customer in row.customers.all()]


def _moved(row: TicketEvent) -> Found:
    data = {
        "ticket": row.ticket_id,
        "state": row.ticket.state,
        "text": row.text,
        **_listing(row.ticket.listing),
    }
    return [(customer.pk, "blacklist.ticket", data) for customer in row.ticket.listing.target.customers.all()]


def _listing(listing: Listing) -> Payload:
    return {"listing": listing.pk, "target": listing.target.value, "provider": listing.provider.name}


def _reply(row: Any) -> Payload:
    return {"code": row.code, "enhanced": row.enhanced, "text": row.text}


def _of_customers(rows: QuerySet[Any], customers: set[int]) -> QuerySet[Any]:
    return rows.filter(customer__in=customers)


def _delivered_rows(rows: QuerySet[Any], customers: set[int]) -> QuerySet[Any]:
    wanted = rows.filter(state="delivered", message__customer__in=customers)
    return wanted.select_related("message").prefetch_related("message__recipients")


def _report_rows(rows: QuerySet[Any], customers: set[int]) -> QuerySet[Any]:
    return rows.filter(customer__in=customers, kind__in=["failed", "delayed"])


def _complaint_rows(rows: QuerySet[Any], customers: set[int]) -> QuerySet[Any]:
    return rows.filter(customer__in=customers, message__isnull=False, kind__in=COMPLAINTS)


def _alert_rows(rows: QuerySet[Any], customers: set[int]) -> QuerySet[Any]:
    wanted = rows.filter(customers__in=customers).distinct()
    return wanted.select_related("listing__target", "listing__provider").prefetch_related("customers")


def _ticket_rows(rows: QuerySet[Any], customers: set[int]) -> QuerySet[Any]:
    wanted = rows.filter(is_public=True, ticket__listing__target__customers__in=customers).distinct()
    with_listing = wanted.select_related("ticket__listing__target", "ticket__listing__provider")
    return with_listing.prefetch_related("ticket__listing__target__customers")


SOURCES = (
    Source("attempt", frozenset({"message.delivered"}), Attempt, _delivered_rows, _delivered),
    Source("ndr", frozenset({"message.failed", "message.delayed"}), NdrReport, _report_rows, _reported),
    Source("refusal", frozenset({"message.refused"}), Refusal, _of_customers, _refused),
    Source("complaint", frozenset({"message.complaint"}), Complaint, _complaint_rows, _complained),
    Source("audit", frozenset({"account.changed"}), AuditEntry, _of_customers, _changed),
    Source("alert", frozenset({"blacklist.alert"}), Alert, _alert_rows, _alerted),
    Source("ticket", frozenset({"blacklist.ticket"}), TicketEvent, _ticket_rows, _moved),
)


def collect() -> int:
    """Turn what happened since the last call into deliveries; returns how many were made."""
    return sum(_collect(source) for source in SOURCES)


def start_anew() -> None:
    """For the moment before a webhook is switched on: if none was, nobody followed the tables, and old rows are no
    news."""
    if not WebhookEndpoint.objects.filter(disabled_at=None).exists():
        WebhookCursor.objects.all().delete()


def _collect(source: Source) -> int:
    """Nothing new is the rule: it costs two reads and no lock."""
    top = _top(source.model, source.time_field)
    known = WebhookCursor.objects.filter(pk=source.name).values_list("last_id", flat=True).first()
    return 0 if known is not None and known >= top else _follow(source, top)


@transaction.atomic
def _follow(source: Source, top: int) -> int:
    model = source.model
    cursor, created = WebhookCursor.objects.select_for_update().get_or_create(
        source=source.name, defaults={"last_id": top}
    )
    if created or cursor.last_id >= top:
        return 0
    endpoints = _listeners(source.events)
    made, seen = _fill(source, model, endpoints, cursor.last_id, top) if endpoints else (0, top)
    WebhookCursor.objects.filter(pk=source.name).update(last_id=seen)
    return made


def lag() -> timedelta:
    """How long a transaction may be open after another one with a greater id was committed."""
    return timedelta(0) if connection.vendor == "sqlite" else timedelta(seconds=5)


def _top(model: type[Model], time_field: str) -> int:
    """The last id that is old enough to be followed."""
    settled = model._default_manager.filter(**{f"{time_field}__lte": timezone.now() - lag()})
    return settled.order_by("-pk").values_list("pk", flat=True).first() or 0


def _listeners(events: Iterable[str]) -> dict[int, list[WebhookEndpoint]]:
    """Active endpoints that want one of these events, by customer."""
    found: dict[int, list[WebhookEndpoint]] = {}
    for endpoint in WebhookEndpoint.objects.filter(disabled_at=None):
        if not endpoint.events or set(endpoint.events) & set(events):
            found.setdefault(endpoint.customer_id, []).append(endpoint)
    return found


def _fill(
    source: Source, model: type[Model], endpoints: dict[int, list[WebhookEndpoint]], after: int, top: int
) -> tuple[int, int]:
    fresh = model._default_manager.filter(pk__gt=after, pk__lte=top).order_by("pk")
    rows = list(source.rows(fresh, set(endpoints))[:BATCH])
    now = timezone.now()
    made = [delivery for row in rows for delivery in _deliveries(source, row, endpoints, now)]
    WebhookDelivery.objects.bulk_create(made)
    return len(made), (rows[-1].pk if len(rows) == BATCH else top)


def _deliveries(
    source: Source, row: Any, endpoints: dict[int, list[WebhookEndpoint]], now: datetime
) -> Iterable[WebhookDelivery]:
    for customer, event, data in source.found(row):
        payload = envelope(event, getattr(row, source.time_field), data)
        for endpoint in endpoints.get(customer or 0, []):
            if not endpoint.events or event in endpoint.events:
                yield WebhookDelivery(endpoint=endpoint, event=event, payload=payload, next_attempt_at=now)
