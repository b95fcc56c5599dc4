"""When people hear of a listing. One alert per (target, list) episode, then only what is news.

An episode begins with a confirmed hit and ends with a confirmed clean answer. Unknown results are no events at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from blacklist.rules.types import Severity

REOPEN_WITHIN = timedelta(days=14)
SAME_INCIDENT_WITHIN = timedelta(hours=24)
STILL_LISTED_AFTER = {
    Severity.CRITICAL: timedelta(days=3),
    Severity.MAJOR: timedelta(days=3),
    Severity.MINOR: timedelta(days=7),
}


class AlertKind(StrEnum):
    LISTED = "listed"
    RELISTED = "relisted"
    WORSE = "worse"
    NEW_CODE = "new_code"
    STILL_LISTED = "still_listed"
    REJECTED = "rejected"
    DELISTED = "delisted"


class Delivery(StrEnum):
    """How an alert reaches people."""

    AT_ONCE = "at_once"
    BUNDLED = "bundled"  # one mail for everything of this run
    DAILY = "daily"  # one mail a day
    PORTAL = "portal"  # nobody is mailed


@dataclass(frozen=True, slots=True)
class Episode:
    """An open listing as far as alerting cares. `alerted_at` is None while nobody was told (it was informational)."""

    first_seen: datetime
    severity: Severity
    labels: frozenset[str]
    alerted_at: datetime | None = None
    reminded: bool = False


def alert_for_hit(
    episode: Episode | None,
    severity: Severity,
    labels: frozenset[str],
    now: datetime,
    *,
    relisted: bool = False,
) -> AlertKind | None:
    """The alert that a confirmed hit causes; `episode` is the one it continues, None for a new one."""
    if severity in (Severity.NONE, Severity.INFORMATIONAL):
        return None
    if episode is None or episode.alerted_at is None:
        return AlertKind.RELISTED if relisted else AlertKind.LISTED
    if severity.rank > episode.severity.rank:
        return AlertKind.WORSE
    if labels - episode.labels:
        return AlertKind.NEW_CODE
    return _reminder(episode, severity, now)


def _reminder(episode: Episode, severity: Severity, now: datetime) -> AlertKind | None:
    due = episode.first_seen + STILL_LISTED_AFTER[severity]
    return AlertKind.STILL_LISTED if now >= due and not episode.reminded else None


def clean_runs_needed(severity: Severity) -> int:
    """Runs with a confirmed clean answer until an episode ends: small lists flap, so they must say it twice."""
    return 2 if severity in (Severity.MINOR, Severity.INFORMATIONAL) else 1


def is_relisting(delisted_at: datetime | None, now: datetime) -> bool:
    """Whether a new hit belongs to the ended episode: same ticket, counted up."""
    return delisted_at is not None and now - delisted_at <= REOPEN_WITHIN


def joins_incident(last_listing_at: datetime, now: datetime) -> bool:
    """Whether a listing belongs to the target's running incident: one mail to the customer, one story for support."""
    return now - last_listing_at <= SAME_INCIDENT_WITHIN


def delivery_of(kind: AlertKind, severity: Severity) -> Delivery:
    """Critical interrupts people, major is one mail per run, minor one a day, informational stays in the portal."""
    if severity is Severity.CRITICAL:
        return Delivery.BUNDLED if kind is AlertKind.DELISTED else Delivery.AT_ONCE
    if severity is Severity.MAJOR:
        return Delivery.BUNDLED
    return Delivery.DAILY if severity is Severity.MINOR else Delivery.PORTAL


def is_muted(severity: Severity, muted_until: datetime | None, now: datetime) -> bool:
    """A customer may silence a list for a time, but never a critical listing."""
    return severity is not Severity.CRITICAL and muted_until is not None and now < muted_until
