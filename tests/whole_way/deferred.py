"""Run in the relay's environment (`manage.py shell`): fills the queue with mail that is due, without any client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import transaction

from gateway import store
from gateway.models import Customer
from gateway.rules.ids import id_at

BATCH = 1000


def message(identity: int, customer_id: int, domain: str, now: datetime) -> store.NewMessage:
    return store.NewMessage(
        message={
            "id": identity, "kind": "customer", "customer_id": customer_id, "received_at": now, "client_ip": None,
            "sender": "web@acme.example", "sender_domain": "acme.example", "header_from": "web@acme.example",
            "subject": f"no-{identity}", "size_bytes": 600, "recipient_count": 1, "category": "clean",
        },
        recipients=[
            {
                "id": identity, "message_id": identity, "customer_id": customer_id, "pool": "good", "domain": domain,
                "address": f"r{identity}@{domain}", "next_attempt_at": now, "expires_at": now + timedelta(days=5),
            }
        ],
        content=b"From: web@acme.example\r\nSubject: waiting\r\n\r\n" + b"x" * 500 + b"\r\n",
    )  # fmt: skip


def fill(number: int, domain: str, slug: str = "acme") -> None:
    """Queue so many messages for one domain."""
    customer_id = Customer.objects.get(slug=slug).id
    now = datetime.now(UTC) - timedelta(minutes=30)
    start = id_at(now)
    for first in range(0, number, BATCH):
        with transaction.atomic():
            store.insert_messages(
                [
                    message(start + place, customer_id, domain, now)
                    for place in range(first, min(number, first + BATCH))
                ]
            )
