"""The first page: what needs a person, what the last 24 hours brought, and the way to the first mail."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from blacklist.models import Listing
from gateway.models import Customer, Domain, HourlyCount, RateWindow, Recipient, Worker
from portal.access import access_customer, current_membership, page
from portal.charts import BarChart, Series
from portal.customer.message_rows import SOME_RECIPIENTS, rows_of
from portal.status import SILENT_AFTER, degraded_words

COUNTED = (
    "accepted",
    "refused",
    "delivered",
    "deferred",
    "bounced",
    "expired",
    "held",
    "suspect",
    "spam",
)
DEGRADED_KEPT_S = 5  # the same for everybody, and asked with every overview


@page("GET")
def overview(request: HttpRequest) -> HttpResponse:
    if current_membership(request) is None and request.user.is_staff:
        return redirect("support")
    customer = access_customer(request)
    now = timezone.now()
    counts = list(last_day(customer, now))
    sums = totals(counts)
    context = {
        "totals": sums,
        "failed": sums["bounced"] + sums["expired"],
        "by_bad": sums["suspect"] + sums["spam"],
        "waiting": waiting(customer),
        "chart": chart(counts, now),
        "domains": list(customer.domains.order_by("name")),
        "latest": rows_of(customer.messages.prefetch_related(SOME_RECIPIENTS)[:6]),
        "degraded": degraded(now),
        "listings": open_listings(customer),
        "rate": current_rate(customer, now),
    }
    return render(request, "customer/overview.html", context | {"checklist": checklist(customer, context)})


def last_day(customer: Customer, now: datetime) -> Iterable[HourlyCount]:
    """The hours that the last 24 hours touch, all sender domains."""
    return customer.hourly_counts.filter(hour__gt=_hour(now) - timedelta(hours=24)).order_by("hour")


def totals(counts: list[HourlyCount]) -> dict[str, int]:
    return {name: sum(getattr(count, name) for count in counts) for name in COUNTED}


def chart(counts: list[HourlyCount], now: datetime) -> BarChart:
    """Recipients by what became of them, an hour a column, in the reader's zone."""
    by_hour: dict[datetime, list[HourlyCount]] = defaultdict(list)
    for count in counts:
        by_hour[count.hour].append(count)
    hours = [_hour(now) - timedelta(hours=back) for back in range(23, -1, -1)]
    sums = [totals(by_hour[hour]) for hour in hours]
    return BarChart(
        title=_("Recipients of the last 24 hours, by hour"),
        labels=[f"{timezone.localtime(hour):%H:%M}" for hour in hours],
        label_step=3,
        series=[
            Series(_("delivered"), "series-a", [one["delivered"] for one in sums]),
            Series(_("delayed"), "series-b", [one["deferred"] for one in sums]),
            Series(_("undeliverable"), "series-c", [one["bounced"] + one["expired"] for one in sums]),
            Series(_("refused at our door"), "series-d", [one["refused"] for one in sums]),
        ],
    )


def waiting(customer: Customer) -> int:
    """Open recipients, counted up to a thousand: a long queue must not make this page slow."""
    states = (Recipient.StateChoice.QUEUED, Recipient.StateChoice.HELD)
    return customer.recipients.filter(state__in=states)[:1000].count()


def current_rate(customer: Customer, now: datetime) -> dict[str, int]:
    """How much of the running minute's limit is used."""
    window: RateWindow | None = getattr(customer, "rate_window", None)
    running = window is not None and window.started_at > now - timedelta(minutes=1)
    return {"used": window.used if window and running else 0}


def open_listings(customer: Customer) -> list[Listing]:
    """Blocklists that name an address or domain of the customer just now, newest first."""
    listed = Listing.objects.filter(target__customers=customer, delisted_at__isnull=True, is_confirmed=True)
    return list(listed.select_related("target", "provider")[:6])


def degraded(now: datetime) -> list[str]:
    """Sentences about what does not work just now; an installation without a living relay says so itself."""
    reports = cache.get_or_set("degraded", lambda: _worker_reports(now), DEGRADED_KEPT_S)
    if not reports:
        return [_("The relay is not running: mail servers cannot hand over mail at the moment.")]
    return sorted({degraded_words(part, why) for report in reports for part, why in report.items()})


def _worker_reports(now: datetime) -> list[dict[str, str]]:
    """What each living relay process cannot use just now."""
    return list(Worker.objects.filter(seen_at__gt=now - SILENT_AFTER).values_list("degraded", flat=True))


def checklist(customer: Customer, context: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps to the first mail, each with whether it is done; empty when all are."""
    domains: list[Domain] = context["domains"]
    done = {
        "domain": bool(domains),
        "dns": any(domain.is_verified for domain in domains),
        "access": bool(context["latest"]) or customer.credentials.exists(),
        "mail": bool(context["latest"]),
        "alerts": bool(customer.alert_email),
    }
    return [] if all(done.values()) else [{"key": key, "done": value} for key, value in done.items()]


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
