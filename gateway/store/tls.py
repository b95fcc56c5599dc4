"""What deliveries saw of encryption: daily counts for TLS reports (RFC 8460), results of rules in shadow mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from gateway import rows
from gateway.models import TlsCount, TlsShadow


@dataclass(frozen=True, slots=True)
class TlsSeen:
    """One session. `shadow_of` is the message whose rule is only recorded; such a session is not counted."""

    at: datetime
    destination: str
    policy: str  # 'tlsa' | 'sts' | 'no-policy-found'
    result: str  # 'success' or a result type of RFC 8460 4.3
    host: str
    problem: str
    shadow_of: int | None


Key = tuple[date, str, str, str, str]


def note_tls(payloads: Sequence[list[TlsSeen]]) -> list[None]:
    seen = [one for payload in payloads for one in payload]
    rows.insert(TlsShadow, (_shadow_row(one) for one in seen if one.shadow_of is not None))
    counts: Counter[Key] = Counter(
        (one.at.date(), one.destination, one.policy, one.result, one.host)
        for one in seen
        if one.shadow_of is None
    )
    rows.many(_COUNT_SQL, [[*key, counts[key]] for key in sorted(counts)])
    return [None] * len(payloads)


_TABLE = TlsCount._meta.db_table
_COUNT_SQL = (
    f"INSERT INTO {_TABLE} (day, policy_domain, policy_type, result, mx, sessions) VALUES (%s, %s, %s, %s, %s, %s)"  # noqa: S608
    f" ON CONFLICT (day, policy_domain, policy_type, result, mx) DO UPDATE SET sessions = {_TABLE}.sessions + excluded.sessions"
)


def _shadow_row(one: TlsSeen) -> dict[str, object]:
    return {
        "message_id": one.shadow_of,
        "at": one.at,
        "destination": one.destination,
        "host": one.host,
        "problem": "" if one.result == "success" else one.problem[:500] or one.result,
    }
