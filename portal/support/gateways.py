"""Gateways: what goes through them, drain and undrain, listings, and how they look from outside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages as notes
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from blacklist.models import Listing
from gateway.control import gateway_checks, gateways
from gateway.models import Bar, Gateway, Recipient
from portal.access import MAX_ID, actor
from portal.support.base import TooSlowError, bounded, id_since, staff_page

TRAFFIC = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class GatewayRow:
    gateway: Gateway
    traffic: dict[str, int]  # recipients of the last hour's messages: delivered, failed, waiting
    listings: list[Listing]
    bars: int


class DrainForm(forms.Form):
    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=300)


@staff_page("GET")
def gateway_list(request: HttpRequest) -> HttpResponse:
    return render(request, "support/gateways.html", {"rows": rows()})


@staff_page("GET", "POST")
def gateway_drain(request: HttpRequest, pk: int) -> HttpResponse:
    """Draining asks for a reason on its own page, and warns when nothing of the pool is left."""
    gateway = get_object_or_404(Gateway, pk=min(pk, MAX_ID))
    form = DrainForm(request.POST or None)
    if request.method == "POST" and gateway.drained_at:
        gateways.undrain(gateway, actor=actor(request))
        notes.success(request, _("%(name)s is in use again.") % {"name": gateway.name})
        return redirect("support_gateways")
    if request.method == "POST" and form.is_valid():
        gateways.drain(gateway, actor=actor(request), reason=form.cleaned_data["reason"])
        notes.success(request, _("%(name)s takes no more mail.") % {"name": gateway.name})
        return redirect("support_gateways")
    others = Gateway.objects.filter(pool=gateway.pool, drained_at=None).exclude(pk=gateway.pk)
    context = {"gateway": gateway, "form": form, "is_last": not others.exists()}
    return render(request, "support/gateway_drain.html", context, status=400 if form.errors else 200)


@staff_page("POST")
def gateway_check(request: HttpRequest, pk: int) -> HttpResponse:
    """PTR, forward name and SPF host, asked now."""
    gateway = get_object_or_404(Gateway, pk=min(pk, MAX_ID))
    checks = gateway_checks.check(gateway)
    return render(request, "support/gateways.html", {"rows": rows(), "checked": gateway, "checks": checks})


def rows() -> list[GatewayRow]:
    traffic, listings, bars = _traffic(), _listings(), _bars()
    nothing = {"delivered": 0, "failed": 0, "waiting": 0}
    return [
        GatewayRow(
            gateway, traffic.get(gateway.pk, nothing), listings.get(gateway.pk, []), bars.get(gateway.pk, 0)
        )
        for gateway in Gateway.objects.order_by("-pool", "name")
    ]


def _traffic() -> dict[int, dict[str, int]]:
    """By gateway, of recipients whose message came in within the last hour; {} when that takes too long."""
    counted: dict[str, Any] = {
        "delivered": Count("pk", filter=Q(state="delivered")),
        "failed": Count("pk", filter=Q(state__in=["bounced", "expired"])),
        "waiting": Count("pk", filter=Q(state__in=["queued", "held"])),
    }
    fresh = Recipient.objects.filter(id__gte=id_since(TRAFFIC), gateway__isnull=False)
    try:
        with bounded():
            found: list[Any] = list(fresh.order_by().values("gateway").annotate(**counted))
    except TooSlowError:
        return {}
    return {row["gateway"]: {name: row[name] for name in counted} for row in found}


def _listings() -> dict[int, list[Listing]]:
    found: dict[int, list[Listing]] = {}
    open_ones = Listing.objects.filter(delisted_at=None, target__gateway__isnull=False)
    for row in open_ones.select_related("target", "provider"):
        found.setdefault(row.target.gateway_id or 0, []).append(row)
    return found


def _bars() -> dict[int, int]:
    from django.utils import timezone

    active = Bar.objects.filter(until__gt=timezone.now()).order_by().values("gateway")
    return {row["gateway"]: row["number"] for row in active.annotate(number=Count("pk"))}
