"""Rows for tests, each a valid one by itself; name what your test is about and leave the rest.

The cast: Alice (owner of ACME), Bob (viewer, ACME), Charlie (owner of Globex), Sam (support).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from gateway.models import (
    Attempt,
    Credential,
    Customer,
    DkimKey,
    Domain,
    Gateway,
    HourlyCount,
    Message,
    NdrReport,
    Recipient,
    Refusal,
    Suppression,
    TlsRule,
    Worker,
)
from gateway.rules.ids import EPOCH_MS
from portal.models import Membership, User

PASSWORD = "correct horse battery"
_sequence = itertools.count(1)


def message_id(at: datetime) -> int:
    """An id like the relay's: grows with the time, never twice."""
    ms = int(at.timestamp() * 1000) - EPOCH_MS
    return ms << 22 | next(_sequence) % (1 << 22)


def make_customer(slug: str = "", **values: Any) -> Customer:
    slug = slug or f"customer-{next(_sequence)}"
    return Customer.objects.create(
        **{"slug": slug, "name": slug.upper(), "alert_email": f"ops@{slug}.example"} | values
    )


def make_user(email: str = "", **values: Any) -> User:
    return User.objects.create_user(email or f"person-{next(_sequence)}@acme.example", PASSWORD, **values)


def make_member(
    customer: Customer, role: str = Membership.Role.OWNER, email: str = "", **values: Any
) -> User:
    user = make_user(email, **values)
    Membership.objects.create(user=user, customer=customer, role=role)
    return user


def make_domain(customer: Customer, name: str = "", *, proven: bool = True, **values: Any) -> Domain:
    verified = {"verified_at": timezone.now(), "verified_by": "dns"} if proven else {}
    return Domain.objects.create(
        customer=customer, **{"name": name or f"d{next(_sequence)}.example"} | verified | values
    )


def make_credential(customer: Customer, username: str = "", **values: Any) -> Credential:
    """Made directly: its secret is unknown. Use gateway.control.credentials.create for one that logs in."""
    name = username or f"login-{next(_sequence)}"
    return Credential.objects.create(
        **{"customer": customer, "username": name, "secret_hash": "0" * 64} | values
    )


def make_gateway(name: str = "", pool: str = "good", **values: Any) -> Gateway:
    name = name or f"mta{next(_sequence)}"
    return Gateway.objects.create(**{"name": name, "pool": pool, "hostname": f"{name}.smg.example"} | values)


def make_message(
    customer: Customer | None,
    *,
    to: tuple[str, ...] = ("dora@example.org",),
    state: str = "delivered",
    **values: Any,
) -> Message:
    """A message with one recipient per address in `to`, all in `state`."""
    at = values.pop("at", None) or timezone.now()
    recipient_values = values.pop("recipient", {})
    defaults: dict[str, Any] = {
        "id": message_id(at), "customer": customer, "received_at": at, "sender": "alice@acme.example",
        "sender_domain": "acme.example", "header_from": "alice@acme.example", "subject": "Hello",
        "message_id": f"<{next(_sequence)}@acme.example>", "size_bytes": 4096, "recipient_count": len(to),
        "client_ip": "192.0.2.10", "helo": "mail.acme.example", "client_tls": "TLSv1.3 TLS_AES_256_GCM_SHA384",
        "trace": [{"step": "sender_domain", "outcome": "pass", "detail": {"domain": "acme.example"}, "ms": 1.2}],
    }  # fmt: skip
    message = Message.objects.create(**defaults | values)
    for address in to:
        make_recipient(message, address, state=state, **recipient_values)
    return message


