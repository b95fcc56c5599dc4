"""Logins that the abuse fuse has stopped, with what was unusual about them in the reader's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import get_language

from gateway.control.queue_filter import QueueFilter
from gateway.models import AuditEntry, Credential, Customer
from gateway.rules.behaviour import from_numbers, sentences

REASON = "abuse"  # of recipients that the fuse holds


@dataclass(frozen=True, slots=True)
class Stopped:
    credential: Credential
    sentences: list[str]


def stopped_logins(customer: Customer) -> list[Stopped]:
    """Those that are stopped now, the latest first. One query while there are none."""
    rows = customer.credentials.filter(block=Credential.Block.FUSE).order_by("-blocked_at")
    return in_words(customer, list(rows))


def in_words(customer: Customer, credentials: Sequence[Credential]) -> list[Stopped]:
    """Stopped logins of one customer with their sentences; one query for all of them."""
    if not credentials:
        return []
    language, signals = get_language() or "en", _signals(customer, credentials)
    return [
        Stopped(row, sentences(from_numbers(signals.get(str(row)) or {}), language) or _as_written(row))
        for row in credentials
    ]


def held_mail(credential: Credential, **narrower: object) -> QueueFilter:
    """What the fuse holds of a login; `narrower`: more fields of QueueFilter."""
    own = {"customer": credential.customer_id, "credential": credential.pk, "state": "held", "reason": REASON}
    return QueueFilter(**narrower | own)  # type: ignore[arg-type]


def _signals(customer: Customer, credentials: Sequence[Credential]) -> dict[str, dict[str, object]]:
    """The numbers of each login's latest stop, by its name: the audit log has them."""
    since = min((row.blocked_at for row in credentials if row.blocked_at), default=None)
    if since is None:
        return {}
    names = [str(row) for row in credentials]
    rows = AuditEntry.objects.filter(
        customer=customer, at__gte=since, action="credential.fuse", target__in=names
    )
    found = rows.order_by("id").values_list("target", "detail")
    return {target: detail.get("signals") or {} for target, detail in found}


def _as_written(credential: Credential) -> list[str]:
    """The reason as it was noted when a person stopped the login, or by an earlier version."""
    return [part for part in credential.block_reason.split("; ") if part]
