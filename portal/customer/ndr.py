"""Non-delivery reports, grouped by cause in plain words, and one report: why, who must act, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, Max, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone

from gateway.models import NdrReport
from portal.access import access_customer, access_ndr, page
from portal.csv_export import csv_response
from portal.customer.keyset import keyset_page
from portal.customer.query import search_words
from portal.customer.reply_words import Meaning, by_key, meaning_of

DAYS = {"1": 1, "7": 7, "30": 30}


@dataclass(frozen=True, slots=True)
class Cause:
    key: str
    number: int
    last: Any
    meaning: Meaning | None


@page("GET")
def ndr_list(request: HttpRequest) -> HttpResponse:
    days = DAYS.get(request.GET.get("days", ""), 7)
    reports = _reports(request, days)
    chosen = search_words(request, "cause")
    rows = reports.filter(cause=chosen) if chosen else reports
    context = {
        "days": days,
        "choices": list(DAYS.values()),
        "causes": causes(reports),
        "chosen": chosen,
        "chosen_meaning": by_key(chosen) if chosen else None,
        "found": keyset_page(rows.select_related("message"), request.GET.get("before", "")),
    }
    return render(request, "customer/ndr.html", context)


@page("GET")
def ndr_csv(request: HttpRequest) -> HttpResponseBase:
    days = DAYS.get(request.GET.get("days", ""), 7)
    reports = _reports(request, days)
    cause = search_words(request, "cause")
    if cause:
        reports = reports.filter(cause=cause)
    head = ["at", "message", "sender", "recipient", "cause", "code", "enhanced", "reply"]
    return csv_response(
        "non-delivery-reports.csv", head, _csv_rows(reports.select_related("message").iterator())
    )


@page("GET")
def ndr_detail(request: HttpRequest, pk: int) -> HttpResponse:
    report = access_ndr(request, pk)
    meaning = by_key(report.cause) or meaning_of(report.code, report.enhanced, report.text)
    return render(request, "customer/ndr_detail.html", {"report": report, "meaning": meaning})


def causes(reports: QuerySet[NdrReport]) -> list[Cause]:
    """How often each cause, most frequent first. Counts reports of a few days, by the customer's index."""
    rows = (
        reports.order_by()
        .values("cause")
        .annotate(number=Count("pk"), last=Max("at"))
        .order_by("-number", "cause")
    )
    return [Cause(row["cause"], row["number"], row["last"], by_key(row["cause"])) for row in rows]


def _reports(request: HttpRequest, days: int) -> QuerySet[NdrReport]:
    since = timezone.now() - timedelta(days=days)
    return access_customer(request).ndr_reports.filter(at__gte=since, kind__in=("failed", "delayed"))


def _csv_rows(reports: Iterable[NdrReport]) -> Iterator[list[Any]]:
    for report in reports:
        shared = [report.at.isoformat(), report.message.text_id, report.sender, report.address]
        yield [*shared, report.cause, report.code or "", report.enhanced, report.text]
