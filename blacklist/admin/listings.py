"""Listings, incidents and alerts: what was seen and who was told. To be read; work is done on tickets."""

from __future__ import annotations

from datetime import datetime

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from blacklist.admin import show
from blacklist.control import alerts
from blacklist.models import Alert, Incident, Listing, Mute
from gateway.admin.base import AtWindowFilter, StaffAdmin, at_once


class OpenFilter(admin.EmptyFieldListFilter):
    """Open listings are those without an end."""


@admin.register(Listing)
class ListingAdmin(StaffAdmin):
    list_display = [
        "target",
        "provider",
        "severity",
        "labels",
        "first_seen",
        "last_seen",
        "delisted_at",
        "times_listed",
        "last_status",
    ]
    list_filter = [
        ("delisted_at", OpenFilter), "severity", "source", "target__role", ("provider",
        admin.RelatedOnlyFieldListFilter),
    ]  # fmt: skip
    search_fields = ["target__value", "provider__slug", "provider__name", "reason"]
    list_select_related = ["target", "provider"]
    date_hierarchy = "first_seen"
    fields = [
        "target", "provider", "incident", "source", "is_confirmed", "severity", "codes", "labels", "raw",
        "reason", "ttl_s",
        "first_seen", "last_seen", "last_checked", "last_status", "clean_runs", "times_listed",
        "delisted_at", "alerted_at",
        "drained_gateway", "whose_mail",
    ]  # fmt: skip
    readonly_fields = ["whose_mail"]

    @admin.display(description=_("whose mail it hit"))
    def whose_mail(self, obj: Listing) -> SafeString:
        return show.impact(obj)


@admin.register(Incident)
class IncidentAdmin(StaffAdmin):
    list_display = ["target", "opened_at", "last_listing_at", "closed_at", "lists"]
    list_filter = [("closed_at", OpenFilter)]
    search_fields = ["target__value"]
    list_select_related = ["target"]
    fields = ["target", "opened_at", "last_listing_at", "closed_at", "listings_table"]
    readonly_fields = ["listings_table"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        rows: QuerySet[Incident] = super().get_queryset(request)
        return rows.prefetch_related("listings__provider", "listings__ticket")

    @admin.display(description=_("lists"))
    def lists(self, obj: Incident) -> str:
        return ", ".join(listing.provider.slug for listing in obj.listings.all())

    @admin.display(description=_("listings"))
    def listings_table(self, obj: Incident) -> SafeString:
        return show.table(
            [str(_("list")), str(_("severity")), str(_("since")), str(_("delisted")), str(_("ticket"))],
            [
                (one.provider, one.severity, _short(one.first_seen), _short(one.delisted_at), _ticket(one))
                for one in obj.listings.all()
            ],
        )


def _short(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "–"


def _ticket(listing: Listing) -> SafeString | str:
    ticket = getattr(listing, "ticket", None)
    if ticket is None:
        return "–"
    return format_html(
        '<a href="/admin/blacklist/delistingticket/{}/change/">#{} {}</a>', ticket.pk, ticket.pk, ticket.state
    )


@admin.register(Alert)
class AlertAdmin(StaffAdmin):
    list_display = [
        "at",
        "listing",
        "kind",
        "severity",
        "delivery",
        "mailed_at",
        "acknowledged_at",
        "acknowledged_by",
    ]
    list_filter = [AtWindowFilter, "kind", "severity"]
    search_fields = ["listing__target__value", "listing__provider__slug"]
    list_select_related = ["listing__target", "listing__provider"]
    fields = [
        "at",
        "listing",
        "kind",
        "severity",
        "delivery",
        "customers",
        "mailed_at",
        "acknowledged_at",
        "acknowledged_by",
    ]
    actions = [at_once("acknowledge", _("Acknowledge"), alerts.acknowledge)]

    def object_actions(self, obj: Alert) -> list[str]:
        return [] if obj.acknowledged_at else ["acknowledge"]


@admin.register(Mute)
class MuteAdmin(StaffAdmin):
    list_display = ["customer", "provider", "reason", "until", "created_by"]
    list_select_related = ["customer", "provider"]
    search_fields = ["customer__name", "provider__slug"]
