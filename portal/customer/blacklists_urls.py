"""Blocklists, alerts and delisting tickets; included by portal/urls.py."""

from django.urls import URLPattern, URLResolver, path

from portal.customer import blacklist_tickets, blacklists
from portal.support import runs

urlpatterns: list[URLPattern | URLResolver] = [
    path("blacklists/", blacklists.overview, name="blacklists"),
    path("blacklists/check/", blacklists.check_now, name="blacklist_check"),
    path("blacklists/<int:pk>/", blacklists.listing_detail, name="listing"),
    path("blacklists/<int:pk>/mute/", blacklists.listing_mute, name="listing_mute"),
    path("alerts/", blacklists.alert_list, name="alerts"),
    path("alerts/<int:pk>/acknowledge/", blacklists.alert_acknowledge, name="alert_acknowledge"),
    path("tickets/", blacklist_tickets.ticket_list, name="tickets"),
    path("tickets/<int:pk>/", blacklist_tickets.ticket_detail, name="ticket"),
    path("support/blacklists/runs/", runs.run_list, name="blacklist_runs"),
    path("support/blacklists/runs/<int:pk>/", runs.run_detail, name="blacklist_run"),
    path("support/blacklists/runs/<int:pk>/progress/", runs.run_progress, name="blacklist_run_progress"),
]
