"""Whose mail went through a listed gateway, how much of it was suspect, and who refuses it because of the list."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q
from django.utils import timezone

from blacklist.models import Provider
from blacklist.rules.replies import named_list
from gateway.models import Attempt, Gateway, Recipient

WINDOW = timedelta(hours=24)
MOST = 20
MOST_REPLIES = 5000


def of_gateway(gateway: Gateway, until: datetime | None = None) -> dict[str, Any]:
    """{'since', 'until', 'customers': [{'id', 'name', 'recipients', 'spam'}], 'total', 'spam', 'replies': [{'list',
    'destination', 'count', 'text'}]}; `spam` counts suspect and spam. JSON-ready, no addresses of persons."""
    until = until or timezone.now()
    since = until - WINDOW
    customers = _customers(gateway, since, until)
    return {
        "since": since.isoformat(),
        "until": until.isoformat(),
        "customers": customers[:MOST],
        "total": sum(row["recipients"] for row in customers),
        "spam": sum(row["spam"] for row in customers),
        "replies": _replies(gateway, since, until),
    }


def _customers(gateway: Gateway, since: datetime, until: datetime) -> list[dict[str, Any]]:
    rows = (
        Recipient.objects.filter(
            gateway=gateway, settled_at__gte=since, settled_at__lte=until, customer__isnull=False
        )
        .order_by()
        .values("customer_id", "customer__name")
        .annotate(
            recipients=Count("id"), spam=Count("id", filter=Q(message__category__in=("suspect", "spam")))
        )
        .order_by("-recipients")
    )
    return [
        {
            "id": row["customer_id"],
            "name": row["customer__name"],
            "recipients": row["recipients"],
            "spam": row["spam"],
        }
        for row in rows
    ]


def _replies(gateway: Gateway, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Refusals that cite a list, by list and destination: a listing that nobody cites is cosmetic."""
    zones = provider_zones()
    refused = Attempt.objects.filter(gateway=gateway, at__gte=since, at__lte=until, code__gte=400).order_by(
        "-id"
    )
    counts: Counter[tuple[str, str]] = Counter()
    texts: dict[tuple[str, str], str] = {}
    for host, text in refused.values_list("remote_host", "text")[:MOST_REPLIES]:
        slug = named_list(text, zones)
        if slug:
            counts[slug, host] += 1
            texts.setdefault((slug, host), text[:300])
    return [
        {"list": slug, "destination": host, "count": count, "text": texts[slug, host]}
        for (slug, host), count in counts.most_common(MOST)
    ]


def provider_zones() -> dict[str, str]:
    """Zone -> slug, for finding lists in replies; keyed zones without their key part."""
    rows = Provider.objects.exclude(zone="").values_list("zone", "slug")
    return {zone.replace("{key}.", "").lower(): slug for zone, slug in rows}
