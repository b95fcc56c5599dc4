"""What was changed by whom: the customer's audit log, readable and exportable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.timezone import is_aware, localtime
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext_lazy as _

from gateway.models import AuditEntry
from gateway.rules.behaviour import from_numbers, sentences
from portal.access import access_customer, page
from portal.csv_export import csv_response
from portal.customer.keyset import keyset_page
from portal.words import CHIPS

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
FIELDS: dict[str, str | Promise] = {
    "alert_email": _("alerts go to"), "by": _("proven by"), "events": _("events"), "expires_at": _("valid until"),
    "fingerprint": _("pinned certificate"), "hours": _("hours"), "keep_subjects": _("subjects are kept"),
    "kind": _("kind of record"), "label": _("label"), "language": _("language"), "level": _("level"),
    "may_relay": _("may send without login"), "min_version": _("TLS version at least"), "name": _("name"),
    "ndr_on_refusal": _("report on refused mail"), "networks": _("networks"), "note": _("note"),
    "on_failure": _("if not possible"), "proven": _("was proven"), "rate_limit": _("messages a minute"),
    "reason": _("reason"), "recipient_domain": _("to domain"),
    "retention_days": _("days that mail is kept"), "role": _("role"), "scopes": _("scopes"),
    "selector": _("selector"), "sender_domain": _("from domain"), "senders": _("senders"),
    "shadow": _("only recorded"), "state": _("state"), "topic": _("topic"), "until": _("until"), "url": _("address"),
}  # fmt: skip
VALUES: dict[str, dict[str, str | Promise]] = {
    "kind": {"txt": "TXT", "cname": "CNAME"},
    "by": {"dns": _("the DNS record")},
    "level": {"encrypt": _("encrypted"), "verify": _("encrypted, certificate checked"), "dane": "DANE"},
    "on_failure": {"reject": _("refuse at once"), "hold": _("hold and keep trying")},
    "reason": {
        "abuse": _("unusual traffic"), "unknown_user": _("unknown recipient"), "manual": _("entered by hand"),
    },
    "role": {name: chip.word for name, chip in CHIPS["role"].items()},
    "state": {
        name: chip.word for kind in ("request", "appeal", "dkim") for name, chip in CHIPS[kind].items()
    },
    "": {"True": _("yes"), "False": _("no"), "None": "–"},
}  # fmt: skip


@page("GET")
def activity(request: HttpRequest) -> HttpResponse:
    rows, area = _entries(request)
    found = keyset_page(rows, request.GET.get("before", ""))
    entries = [
        (entry, DID.get(entry.action, entry.action), what(entry), changes(entry)) for entry in found.rows
    ]
    return render(
        request, "customer/activity.html", {"found": found, "entries": entries, "area": area, "areas": AREAS}
    )


@page("GET")
def activity_csv(request: HttpRequest) -> HttpResponseBase:
    rows, _area = _entries(request)
    return csv_response(
        "activity.csv", ["at", "who", "action", "what", "changes"], _csv_rows(rows.iterator())
    )


def what(entry: AuditEntry) -> str:
    """What it was done to; of the queue's verbs how many recipients is known."""
    number = entry.detail.get("recipients")
    if entry.target or not number:
        return entry.target
    return ngettext("%(number)s recipient", "%(number)s recipients", number) % {"number": number}


def changes(entry: AuditEntry) -> list[str]:
    """'field: before → after'; details of another form as they are. The reason of a stopped login is told from its
    numbers, in the reader's language."""
    told = {name: value for name, value in entry.detail.items() if name not in ("signals", "recipients")}
    signals = entry.detail.get("signals")
    reasons = sentences(from_numbers(signals), get_language() or "en") if isinstance(signals, dict) else []
    if reasons:
        told["reason"] = "; ".join(reasons)
    return [_change(name, value) for name, value in told.items() if value != ["", ""]]


def _change(name: str, value: Any) -> str:
    label = FIELDS.get(name, name)
    if isinstance(value, list) and len(value) == 2:
        before, after = value[0], _value(name, value[1])
        return (
            f"{label}: {_value(name, before)} → {after}" if before not in ("", None) else f"{label}: {after}"
        )
    return f"{label}: {_value(name, value)}"


def _value(name: str, value: Any) -> str:
    """A stored value in words; a moment in the reader's zone."""
    text = str(value)
    known = VALUES.get(name, {}).get(text) or VALUES[""].get(text)
    if known is not None:
        return str(known)
    moment = parse_datetime(text) if "T" in text and len(text) < 40 else None
    return f"{localtime(moment):%Y-%m-%d %H:%M %Z}" if moment and is_aware(moment) else text


def _entries(request: HttpRequest) -> tuple[QuerySet[AuditEntry], str]:
    rows = access_customer(request).audit_entries.order_by("-pk")
    area = request.GET.get("area", "")
    return (rows.filter(action__startswith=f"{area}."), area) if area in AREAS else (rows, "")


def _csv_rows(entries: Iterable[AuditEntry]) -> Iterator[list[Any]]:
    for entry in entries:
        yield [entry.at.isoformat(), entry.actor, entry.action, what(entry), "; ".join(changes(entry))]
