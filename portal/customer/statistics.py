"""Statistics by day, domain, recipient domain and category: from hourly counts, and recipients for where to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _

from gateway.models import Customer, HourlyCount, Recipient
from gateway.rules.ids import id_at
from portal.access import access_customer, page
from portal.charts import BarChart, Series
from portal.csv_export import csv_response

DAYS = {"7": 7, "30": 30, "90": 90}
SUMMED = (
    "accepted", "refused", "infected", "suspect", "spam", "recipients", "delivered", "deferred", "bounced", "expired",
    "size_kib",
)  # fmt: skip
NEWEST = (
    20_000  # recipients that the table of recipient domains looks at: the latest ones, never the whole log
)


@page("GET")
def statistics(request: HttpRequest) -> HttpResponse:
    customer = access_customer(request)
    days = DAYS.get(request.GET.get("days", ""), 7)
    counts = _counts(customer, days)
    by_day = _by_day(counts, days)
    context = {
        "days": days,
        "choices": list(DAYS.values()),
        "recipients_chart": recipients_chart(by_day),
        "category_chart": category_chart(by_day),
        "by_domain": by_domain(counts),
        "by_recipient_domain": by_recipient_domain(customer, min(days, 30)),
        "totals": _sums(counts),
    }
    return render(request, "customer/statistics.html", context)


@page("GET")
def statistics_csv(request: HttpRequest) -> HttpResponseBase:
    """A line per day, in the reader's zone."""
    customer = access_customer(request)
    days = DAYS.get(request.GET.get("days", ""), 7)
    by_day = _by_day(_counts(customer, days), days)
    rows = ([day.isoformat(), *(sums[name] for name in SUMMED)] for day, sums in by_day.items())
    return csv_response("statistics.csv", ["day", *SUMMED], rows)


def recipients_chart(by_day: dict[date, dict[str, int]]) -> BarChart:
    sums = list(by_day.values())
    return BarChart(
        title=_("Recipients by day and result"),
        labels=_labels(by_day),
        label_step=_step(by_day),
        series=[
            Series(_("delivered"), "series-a", [one["delivered"] for one in sums]),
            Series(_("delayed"), "series-b", [one["deferred"] for one in sums]),
            Series(_("undeliverable"), "series-c", [one["bounced"] + one["expired"] for one in sums]),
        ],
    )


def category_chart(by_day: dict[date, dict[str, int]]) -> BarChart:
    sums = list(by_day.values())
    return BarChart(
        title=_("Messages by day and category"),
        labels=_labels(by_day),
        label_step=_step(by_day),
        series=[
            Series(_("clean"), "series-a", [one["accepted"] - one["suspect"] - one["spam"] for one in sums]),
            Series(_("suspect"), "series-b", [one["suspect"] for one in sums]),
            Series(_("spam"), "series-c", [one["spam"] for one in sums]),
            Series(_("refused"), "series-d", [one["refused"] for one in sums]),
        ],
    )


def by_domain(counts: Iterable[HourlyCount]) -> list[tuple[str, dict[str, Any]]]:
    """Sums per sender domain, busiest first."""
    groups: dict[str, list[HourlyCount]] = defaultdict(list)
    for count in counts:
        groups[count.domain].append(count)
    rows = [(domain, _with_rates(_sums(group))) for domain, group in groups.items()]
    return sorted(rows, key=lambda row: -row[1]["accepted"])


def by_recipient_domain(customer: Customer, days: int) -> list[Any]:
    """Where the latest mail went: the busiest recipient domains with their share of failures."""
    since = id_at(timezone.now() - timedelta(days=days))
    latest = customer.recipients.filter(id__gte=since).order_by("-id").values("pk")[:NEWEST]
    state = Recipient.StateChoice
    return list(
        Recipient.objects.filter(pk__in=latest)
        .order_by()
        .values("domain")
        .annotate(
            number=Count("pk"),
            delivered=Count("pk", filter=Q(state=state.DELIVERED)),
            failed=Count("pk", filter=Q(state__in=[state.BOUNCED, state.EXPIRED])),
            waiting=Count("pk", filter=Q(state__in=[state.QUEUED, state.HELD])),
        )
        .order_by("-number", "domain")[:15]
    )


def _counts(customer: Customer, days: int) -> list[HourlyCount]:
    start = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days - 1)
    return list(customer.hourly_counts.filter(hour__gte=start).order_by("hour"))


def _by_day(counts: Iterable[HourlyCount], days: int) -> dict[date, dict[str, int]]:
    """Sums per day of the reader's zone; days without mail are there too."""
    groups: dict[date, list[HourlyCount]] = defaultdict(list)
    for count in counts:
        groups[_day(count.hour)].append(count)
    today = _day(timezone.now())
    wanted = [today - timedelta(days=back) for back in range(days - 1, -1, -1)]
    return {day: _sums(groups[day]) for day in wanted}


def _sums(counts: Iterable[HourlyCount]) -> dict[str, int]:
    rows = list(counts)
    return {name: sum(getattr(row, name) for row in rows) for name in SUMMED}


def _with_rates(sums: dict[str, int]) -> dict[str, Any]:
    failed = sums["bounced"] + sums["expired"]
    done = sums["delivered"] + failed
    return sums | {"failed": failed, "failed_percent": round(100 * failed / done, 1) if done else 0}


def _day(moment: datetime) -> date:
    return timezone.localtime(moment).date()


def _labels(by_day: dict[date, Any]) -> list[str]:
    return [f"{day:%d.%m.}" for day in by_day]


def _step(by_day: dict[date, Any]) -> int:
    return max(len(by_day) // 8, 1)
