"""What the steps work on: the context of a check, messages in memory and the parcels they are split into.

Mutable on purpose: a message's body is loaded once, prepared and signed once, and shared by its parcels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway.rules.policy import CredentialPolicy, CustomerPolicy, Snapshot
from gateway.rules.types import Address, Category, Outcome, Pool, TraceEntry

Tried = Callable[[list[Outcome]], None]
"""Hears what became of an attempt as soon as the next hop is free, before it is written."""


@dataclass(slots=True)
class Context:
    """Whose message is checked, by which policy, and what was found so far."""

    snapshot: Snapshot
    customer: CustomerPolicy
    login: CredentialPolicy | None
    now: datetime
    trace: list[TraceEntry] = field(default_factory=list)
    dry_run: bool = False  # explain: no counter is spent


@dataclass(slots=True)
class OpenRecipient:
    """One recipient still to be served."""

    id: int
    address: Address
    attempts: int
    expires_at: datetime
    notify: frozenset[str] = frozenset()
    orcpt: str = ""


@dataclass(slots=True)
class Mail:
    """One queued message as the sending half knows it."""

    id: int
    kind: str  # customer | ndr | own
    customer_id: int | None
    sender: Address | None
    pool: Pool
    category: Category
    received_at: datetime
    size_bytes: int
    body: bytes | None  # as received; None = not loaded yet
    header_from: str = ""
    score: float | None = None
    symbols: tuple[str, ...] = ()
    eight_bit: bool = False
    smtputf8: bool = False
    require_tls: bool = False
    tls_optional: bool = False  # 'TLS-Required: No' (RFC 8689)
    ret: str = ""
    envid: str = ""
    client_ip: str = ""
    helo: str = ""
    warned: bool = False  # the sender knows about the delay
    outgoing: bytes | None = field(default=None, repr=False)  # prepared and signed
    signed_by: str = ""  # 'selector._domainkey.domain', '' = no active key

    @property
    def sender_domain(self) -> str:
        return self.sender.domain if self.sender else ""


@dataclass(slots=True)
class Parcel:
    """The recipients of one message that share a destination domain."""

    mail: Mail
    domain: str
    recipients: list[OpenRecipient]
    policy: int = 0  # version of the policy when it began to wait in memory

    @property
    def recipient_ids(self) -> list[int]:
        return [recipient.id for recipient in self.recipients]


def split_by_domain(mail: Mail, recipients: list[OpenRecipient]) -> list[Parcel]:
    """One parcel per destination domain, in the order of the recipients."""
    by_domain: dict[str, list[OpenRecipient]] = {}
    for recipient in recipients:
        by_domain.setdefault(recipient.address.domain, []).append(recipient)
    return [Parcel(mail, domain, group) for domain, group in by_domain.items()]


def recipient_from_row(row: Any) -> OpenRecipient:
    """A row of Recipient as the steps know it."""
    local, _, domain = row.address.rpartition("@")
    notify = frozenset(word for word in row.notify.split(",") if word)
    expires_at: datetime = row.expires_at.astimezone(UTC)
    return OpenRecipient(row.id, Address(local, domain), row.attempts, expires_at, notify, row.orcpt)
