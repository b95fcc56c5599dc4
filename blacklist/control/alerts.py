"""Alerts: written with the listing they are about, mailed by severity, each exactly once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone

from blacklist.control import letters
from blacklist.control.events import publish
from blacklist.models import Alert, CheckRun, Listing, Mute
from blacklist.rules.episodes import AlertKind, Delivery, delivery_of, is_muted
from blacklist.rules.types import Severity
from gateway.models import Customer

HEALTH_QUIET = timedelta(hours=25)


def raise_alert(listing: Listing, kind: AlertKind, at: datetime) -> Alert:
    """Write one alert, in the caller's transaction. It is mailed by `send_due`."""
    severity = Severity(listing.severity)
    delivery = delivery_of(kind, severity)
    alert = Alert.objects.create(
        listing=listing, kind=kind.value, severity=severity.value, at=at, delivery=delivery.value
    )
    alert.customers.set(_concerned(listing))
    listing.alerted_at, listing.alerted_severity, listing.alerted_labels = (
        at,
        severity.value,
        list(listing.labels),
    )
    if kind is AlertKind.STILL_LISTED:
        listing.reminded_at = at
    listing.save(update_fields=["alerted_at", "alerted_severity", "alerted_labels", "reminded_at"])
    publish(_event_kind(listing, kind), _payload(alert))
    return alert


def _concerned(listing: Listing) -> list[Customer]:
    """Whose target it is. For a critically listed gateway: whose mail went through it in the window."""
    if listing.target.gateway_id is None:
        return list(listing.target.customers.all())
    if listing.severity != Severity.CRITICAL:
        return []
    return list(Customer.objects.filter(pk__in=[row["id"] for row in listing.impact.get("customers", [])]))


def _event_kind(listing: Listing, kind: AlertKind) -> str:
    what = "domain" if listing.target.kind == "domain" else "ip"
    return f"{what}_{'delisted' if kind is AlertKind.DELISTED else 'listed'}"


def _payload(alert: Alert) -> dict[str, Any]:
    listing = alert.listing
    ticket = getattr(listing, "ticket", None)
    return {
        "target": listing.target.value,
        "role": listing.target.role,
        "provider": listing.provider.slug,
        "severity": alert.severity,
        "alert": alert.kind,
        "reason": listing.reason,
        "at": alert.at.isoformat(),
        "customers": [customer.pk for customer in alert.customers.all()],
        "ticket": ticket.pk if ticket else None,
    }


def send_due(*, daily: bool) -> int:
    """Mail what waits: urgent and bundled alerts always, the minor ones once a day. Returns the number of mails."""
    ways = [Delivery.AT_ONCE.value, Delivery.BUNDLED.value, *([Delivery.DAILY.value] if daily else [])]
    with transaction.atomic():
        waiting = Alert.objects.select_for_update().filter(mailed_at__isnull=True, delivery__in=ways)
        pks = list(waiting.values_list("pk", flat=True))
        if not pks:
            return 0
        # claimed and queued in one transaction: a crash mails neither twice nor never
        Alert.objects.filter(pk__in=pks).update(mailed_at=timezone.now())
        alerts = list(
            Alert.objects.filter(pk__in=pks)
            .select_related("listing__target", "listing__provider", "listing__incident", "listing__ticket")
            .prefetch_related("customers")
            .order_by("id")
        )
        return _mail_support(alerts) + _mail_customers(alerts)


def _mail_support(alerts: list[Alert]) -> int:
    """Critical ones in a mail of their own per target, the rest in one."""
    bundles = _bundles(alerts)
    for bundle in bundles:
        _send(letters.for_support(bundle), [settings.SMG.support_email])
    return len(bundles)


def _bundles(alerts: Iterable[Alert]) -> list[list[Alert]]:
    """A mail per target with anything urgent (with all its other news: one incident, one mail), one for the rest."""
    alerts = list(alerts)
    urgent: dict[int, list[Alert]] = {
        alert.listing.target_id: [] for alert in alerts if alert.delivery == Delivery.AT_ONCE
    }
    rest: list[Alert] = []
    for alert in alerts:
        urgent.get(alert.listing.target_id, rest).append(alert)
    return [*urgent.values(), *([rest] if rest else [])]


def _mail_customers(alerts: list[Alert]) -> int:
    mine: dict[Customer, list[Alert]] = defaultdict(list)
    for alert in alerts:
        for customer in alert.customers.all():
            if not _is_muted(customer, alert):
                mine[customer].append(alert)
    sent = 0
    for customer, theirs in mine.items():
        for bundle in _bundles(theirs) if customer.alert_email else []:
            _send(letters.for_customer(customer, bundle), [customer.alert_email])
            sent += 1
    return sent


def _is_muted(customer: Customer, alert: Alert) -> bool:
    mute = Mute.objects.filter(customer=customer, provider=alert.listing.provider).first()
    return is_muted(Severity(alert.severity), mute.until if mute else None, alert.at)


def _send(letter: letters.Letter, to: list[str]) -> None:
    EmailMessage(letter.subject, letter.text, to=to, headers={"Auto-Submitted": "auto-generated"}).send()


@transaction.atomic
def note_health(run: CheckRun) -> bool:
    """One note to support about lists and the resolver that turned bad in this run; never to
    customers. True if sent."""
    if not _is_health_news(run) or not CheckRun.objects.filter(pk=run.pk, noted_at=None).update(
        noted_at=timezone.now()
    ):
        return False
    _send(letters.about_health(run), [settings.SMG.support_email])
    return True


def _is_health_news(run: CheckRun) -> bool:
    """A list is named in the run that saw it turn; what is wrong with the resolver is repeated by
    every run after it."""
    codes = {finding["code"] for finding in run.findings}
    earlier = CheckRun.objects.filter(started_at__gte=run.started_at - HEALTH_QUIET, pk__lt=run.pk).exclude(
        findings=[]
    )
    known = {finding["code"] for other in earlier for finding in other.findings}
    return "list" in codes or bool(codes - known)


@transaction.atomic
def acknowledge(alert: Alert, *, actor: str) -> bool:
    """Somebody has seen it. True if nobody had before."""
    changed = Alert.objects.filter(pk=alert.pk, acknowledged_at__isnull=True)
    return changed.update(acknowledged_at=timezone.now(), acknowledged_by=actor) == 1
