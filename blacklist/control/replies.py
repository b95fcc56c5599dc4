"""Remote replies that name a list: they open the same listings as our own questions, with due distrust."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext_noop

from blacklist.control import evaluate
from blacklist.control.impact import provider_zones
from blacklist.control.providers import askable, ensure_providers
from blacklist.control.targets import sync_targets
from blacklist.models import BlacklistSettings, Listing, Provider, Target
from blacklist.rules.replies import QUIET_DAYS, is_about, named_list
from blacklist.rules.types import Severity
from gateway.models import Attempt, Gateway

BATCH = 5000
UNSETTLED = timedelta(minutes=2)


def report_reply(gateway_name: str, destination: str, text: str, at: datetime) -> Listing | None:
    """A delivery by this gateway was refused with a text that may name a list. Returns the listing it belongs to.

    Systems without DNS are believed (nobody can ask them); a list that can be asked is only suspected, until the next
    check confirms or drops it; dead lists mean an outdated receiver and no listing of ours.
    """
    gateway = Gateway.objects.filter(name=gateway_name).first()
    if gateway is None:
        return None
    ensure_providers()
    provider = Provider.objects.filter(slug=named_list(text, provider_zones())).first()
    if provider is None or provider.known == Provider.Known.DEAD:
        return None
    target = _target(gateway, text)
    return _listing(target, provider, f"{destination}: {text}", at) if target else None


def _target(gateway: Gateway, text: str) -> Target | None:
    """The address of the gateway that the reply is about; none when it names only others'."""
    targets = Target.objects.filter(gateway=gateway, is_active=True).exclude(kind="domain").order_by("kind")
    if not targets.exists():
        sync_targets()
    return next((target for target in targets if is_about(text, target.value)), None)


def _listing(target: Target, provider: Provider, reason: str, at: datetime) -> Listing | None:
    """The open listing of the pair or a new one; None when a later check has already found the pair clean."""
    if Listing.objects.filter(target=target, provider=provider, delisted_at__gte=at).exists():
        return None
    known = Listing.objects.filter(target=target, provider=provider, delisted_at__isnull=True).first()
    if known is not None:
        known.last_seen = (
            max(known.last_seen, at) if known.source == Listing.Source.REPLY else known.last_seen
        )
        known.save(update_fields=["last_seen"])
        return known
    can_ask = any(one.pk == provider.pk for one in askable()[0])
    severity = provider.severity if provider.severity in list(Severity) else Severity.MAJOR.value
    return evaluate.open_from_reply(target, provider, severity, reason, confirmed=not can_ask, now=at)


def scan_attempts() -> int:
    """Read the deliveries since the last time; returns how many named a list. Called by the clock every few minutes.

    Ids are given before rows are committed, so the last two minutes are read again: saying it twice changes nothing.
    """
    settings = BlacklistSettings.load()
    now = timezone.now()
    if settings.last_attempt == 0:  # the first time: what was refused long ago is no news
        settings.last_attempt = _newest_before(now - timedelta(days=1))
    fresh = Attempt.objects.filter(id__gt=settings.last_attempt, code__gte=400, gateway__isnull=False)
    rows = list(fresh.select_related("gateway").order_by("id")[:BATCH])
    named = sum(_report(attempt) for attempt in rows)
    settled = _newest_before(now - UNSETTLED)
    seen = min(settled, rows[-1].pk) if len(rows) == BATCH else settled
    settings.last_attempt = max(settings.last_attempt, seen)
    settings.save(update_fields=["last_attempt"])
    return named


def _newest_before(at: datetime) -> int:
    return Attempt.objects.filter(at__lt=at).aggregate(newest=Max("id"))["newest"] or 0


def _report(attempt: Attempt) -> bool:
    name = attempt.gateway.name if attempt.gateway else ""
    return report_reply(name, attempt.remote_host, attempt.text, attempt.at) is not None


def end_quiet_listings() -> int:
    """Listings known from replies alone end when no reply has named them for three days. Returns how many."""
    limit = timezone.now() - timedelta(days=QUIET_DAYS)
    quiet = Listing.objects.filter(
        source=Listing.Source.REPLY, is_confirmed=True, delisted_at__isnull=True, last_seen__lt=limit
    )
    ended = 0
    for listing in quiet.select_related("target__gateway", "provider"):
        evaluate.end(listing, timezone.now(), gettext_noop("no receiver has named it for three days"))
        ended += 1
    return ended
