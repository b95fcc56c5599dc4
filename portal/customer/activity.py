"""What was changed by whom: the customer's audit log, readable and exportable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from gateway.models import AuditEntry
from portal.access import access_customer, page
from portal.csv_export import csv_response
from portal.customer.keyset import keyset_page

AREAS: dict[str, str | Promise] = {
    "customer": _("Settings"), "domain": _("Domains"), "dkim": _("DKIM"), "credential": _("SMTP logins"),
    "tls_rule": _("Forced TLS"), "team": _("Team"), "queue": _("Messages"), "suppression": _("Blocked recipients"),
    "appeal": _("Appeals"), "network": _("Networks"), "support": _("Support"), "token": _("API tokens"),
    "webhook": _("Webhooks"), "request": _("Support requests"), "content": _("Consent"), "ticket": _("Tickets"),
    "blacklist": _("Blacklists"),
}  # fmt: skip
DID: dict[str, str | Promise] = {
    "customer.create": _("set up the customer"), "customer.change": _("changed the settings"),
    "customer.suspend": _("suspended sending"), "customer.resume": _("let sending go on"),
    "domain.add": _("added a domain"), "domain.remove": _("removed a domain"), "domain.verify": _("domain proven"),
    "domain.unverify": _("domain no longer proven"),
    "dkim.request": _("requested a DKIM key"), "dkim.approve": _("made a DKIM key"),
    "dkim.decline": _("declined a DKIM request"),
    "dkim.activate": _("DKIM key switched on"), "dkim.revoke": _("ended a DKIM key"),
    "credential.create": _("created an SMTP login"), "credential.change": _("changed an SMTP login"),
    "credential.rotate": _("made a new secret"), "credential.revoke": _("revoked an SMTP login"),
    "credential.fuse": _("login stopped by the abuse fuse"), "credential.release": _("let a login send again"),
    "tls_rule.add": _("added a forced TLS rule"), "tls_rule.change": _("changed a forced TLS rule"),
    "tls_rule.remove": _("removed a forced TLS rule"),
    "team.invite": _("invited somebody"), "team.join": _("joined the team"),
    "team.withdraw": _("withdrew an invitation"),
    "team.role": _("changed a role"), "team.remove": _("removed a member"),
    "queue.hold": _("held messages"), "queue.release": _("released messages"), "queue.retry": _("retried messages"),
    "queue.cancel": _("cancelled messages"),
    "suppression.add": _("blocked a recipient"), "suppression.remove": _("allowed a recipient again"),
    "appeal.ask": _("appealed a spam verdict"), "network.add": _("added a network"),
    "network.remove": _("removed a network"),
    "appeal.accepted": _("accepted an appeal"), "appeal.declined": _("declined an appeal"),
    "appeal.undone": _("took the answer to an appeal back"), "spam_exception.end": _("ended a spam exception"),
    "request.create": _("asked support"), "request.reply": _("replied to a request"),
    "request.close": _("closed a request"), "content.grant": _("allowed support to look"),
    "content.revoke": _("took the leave to look back"), "content.break_glass": _("support took a look without leave"),
    "token.create": _("made an API token"), "token.revoke": _("revoked an API token"),
    "webhook.create": _("added a webhook"), "webhook.change": _("changed a webhook"),
    "webhook.remove": _("removed a webhook"), "webhook.rotate": _("made a new webhook secret"),
    "webhook.enable": _("switched a webhook on"), "webhook.disable": _("webhook switched off"),
    "webhook.test": _("tested a webhook"), "webhook.send_again": _("sent an event again"),
    "blacklist.alert": _("acknowledged an alert"), "blacklist.mute": _("muted a blacklist"),
    "blacklist.unmute": _("unmuted a blacklist"), "ticket.move": _("moved a delisting ticket on"),
    "support.open": _("support opened your pages"),
}  # fmt: skip


@page("GET")
def activity(request: HttpRequest) -> HttpResponse:
    rows, area = _entries(request)
    found = keyset_page(rows, request.GET.get("before", ""))
    entries = [(entry, DID.get(entry.action, entry.action), changes(entry)) for entry in found.rows]
    return render(
        request, "customer/activity.html", {"found": found, "entries": entries, "area": area, "areas": AREAS}
    )


@page("GET")
def activity_csv(request: HttpRequest) -> HttpResponseBase:
    rows, _area = _entries(request)
    return csv_response(
        "activity.csv", ["at", "who", "action", "what", "changes"], _csv_rows(rows.iterator())
    )


def changes(entry: AuditEntry) -> list[str]:
    """'field: before → after'; details of another form as they are. The numbers behind a stopped login stand in its
    reason, in words."""
    return [_change(name, value) for name, value in entry.detail.items() if name != "signals"]


def _change(name: str, value: Any) -> str:
    if isinstance(value, list) and len(value) == 2:
        before, after = value
        return f"{name}: {before} → {after}" if before not in ("", None) else f"{name}: {after}"
    return f"{name}: {value}"


def _entries(request: HttpRequest) -> tuple[QuerySet[AuditEntry], str]:
    rows = access_customer(request).audit_entries.order_by("-pk")
    area = request.GET.get("area", "")
    return (rows.filter(action__startswith=f"{area}."), area) if area in AREAS else (rows, "")


def _csv_rows(entries: Iterable[AuditEntry]) -> Iterator[list[Any]]:
    for entry in entries:
        yield [entry.at.isoformat(), entry.actor, entry.action, entry.target, "; ".join(changes(entry))]
