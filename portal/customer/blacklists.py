"""Blocklists as a customer sees them: the matrix, what changed, one listing in plain words, alerts."""

from __future__ import annotations

from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from django import forms
from django.contrib import messages as notes
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from blacklist.control import alerts as alert_verbs
from blacklist.control import schedules
from blacklist.control.advice import advice_for
from blacklist.control.mutes import mute, unmute
from blacklist.models import Alert, CheckRun, Listing, Mute, Result
from blacklist.rules.replies import named_list
from gateway.models import Attempt, Customer, Recipient
from portal.access import MAX_ID, access_customer, actor, page
from portal.badges import COUNTERS
from portal.customer import blacklist_words  # noqa: F401 - its chips
from portal.customer.blacklist_matrix import KNOWN, matrix, visible_targets
from portal.customer.keyset import keyset_page

PER_PAGE = 25
CHANGES_FOR = timedelta(days=30)
WINDOW = timedelta(hours=24)
CHECK_EVERY_S = 600
SOME = 20


class MuteForm(forms.Form):
    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=300)
    until = forms.DateField(label=gettext_lazy("Until"), widget=forms.DateInput(attrs={"type": "date"}))


def visible_listings(customer: Customer) -> QuerySet[Listing]:
    """Listings of the customer's targets and of our gateways; suspected ones are support's business until confirmed."""
    rows = Listing.objects.filter(target__in=visible_targets(customer), is_confirmed=True)
    return rows.select_related("target__gateway", "provider", "ticket")


def access_listing(request: HttpRequest, pk: int) -> Listing:
    return get_object_or_404(visible_listings(access_customer(request)), pk=min(pk, MAX_ID))


