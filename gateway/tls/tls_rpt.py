"""Counts TLS sessions for reports (RFC 8460) and finds out who wants them.

`TlsCounts.observe` is the Deliverer's observer: cheap, in memory, bounded. `take(day)` hands a finished day over as
plain rows, so that processes can put theirs together (`merge`) before `rules.tls_report` writes the texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date
from typing import Any

from gateway.dns import DnsError, Resolver
from gateway.rules.route_types import TlsaRecord, TlsObservation
from gateway.rules.tls_policy import StsPolicy
from gateway.rules.tls_report import Failure, PolicyCount, report_addresses

MAX_ROWS = 20_000

_KINDS = {"dane": "tlsa", "mta-sts": "sts", "opportunistic": "no-policy-found"}

# (domain, kind, policy strings, mx patterns, failure or None)
_Row = tuple[str, str, tuple[str, ...], tuple[str, ...], Failure | None]


class TlsCounts:
    """One per process. `sts_policy` gives the policy in force of a domain, from the cache."""

    def __init__(self, sts_policy: Callable[[str], StsPolicy | None] = lambda _domain: None) -> None:
        self._sts_policy = sts_policy
        self._days: dict[date, Counter[_Row]] = {}

    def observe(self, seen: TlsObservation) -> None:
        """Count one session. Forced rules and smart hosts are our customers' and our own business, not the domain's."""
        kind = _KINDS.get(seen.demand.source)
        if kind is None or not _counts(seen):
            return
        rows = self._days.setdefault(seen.at.astimezone(UTC).date(), Counter())
        row = (seen.destination, kind, *self._policy(kind, seen), _failure(seen))
        if row in rows or len(rows) < MAX_ROWS:
            rows[row] += 1

    def take(self, before: date) -> list[dict[str, Any]]:
        """Rows of all days that ended before `before` (UTC), as JSON-able values; they are forgotten here."""
        found = []
        for day in [day for day in self._days if day < before]:
            found += [_to_plain(day, row, count) for row, count in self._days.pop(day).items()]
        return found

    def _policy(self, kind: str, seen: TlsObservation) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if kind == "tlsa":
            return tuple(map(_tlsa_text, seen.demand.tlsa)), ()
        policy = self._sts_policy(seen.destination) if kind == "sts" else None
        if policy is None:
            return (), ()
        return tuple(line for line in policy.text.splitlines() if line.strip()), policy.mx


def _counts(seen: TlsObservation) -> bool:
    """A policy in testing mode is seen twice, as a shadow and for real: the shadow is the one that counts."""
    tested = seen.demand.shadow is not None and seen.demand.shadow.source == "mta-sts"
    return not tested and (not seen.shadow or seen.demand.source == "mta-sts")


def _failure(seen: TlsObservation) -> Failure | None:
    if not seen.result:
        return None
    return Failure(seen.result, "", seen.host, seen.ip, seen.text)


def _tlsa_text(record: TlsaRecord) -> str:
    return f"{record.usage} {record.selector} {record.matching} {record.data.hex()}"


def _to_plain(day: date, row: _Row, count: int) -> dict[str, Any]:
    domain, kind, strings, patterns, failure = row
    plain: dict[str, Any] = {"day": day.isoformat(), "domain": domain, "kind": kind, "count": count}
    plain |= {"strings": list(strings), "mx_patterns": list(patterns)}
    if failure is not None:
        plain["failure"] = [failure.result_type, failure.receiving_host, failure.receiving_ip, failure.reason]
    return plain


def merge(rows: Iterable[dict[str, Any]]) -> dict[tuple[date, str], list[PolicyCount]]:
    """Rows of any number of processes -> policies per (day, domain), ready for report_json."""
    successes: Counter[tuple[date, str, str, tuple[str, ...], tuple[str, ...]]] = Counter()
    failures: dict[tuple[date, str, str, tuple[str, ...], tuple[str, ...]], Counter[Failure]] = {}
    for row in rows:
        day, domain = date.fromisoformat(row["day"]), row["domain"]
        key = (day, domain, row["kind"], tuple(row["strings"]), tuple(row["mx_patterns"]))
        failed = failures.setdefault(key, Counter())
        if "failure" in row:
            result, host, ip, reason = row["failure"]
            failed[Failure(result, "", host, ip, reason)] += row["count"]
        else:
            successes[key] += row["count"]
    found: dict[tuple[date, str], list[PolicyCount]] = {}
    for (day, domain, kind, strings, patterns), failed in failures.items():
        count = successes[day, domain, kind, strings, patterns]
        policy = PolicyCount(domain, kind, strings, patterns, count, tuple(failed.most_common()))
        found.setdefault((day, domain), []).append(policy)
    return found


async def wanted_by(resolver: Resolver, domain: str) -> tuple[str, ...]:
    """Where the domain wants its reports by mail; () when it does not ask, or cannot be asked now."""
    try:
        return report_addresses((await resolver.txt(f"_smtp._tls.{domain}")).texts)
    except DnsError:
        return ()
