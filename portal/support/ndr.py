"""Why mail does not arrive, over all customers; and the answers that the dictionary does not know yet."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from gateway.codes import code_dictionary
from gateway.models import NdrReport
from portal.support.base import RANGE_CHOICES, TooSlowError, bounded, span_of, staff_page

TOP = 30
READ = 20_000  # reports that are looked at: the latest ones


@staff_page("GET")
def ndr_analysis(request: HttpRequest) -> HttpResponse:
    reports = NdrReport.objects.filter(kind="failed", at__gte=timezone.now() - span_of(request))
    context: dict[str, Any] = {
        "ranges": RANGE_CHOICES,
        "range": request.GET.get("range", "24h"),
        "read": READ,
    }
    try:
        with bounded():
            context |= _numbers(reports)
    except TooSlowError:
        context["problem"] = _("This takes too long. Choose a shorter time.")
    return render(request, "support/ndr.html", context)


def _numbers(reports: QuerySet[NdrReport]) -> dict[str, Any]:
    latest = NdrReport.objects.filter(pk__in=reports.order_by("-id").values("pk")[:READ]).order_by()
    by_cause = latest.values("cause").annotate(number=Count("pk"), customers=Count("customer", distinct=True))
    general = [key for key in latest.values_list("cause", flat=True).distinct() if is_general(key)]
    unknown = latest.filter(cause__in=general).values("code", "enhanced", "text").annotate(number=Count("pk"))
    by_domain = latest.values("domain").annotate(number=Count("pk"))
    return {
        "causes": [{**row, "title": title_of(row["cause"])} for row in by_cause.order_by("-number")[:TOP]],
        "domains": by_domain.order_by("-number")[:TOP],
        "unknown": unknown.order_by("-number")[:TOP],
    }


def is_general(key: str) -> bool:
    """Causes that only say "somehow refused": unknown to the dictionary, or its entries by code alone."""
    entry = code_dictionary().get(key)
    return entry is None or bool(entry.basic and not entry.patterns and not entry.enhanced)


def title_of(key: str) -> str:
    entry = code_dictionary().get(key)
    return entry.text(get_language() or "en").title if entry else key or _("unknown")
