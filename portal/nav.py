"""The way through the portal: the main entries and the tabs below them, by URL name."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class Entry:
    """One link. `covers` names the path prefixes under which it is the current one."""

    label: str | Promise
    url_name: str
    icon: str = ""
    covers: tuple[str, ...] = ()
    badge: str = ""  # key of the context's badges

    @property
    def url(self) -> str:
        try:
            return reverse(self.url_name)
        except NoReverseMatch:  # a page that this installation does not have
            return ""


MAIN = (
    Entry(_("Overview"), "overview", "home", ("=/",)),
    Entry(_("Messages"), "messages", "mail", ("/messages/", "/refusals/", "/statistics/", "/explain/")),
    Entry(_("Non-delivery reports"), "ndr", "return", ("/ndr/", "/suppressions/")),
    Entry(_("Domains"), "domains", "globe", ("/domains/",)),
    Entry(_("Forced TLS"), "tls", "lock", ("/tls/",)),
    Entry(_("Blacklists"), "blacklists", "radar", ("/blacklists/", "/alerts/"), "alerts"),
    Entry(_("SMTP access"), "access", "key", ("/access/", "/setup/", "/api-access/")),
    Entry(_("Support tickets"), "tickets", "ticket", ("/tickets/",), "tickets"),
)

MORE = (
    Entry(_("Settings"), "settings", "gear", ("/settings/", "/team/", "/activity/", "/accounts/")),
    Entry(_("Help"), "help", "help", ("/help/",)),
)

TABS = {
    "messages": (
        Entry(_("All messages"), "messages", covers=("/messages/",)),
        Entry(_("Refused"), "refusals", covers=("/refusals/",)),
        Entry(_("Statistics"), "statistics", covers=("/statistics/",)),
        Entry(_("What would the gateway say?"), "explain", covers=("/explain/",)),
    ),
    "ndr": (
        Entry(_("Reports"), "ndr", covers=("/ndr/",)),
        Entry(_("Blocked recipients"), "suppressions", covers=("/suppressions/",)),
    ),
    "access": (
        Entry(_("SMTP logins"), "access", covers=("/access/",)),
        Entry(_("Set-up"), "setup", covers=("/setup/",)),
        Entry(_("API & webhooks"), "integrations", covers=("/api-access/",)),
    ),
    "blacklists": (
        Entry(_("Blacklists"), "blacklists", covers=("/blacklists/",)),
        Entry(_("Alerts"), "alerts", covers=("/alerts/",)),
    ),
    "support": (
        Entry(_("Desk"), "support", covers=("=/support/",)),
        Entry(_("Requests"), "support_requests_open", covers=("/support/requests/",)),
        Entry(_("Customers"), "support_customers", covers=("/support/customers/",)),
        Entry(_("Message search"), "support_messages", covers=("/support/messages/",)),
        Entry(_("Queue"), "support_queue", covers=("/support/queue/",)),
        Entry(_("Gateways"), "support_gateways", covers=("/support/gateways/",)),
        Entry(_("Backtest"), "support_backtest", covers=("/support/backtest/",)),
        Entry(_("NDR analysis"), "support_ndr", covers=("/support/ndr/",)),
        Entry(_("Complaints"), "support_complaints", covers=("/support/complaints/",)),
        Entry(_("Blacklist runs"), "blacklist_runs", covers=("/support/blacklists/",)),
        Entry(_("System"), "support_system", covers=("/support/system/",)),
    ),
    "settings": (
        Entry(_("Settings"), "settings", covers=("/settings/",)),
        Entry(_("Team"), "team", covers=("/team/",)),
        Entry(_("Activity"), "activity", covers=("/activity/",)),
        Entry(_("Security"), "security", covers=("/accounts/", "/settings/security/")),
    ),
}

STAFF = (
    Entry(_("Support desk"), "support", "desk", ("/support/",)),
    Entry(_("Caught mail"), "mail_catcher", "inbox", ("/caught/",)),
    Entry(_("Administration"), "admin:index", "admin", ("/admin/",)),
)


def links(entries: tuple[Entry, ...], request: HttpRequest) -> list[dict[str, object]]:
    """The entries that exist here, each with whether it is the current one."""
    found = [(entry, entry.url) for entry in entries]
    current = _current([entry for entry, url in found if url], request.path)
    return [
        {
            "label": entry.label,
            "url": url,
            "icon": entry.icon,
            "badge": entry.badge,
            "current": entry is current,
        }
        for entry, url in found
        if url
    ]


def _current(entries: list[Entry], path: str) -> Entry | None:
    """The entry with the longest prefix that covers the path."""
    scored = [(len(prefix), entry) for entry in entries for prefix in entry.covers if _covers(prefix, path)]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def _covers(prefix: str, path: str) -> bool:
    return path == prefix[1:] if prefix.startswith("=") else path.startswith(prefix)