def make_recipient(
    message: Message, address: str = "dora@example.org", state: str = "delivered", **values: Any
) -> Recipient:
    at = message.received_at
    settled = state not in ("queued", "held")
    defaults: dict[str, Any] = {
        "id": message_id(at), "message": message, "customer": message.customer, "address": address,
        "domain": address.rpartition("@")[2], "state": state,
        "pool": "good" if message.category == "clean" else "bad",
        "attempts": 1, "expires_at": at + timedelta(days=5), "settled_at": at if settled else None,
        "next_attempt_at": at + timedelta(minutes=5) if state == "queued" else None,
        "remote_host": "mx.example.org", "code": 250, "enhanced": "2.0.0", "text": "Ok: queued as 4711",
    }  # fmt: skip
    return Recipient.objects.create(**defaults | values)


def make_attempt(recipient: Recipient, **values: Any) -> Attempt:
    defaults: dict[str, Any] = {
        "message_id": recipient.message_id, "recipient": recipient.id, "at": timezone.now(), "state": recipient.state,
        "stage": "dot", "remote_host": "mx.example.org", "remote_ip": "203.0.113.25", "code": recipient.code,
        "enhanced": recipient.enhanced, "text": recipient.text, "duration_ms": 120.0,
        "tls": {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "verified": True, "policy": "opportunistic"},
    }  # fmt: skip
    return Attempt.objects.create(**defaults | values)


def make_refusal(customer: Customer | None, **values: Any) -> Refusal:
    defaults: dict[str, Any] = {
        "at": timezone.now(), "customer": customer, "stage": "mail", "sender": "alice@unknown.example", "code": 550,
        "text": "Sender Domain must resolve", "reason": "sender_domain", "client_ip": "192.0.2.10",
    }  # fmt: skip
    return Refusal.objects.create(**defaults | values)


def make_ndr(message: Message, **values: Any) -> NdrReport:
    defaults: dict[str, Any] = {
        "at": timezone.now(), "customer": message.customer, "message": message, "sender": message.sender,
        "address": "nobody@example.org", "domain": "example.org", "cause": "5.1.1", "code": 550, "enhanced": "5.1.1",
        "text": "User unknown",
    }  # fmt: skip
    return NdrReport.objects.create(**defaults | values)


def make_suppression(customer: Customer, address: str = "gone@example.org", **values: Any) -> Suppression:
    return Suppression.objects.create(
        customer=customer, address=address, **{"reason": "unknown_user"} | values
    )


def make_tls_rule(customer: Customer, recipient_domain: str = "bank.example", **values: Any) -> TlsRule:
    return TlsRule.objects.create(customer=customer, recipient_domain=recipient_domain, **values)


def make_dkim_key(domain: Domain, state: str = "requested", **values: Any) -> DkimKey:
    return DkimKey.objects.create(domain=domain, state=state, requested_by="alice@acme.example", **values)


def make_hour(customer: Customer, hour: datetime | None = None, **counts: int) -> HourlyCount:
    hour = (hour or timezone.now()).replace(minute=0, second=0, microsecond=0)
    return HourlyCount.objects.create(customer=customer, hour=hour, domain="acme.example", **counts)


def make_worker(**values: Any) -> Worker:
    now = timezone.now()
    defaults: dict[str, Any] = {
        "owner": f"w{next(_sequence)}",
        "node": "n",
        "pid": 1,
        "slot": next(_sequence) % 900,
        "started_at": now,
        "seen_at": now,
    }
    return Worker.objects.create(**defaults | values)


@dataclass(frozen=True)
class Cast:
    """Everybody, and their customers."""

    acme: Customer
    globex: Customer
    alice: User
    bob: User
    charlie: User
    sam: User


def make_cast() -> Cast:
    acme, globex = make_customer("acme", name="ACME"), make_customer("globex", name="Globex")
    return Cast(
        acme=acme,
        globex=globex,
        alice=make_member(acme, Membership.Role.OWNER, "alice@acme.example"),
        bob=make_member(acme, Membership.Role.VIEWER, "bob@acme.example"),
        charlie=make_member(globex, Membership.Role.OWNER, "charlie@globex.example"),
        sam=make_user("sam@smg.example", is_staff=True, is_superuser=True),
    )
