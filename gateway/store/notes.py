"""Small things that the relay writes beside the queue and reads beside the policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway import rows
from gateway.models import (
    Bar,
    LocalWord,
    Refusal,
    SetupEvent,
    SpamException,
)
from gateway.store.counters import CountKey, count, hour_of


def record_refusals(payloads: Sequence[dict[str, Any]]) -> list[None]:
    """Write refusals (rows of Refusal by attribute name) and count those of known customers."""
    rows.insert(Refusal, payloads)
    counts: Counter[tuple[CountKey, str]] = Counter()
    for row in payloads:
        if row.get("customer_id") is not None:
            key = (row["customer_id"], hour_of(row["at"]), row.get("sender", "").rpartition("@")[2])
            counts[key, "refused"] += 1
            counts[key, "infected"] += row["reason"] == "virus"
    count(counts)
    return [None] * len(payloads)


def note_logins(payloads: Sequence[tuple[int, str, datetime]]) -> list[None]:
    """(credential id, client address, time): last use, the latest of each login."""
    latest = {credential: (at, ip, credential) for credential, ip, at in payloads}
    sql = "UPDATE gateway_credential SET last_used_at = %s, last_used_ip = %s WHERE id = %s"
    rows.many_last(sql, latest.items())
    return [None] * len(payloads)


def note_setup(
    payloads: Sequence[tuple[datetime, list[tuple[int, str, str, str, str, int | None]]]],
) -> list[None]:
    """(time, [(customer id, session, stage, client address, reply, message id)]): how far a watched customer's server
    got."""
    fields = ("customer_id", "session", "stage", "client_ip", "reply", "message")
    rows.insert(
        SetupEvent,
        ({"at": at, **dict(zip(fields, event, strict=True))} for at, events in payloads for event in events),
    )
    return [None] * len(payloads)


def set_bars(payloads: Sequence[tuple[int, str, datetime, str]]) -> list[None]:
    """(gateway id, destination, until, reason): do not try this destination from there until then."""
    for gateway_id, destination, until, reason in payloads:
        Bar.objects.update_or_create(
            gateway_id=gateway_id, destination=destination, defaults={"until": until, "reason": reason[:500]}
        )
    return [None] * len(payloads)


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned here: word counts (id, ham, spam), and exceptions (customer, domain, symbols, until)."""

    words: list[tuple[int, int, int]]
    exceptions: list[tuple[int, str, list[str], datetime]]


def load_learned() -> Learned:
    return Learned(
        words=list(LocalWord.objects.values_list("feature", "ham", "spam")),
        exceptions=list(
            SpamException.objects.values_list("customer_id", "sender_domain", "symbols", "expires_at")
        ),
    )


def end_bars(payloads: Sequence[datetime]) -> list[int]:
    """Forget bars that are over."""
    return [Bar.objects.filter(until__lte=now).delete()[0] for now in payloads]
