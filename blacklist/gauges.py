"""What the metrics page shows of the blacklist monitoring (gathered by gateway/store/gauges.py)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Count, Max

from blacklist.models import CheckRun, DelistingTicket, Listing
from gateway.rules.gauges import Gauge

ROLES = ("gateway", "customer_ip", "domain")


def gauges(now: datetime) -> Iterator[Gauge]:
    """Open listings by role, open tickets, and when the daily check last came to its end."""
    rows = (
        Listing.objects.filter(delisted_at__isnull=True, is_confirmed=True).values("target__role").order_by()
    )
    numbers = {row["target__role"]: row["number"] for row in rows.annotate(number=Count("id"))}
    for role in ROLES:
        yield Gauge("smg_listings_active", "Entries on blacklists", numbers.get(role, 0), {"role": role})
    tickets = DelistingTicket.objects.filter(closed_at__isnull=True).count()
    yield Gauge("smg_tickets_open", "Delisting tickets that are not closed", tickets)
    runs = CheckRun.objects.filter(kind=CheckRun.Kind.DAILY, phase=CheckRun.Phase.FINISHED)
    finished = runs.aggregate(last=Max("finished_at"))["last"]
    if finished is not None:
        yield Gauge(
            "smg_blacklist_last_run_timestamp_seconds", "End of the last daily check", finished.timestamp()
        )
