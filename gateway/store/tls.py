"""What deliveries saw of encryption: daily counts for TLS reports (RFC 8460), results of rules in shadow mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date

from gateway import rows
from gateway.models import TlsCount, TlsShadow
from gateway.rules.route_types import TlsObservation
from gateway.rules.tls_report import is_rule_shadow, report_kind

Key = tuple[date, str, str, str, str]


def note_tls(payloads: Sequence[list[TlsObservation]]) -> list[None]:
    """Count the sessions that reports are made of; keep what rules in shadow mode would have done. An observation may
    be neither, and is never both."""
    seen = [one for payload in payloads for one in payload]
    rows.insert(TlsShadow, (_shadow_row(one) for one in seen if is_rule_shadow(one)))
    counts: Counter[Key] = Counter(
        (one.at.date(), one.destination, kind, one.result or "success", one.host)
        for one in seen
        if (kind := report_kind(one)) is not None
    )
    rows.many_last(_COUNT_SQL, [(key, [*key, number]) for key, number in counts.items()])
    return [None] * len(payloads)


_TABLE = TlsCount._meta.db_table
_COUNT_SQL = (
    f"INSERT INTO {_TABLE} (day, policy_domain, policy_type, result, mx, sessions)"  # noqa: S608
    " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (day, policy_domain, policy_type, result, mx)"
    f" DO UPDATE SET sessions = {_TABLE}.sessions + excluded.sessions"
)


def _shadow_row(one: TlsObservation) -> dict[str, object]:
    return {
        "message_id": one.message_id,
        "at": one.at,
        "destination": one.destination,
        "host": one.host,
        "problem": one.text[:500] if one.result else "",
    }