@page("GET")
def overview(request: HttpRequest) -> HttpResponse:
    """The matrix, 25 targets a page, own ones first, and what changed in the last 30 days."""
    customer = access_customer(request)
    wanted = request.GET.get("q", "").replace("\x00", "").strip().lower()[:253]
    targets = (
        visible_targets(customer).filter(is_active=True, value__contains=wanted).select_related("gateway")
    )
    ordered = sorted(targets, key=lambda target: (target.gateway_id is not None, target.role, target.value))
    number = _page_number(request, len(ordered))
    providers, rows = matrix(ordered[(number - 1) * PER_PAGE : number * PER_PAGE])
    listings = _open_or_changed(customer)
    context = {
        "q": wanted, "rows": rows, "providers": providers, "number": number, "pages": max(1,
        -(-len(ordered) // PER_PAGE)),
        "total": len(ordered), "to_watch": not ordered and _is_anything_to_watch(customer),
        "open": [one for one in listings if one.delisted_at is None][:SOME],
        "changes": _changes(listings),
        "next_run": schedules.next_slot(),
        **_runs(),
    }  # fmt: skip
    return render(request, "customer/blacklists/overview.html", context)


def _is_anything_to_watch(customer: Customer) -> bool:
    """Proven domains and networks become targets with the next check."""
    return customer.domains.filter(verified_at__isnull=False).exists() or customer.networks.exists()


def _page_number(request: HttpRequest, total: int) -> int:
    text = request.GET.get("page", "1")
    last = max(1, -(-total // PER_PAGE))
    return min(max(int(text), 1), last) if text.isdecimal() and len(text) < 6 else 1


def _runs() -> dict[str, CheckRun | None]:
    """The latest daily check that is done, and the one that is running."""
    done = CheckRun.objects.filter(kind=CheckRun.Kind.DAILY, finished_at__isnull=False)
    runs = list(CheckRun.objects.filter(Q(finished_at=None) | Q(pk__in=done.values("pk")[:1])))
    return {
        "last_run": next((run for run in runs if not run.is_running), None),
        "running": next((run for run in runs if run.is_running), None),
    }


def _open_or_changed(customer: Customer) -> list[Listing]:
    """The latest listings that are open, and those with the latest changes; newest first."""
    rows = visible_listings(customer)
    still_open = rows.filter(delisted_at__isnull=True)
    changed = rows.order_by(Coalesce("delisted_at", "first_seen").desc())
    wanted = [some.values("pk")[:SOME] for some in (still_open, changed)]
    return list(rows.filter(Q(pk__in=wanted[0]) | Q(pk__in=wanted[1])))


def _changes(listings: list[Listing]) -> list[dict[str, Any]]:
    """Beginnings and ends of listings, newest first."""
    since = timezone.now() - CHANGES_FOR
    moments = [(one.first_seen, one, "listed") for one in listings]
    moments += [(one.delisted_at, one, "ended") for one in listings if one.delisted_at]
    latest = sorted((one for one in moments if one[0] >= since), key=itemgetter(0), reverse=True)[:SOME]
    return [{"at": at, "listing": listing, "state": state} for at, listing, state in latest]


@page("POST")
def check_now(request: HttpRequest) -> HttpResponse:
    """Ask all lists about this customer's targets, in the background; once in ten minutes."""
    customer = access_customer(request, write=True)
    if cache.add(f"blacklist-check-{customer.pk}", 1, CHECK_EVERY_S):
        schedules.check_customer_soon(customer.pk, actor(request))
        notes.success(request, _("The check has begun. It takes a few minutes: every hit is asked twice."))
    else:
        notes.warning(
            request, _("A check was made a few minutes ago. The lists' operators do not want more.")
        )
    return redirect("blacklists")


@page("GET")
def listing_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One listing: since when, why, whom it hits, what we do, what you should do, and until when."""
    return _listing_page(request, access_listing(request, pk), MuteForm())


def _listing_page(request: HttpRequest, listing: Listing, form: MuteForm, status: int = 200) -> HttpResponse:
    customer = access_customer(request)
    ticket = getattr(listing, "ticket", None)
    context = {
        "listing": listing, "advice": advice_for(listing), "ticket": ticket,
        "events": ticket.events.filter(is_public=True) if ticket else [],
        "alerts": listing.alerts.all(), "last_good": _last_good(listing), "form": form,
        "mute": Mute.objects.filter(customer=customer, provider=listing.provider, until__gt=timezone.now()).first(),
        **_impact(customer, listing),
    }  # fmt: skip
    return render(request, "customer/blacklists/listing.html", context, status=status)


def _last_good(listing: Listing) -> Result | None:
    rows = Result.objects.filter(target=listing.target, provider=listing.provider, status__in=KNOWN)
    return rows.order_by("-id").first()


def _impact(customer: Customer, listing: Listing) -> dict[str, Any]:
    """Which of the customer's own mails met this listing: those that left by the gateway, and refusals
    that cite the list."""
    until = listing.delisted_at or timezone.now()
    since = listing.first_seen - WINDOW
    sent = Recipient.objects.filter(customer=customer, settled_at__gte=since, settled_at__lte=until)
    gateway = listing.target.gateway
    if gateway is not None:
        sent = sent.filter(gateway=gateway)
    elif listing.target.role == "domain":
        sent = sent.filter(message__sender_domain=listing.target.value)
    else:
        sent = sent.filter(message__client_ip=listing.target.value)
    return {"sent": sent.count(), "since": since, "refused": _refused(customer, listing, since, until)}


def _refused(customer: Customer, listing: Listing, since: datetime, until: datetime) -> list[Attempt]:
    tried = Attempt.objects.filter(message__customer=customer, at__gte=since, at__lte=until, code__gte=400)
    if listing.target.gateway_id is not None:
        tried = tried.filter(gateway=listing.target.gateway_id)
    zones = {listing.provider.zone.replace("{key}.", "").lower(): listing.provider.slug}
    newest = tried.select_related("message").order_by("-id")[:2000]
    return [one for one in newest if named_list(one.text, zones) == listing.provider.slug][:SOME]


@page("POST")
def listing_mute(request: HttpRequest, pk: int) -> HttpResponse:
    """No mail about this list until a date, with a reason; an empty `until` ends it."""
    customer = access_customer(request, write=True)
    listing = access_listing(request, pk)
    if "end" in request.POST:
        unmute(customer, listing.provider, actor=actor(request))
        notes.success(request, _("You get mail about this list again."))
        return redirect("listing", pk)
    form = MuteForm(request.POST)
    if not form.is_valid():
        return _listing_page(request, listing, form, status=400)
    day = form.cleaned_data["until"]
    until = datetime(day.year, day.month, day.day, 23, 59, tzinfo=timezone.get_current_timezone())
    try:
        mute(
            customer, listing.provider, reason=form.cleaned_data["reason"], until=until, actor=actor(request)
        )
    except ValidationError as error:
        form.add_error(None, error)
        return _listing_page(request, listing, form, status=400)
    notes.success(
        request, _("No mail about this list until then. Critical listings are mailed all the same.")
    )
    return redirect("listing", pk)


def visible_alerts(customer: Customer) -> QuerySet[Alert]:
    return Alert.objects.filter(customers=customer).select_related("listing__target", "listing__provider")


@page("GET")
def alert_list(request: HttpRequest) -> HttpResponse:
    """Alerts, newest first; `state` open (the default) or all."""
    rows = visible_alerts(access_customer(request))
    state = "all" if request.GET.get("state") == "all" else "open"
    if state == "open":
        rows = rows.filter(acknowledged_at__isnull=True)
    found = keyset_page(rows, request.GET.get("before", ""))
    return render(request, "customer/blacklists/alerts.html", {"found": found, "state": state})


@page("POST")
def alert_acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    customer = access_customer(request, write=True)
    alert = get_object_or_404(visible_alerts(customer), pk=min(pk, MAX_ID))
    alert_verbs.acknowledge(alert, actor=actor(request))
    return redirect("alerts")


def unread(customer: Customer) -> int:
    """Alerts that nobody has acknowledged, for the navigation's badge; counted no further than a hundred."""
    return visible_alerts(customer).filter(acknowledged_at__isnull=True)[:100].count()


COUNTERS["alerts"] = unread
