"""From results to listings, tickets and alerts. Running it twice over the same run changes nothing the second time.

Only knowledge counts: a confirmed hit opens or continues an episode, a confirmed clean answer ends one, and unknown
results leave everything as it is.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_noop

from blacklist.control import alerts, drain, impact, lifecycle
from blacklist.models import CheckRun, Incident, Listing, Provider, Result, Target
from blacklist.rules.episodes import (
    AlertKind,
    Episode,
    alert_for_hit,
    clean_runs_needed,
    is_relisting,
    joins_incident,
)
from blacklist.rules.types import Severity, Status


def evaluate(run: CheckRun) -> None:
    """Every result of a run that says something, each in a transaction of its own."""
    listings = {
        (one.target_id, one.provider_id): one for one in Listing.objects.filter(delisted_at__isnull=True)
    }
    for result in Result.objects.filter(run=run, status=Status.LISTED).select_related("target", "provider"):
        listing = listings.get((result.target_id, result.provider_id))
        if result.confirmed or (listing is not None and listing.is_confirmed):
            _hit(result, listing)
    quiet = Result.objects.filter(run=run, target_id__in={target for target, _ in listings}).exclude(
        status=Status.LISTED
    )
    for result in quiet.select_related("target", "provider"):
        listing = listings.get((result.target_id, result.provider_id))
        if listing is not None:
            _no_hit(result, listing)


@transaction.atomic
def _hit(result: Result, listing: Listing | None) -> None:
    if listing is not None and listing.last_run == result.run_id:
        return
    now = result.at
    relisted = False
    if listing is None:
        listing, relisted = _open(result.target, result.provider, now)
    elif not listing.is_confirmed:
        relisted = listing.times_listed > 1
    before = _episode(listing)
    severity, labels = Severity(result.severity), frozenset(result.labels)
    kind = alert_for_hit(before, severity, labels, now, relisted=relisted)
    _note_seen(listing, result)
    lifecycle.note_hit(listing, relisted=relisted)
    _follow_up(listing, kind, now)


def _follow_up(listing: Listing, kind: AlertKind | None, now: datetime) -> None:
    """What a hit causes besides the ticket; the drain comes first, so that the alert can say it happened."""
    if kind is not None and listing.target.gateway is not None:
        listing.impact = impact.of_gateway(listing.target.gateway, now)
        listing.save(update_fields=["impact"])
    if listing.severity == Severity.CRITICAL:
        drain.take_out(listing)
    if kind is not None:
        alerts.raise_alert(listing, kind, now)


def _episode(listing: Listing) -> Episode | None:
    if listing.alerted_at is None:
        return None
    severity = Severity(listing.alerted_severity or listing.severity)
    return Episode(
        listing.first_seen,
        severity,
        frozenset(listing.alerted_labels),
        listing.alerted_at,
        reminded=listing.reminded_at is not None,
    )


def _open(target: Target, provider: Provider, now: datetime) -> tuple[Listing, bool]:
    """(listing, whether it came back): a return within 14 days continues the old one, counted up."""
    old = Listing.objects.filter(target=target, provider=provider).order_by("-delisted_at", "-id").first()
    if old is not None and old.is_confirmed and is_relisting(old.delisted_at, now):
        old.delisted_at, old.first_seen, old.times_listed = None, now, old.times_listed + 1
        old.alerted_at = old.reminded_at = None
        old.incident, old.clean_runs = _incident(target, now), 0
        old.save()
        return old, True
    listing = Listing(
        target=target, provider=provider, first_seen=now, last_seen=now, incident=_incident(target, now)
    )
    return listing, False


def _incident(target: Target, now: datetime) -> Incident:
    last = Incident.objects.filter(target=target).order_by("-id").first()
    if last is None or not joins_incident(last.last_listing_at, now):
        return Incident.objects.create(target=target, opened_at=now, last_listing_at=now)
    last.last_listing_at, last.closed_at = now, None
    last.save(update_fields=["last_listing_at", "closed_at"])
    return last


def _note_seen(listing: Listing, result: Result) -> None:
    listing.severity, listing.codes, listing.labels = result.severity, result.codes, result.labels
    listing.raw, listing.ttl_s, listing.reason = result.raw, result.ttl_s, result.reason
    listing.last_seen = listing.last_checked = result.at
    listing.last_status, listing.last_run = result.status, result.run_id
    listing.clean_runs, listing.is_confirmed = 0, True
    listing.source = Listing.Source.DNS
    listing.save()


@transaction.atomic
def _no_hit(result: Result, listing: Listing) -> None:
    if listing.last_run == result.run_id:
        return
    listing.last_checked, listing.last_status, listing.last_run = result.at, result.status, result.run_id
    fields = ["last_checked", "last_status", "last_run"]
    if result.status != Status.NOT_LISTED or not result.confirmed:
        listing.save(update_fields=fields)  # unknown: nothing opens, nothing closes
        return
    listing.clean_runs += 1
    listing.save(update_fields=[*fields, "clean_runs"])
    if not listing.is_confirmed:
        drop(listing, result.at)
    elif listing.clean_runs >= clean_runs_needed(Severity(listing.severity)):
        end(listing, result.at, gettext_noop("no longer listed"))
    else:
        lifecycle.note_clean_once(listing)


def drop(listing: Listing, at: datetime) -> None:
    """A reply named the list, the list itself does not: no episode ever began."""
    listing.delisted_at = at
    listing.save(update_fields=["delisted_at"])
    lifecycle.note_dropped(listing)
    _close_incident(listing, at)


def end(listing: Listing, at: datetime, why: str) -> None:
    """The episode is over: good news for everybody who was told of it, and the gateway goes back to work."""
    was_told = listing.alerted_at is not None
    listing.delisted_at = at
    listing.save(update_fields=["delisted_at"])
    lifecycle.note_end(listing, why)
    drain.bring_back(listing)
    if was_told:
        alerts.raise_alert(listing, AlertKind.DELISTED, at)
    _close_incident(listing, at)


def _close_incident(listing: Listing, at: datetime) -> None:
    incident = listing.incident
    if incident is not None and not incident.listings.filter(delisted_at__isnull=True).exists():
        incident.closed_at = at
        incident.save(update_fields=["closed_at"])


def open_from_reply(
    target: Target,
    provider: Provider,
    severity: str,
    reason: str,
    *,
    confirmed: bool,
    now: datetime | None = None,
) -> Listing:
    """A listing that a remote reply names. Confirmed at once only when the list cannot be asked by DNS."""
    now = now or timezone.now()
    listing, relisted = _open(target, provider, now)
    listing.source, listing.is_confirmed, listing.severity = Listing.Source.REPLY, confirmed, severity
    listing.reason, listing.last_seen, listing.last_checked = reason[:1000], now, now
    listing.last_status = Status.LISTED.value if confirmed else ""
    listing.save()
    lifecycle.note_hit(listing, relisted=relisted)
    if confirmed:
        kind = alert_for_hit(_episode(listing), Severity(severity), frozenset(), now, relisted=relisted)
        _follow_up(listing, kind, now)
    return listing
