"""Mails about listings in words: for the customer in their language, for support with everything that helps.

Texts of lists and receivers are strangers' texts: they are quoted, cut, and never change a header.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from blacklist.control.advice import Advice, advice_for
from blacklist.rules.episodes import AlertKind
from blacklist.rules.types import Severity

if TYPE_CHECKING:
    from blacklist.models import Alert, CheckRun, Listing
    from gateway.models import Customer

SUPPORT_LANGUAGE = "en"


@dataclass(frozen=True, slots=True)
class Letter:
    subject: str
    text: str


def for_customer(customer: Customer, alerts: Sequence[Alert]) -> Letter:
    """One mail about one or more alerts, in the customer's language and time zone."""
    zone = _zone(customer.time_zone)
    with translation.override(customer.language), timezone.override(zone):
        blocks = [_customer_block(alert) for alert in alerts]
        footer = _("All details: %(url)s") % {"url": f"{settings.SMG.public_url}/blacklists/"}
        return Letter(_one_line(_customer_subject(alerts)), "\n\n".join([*blocks, footer]) + "\n")


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        return zoneinfo.ZoneInfo("UTC")


def _customer_subject(alerts: Sequence[Alert]) -> str:
    worst = max(alerts, key=lambda alert: Severity(alert.severity).rank)
    listing = worst.listing
    names = {"target": listing.target.value, "list": listing.provider.name, "count": len(alerts)}
    if all(alert.kind == AlertKind.DELISTED for alert in alerts):
        return _("Solved: %(target)s is no longer on the blocklist %(list)s") % names
    if len(alerts) > 1 and len({alert.listing.target_id for alert in alerts}) > 1:
        return _("Mail delivery may be affected: %(count)d findings on blocklists") % names
    if listing.target.gateway_id:
        return _("One of our sending addresses is on the blocklist %(list)s") % names
    return _("Mail delivery may be affected: %(target)s is on the blocklist %(list)s") % names


def _customer_block(alert: Alert) -> str:
    listing = alert.listing
    if alert.kind == AlertKind.DELISTED:
        return _("Solved: %(target)s has not been on %(list)s since %(time)s (duration: %(duration)s).") % {
            "target": listing.target.value, "list": listing.provider.name, "time": _time(alert.at),
            "duration": _duration(alert.at, listing.first_seen),
        }  # fmt: skip
    return _listed_block(alert, advice_for(listing))


def _listed_block(alert: Alert, advice: Advice) -> str:
    listing = alert.listing
    lines = [
        _headline(alert),
        _("We noticed it at %(time)s.") % {"time": _time(listing.first_seen)},
        advice.meaning,
        _("Reason given by the list: %(reason)s") % {"reason": _reason(listing)},
        _("What we do: %(text)s") % {"text": advice.we},
        _("What you should do: %(text)s") % {"text": advice.you},
        _("Expected end: %(text)s") % {"text": advice.end},
        _("Your mail: %(text)s") % {"text": advice.mail},
    ]
    return "\n".join(line for line in lines if line)


HEADLINES = {
    AlertKind.LISTED: lambda: _("%(target)s is on the blocklist %(list)s."),
    AlertKind.RELISTED: lambda: _(
        "%(target)s is on the blocklist %(list)s again (%(count)d times now). The cause seems to persist."
    ),
    AlertKind.WORSE: lambda: _("The listing of %(target)s on %(list)s got worse: it is %(severity)s now."),
    AlertKind.NEW_CODE: lambda: _("%(target)s is on the blocklist %(list)s for another reason, too."),
    AlertKind.STILL_LISTED: lambda: _("%(target)s is still on the blocklist %(list)s."),
    AlertKind.REJECTED: lambda: _("The operator of %(list)s refused to remove %(target)s."),
}


def _headline(alert: Alert) -> str:
    listing = alert.listing
    return HEADLINES[AlertKind(alert.kind)]() % {
        "target": listing.target.value, "list": listing.provider.name, "count": listing.times_listed,
        "severity": severity_word(alert.severity),
    }  # fmt: skip


def severity_word(severity: str) -> str:
    """The word in the active language."""
    return {
        "critical": _("critical"), "major": _("major"), "minor": _("minor"), "informational": _("informational")
    }.get(severity, severity)  # fmt: skip


def _reason(listing: Listing) -> str:
    parts = [", ".join(map(str, listing.labels)), _one_line(listing.reason)]
    return " – ".join(part for part in parts if part) or _("none")


def _time(at: datetime) -> str:
    return timezone.localtime(at).strftime("%Y-%m-%d %H:%M %Z")


def _duration(end: datetime, begin: datetime) -> str:
    hours = max(1, round((end - begin).total_seconds() / 3600))
    days, rest = divmod(hours, 24)
    if days:
        return _("%(days)d days %(hours)d h") % {"days": days, "hours": rest}
    return _("%(hours)d h") % {"hours": rest}


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


# ------------------------------------------------------------------------------------------------- support


def for_support(alerts: Sequence[Alert]) -> Letter:
    """One mail for the desk: what, how bad, whose mail it hit, what the system did, where the ticket is."""
    with translation.override(SUPPORT_LANGUAGE), timezone.override(zoneinfo.ZoneInfo("UTC")):
        first = max(alerts, key=lambda alert: Severity(alert.severity).rank)
        more = f" and {len(alerts) - 1} more" if len(alerts) > 1 else ""
        what = f"{first.listing.target.value} {first.kind.replace('_', ' ')}: {first.listing.provider.slug}{more}"
        return Letter(
            _one_line(f"[{first.severity}] {what}"), "\n\n".join(map(_support_block, alerts)) + "\n"
        )


def _support_block(alert: Alert) -> str:
    listing = alert.listing
    ticket = getattr(listing, "ticket", None)
    what = f"{listing.target.value} ({listing.target.role}{_gateway_name(listing)})"
    since = f"listed since {_time(listing.first_seen)}, {listing.times_listed} time(s)"
    lines = [
        f"{what} on {listing.provider.name} [{alert.severity}]",
        f"News: {alert.kind}, {_time(alert.at)}; {since}",
        f"Answer: {', '.join(map(str, listing.raw)) or '-'}  {', '.join(map(str, listing.labels))}",
        f"Reason: {_one_line(listing.reason) or '-'}",
        *_drain_line(listing),
        *_impact_lines(listing),
    ]
    if ticket is not None:
        lines.append(f"Ticket #{ticket.pk} ({ticket.state}), deadline {_deadline(ticket.next_action_at)}")
        lines.append(f"{settings.SMG.public_url}/admin/blacklist/delistingticket/{ticket.pk}/change/")
    return "\n".join(lines)


def _gateway_name(listing: Listing) -> str:
    return f", {listing.target.gateway.name}" if listing.target.gateway else ""


def _deadline(at: datetime | None) -> str:
    return _time(at) if at else "none"


def _drain_line(listing: Listing) -> list[str]:
    gateway = listing.target.gateway
    if gateway is None or listing.severity != Severity.CRITICAL:
        return []
    if listing.drained_gateway:
        return [f"Gateway {gateway.name} was taken out of use; it comes back when the listing ends."]
    if gateway.drained_at:
        return [f"Gateway {gateway.name} is out of use: {gateway.drained_reason}"]
    return [f"Gateway {gateway.name} still sends (no other one is left in its pool, or the setting is off)."]


def _impact_lines(listing: Listing) -> list[str]:
    impact = listing.impact
    if not impact:
        return []
    lines = [
        f"Mail through it in 24 h: {impact['total']} recipients, {impact['spam']} of them suspect or spam"
    ]
    lines += [
        f"  {row['name']}: {row['recipients']} recipients, {row['spam']} suspect or spam"
        for row in impact["customers"]
    ]
    cited = [row for row in impact["replies"] if row["list"] == listing.provider.slug]
    lines += [
        f"  refused by {row['destination'] or 'unknown'} {row['count']} times: {_one_line(row['text'])}"
        for row in cited
    ]
    if not cited:
        lines.append("  no receiver cites this list so far")
    return lines


def about_health(run: CheckRun) -> Letter:
    """Lists without a result, and what that says about the resolver. Nobody is listed, nobody is clean
    because of it."""
    lines = [str(finding["text"]) for finding in run.findings]
    text = "These lists gave no result in this run. What they said before stays as it was.\n\n" + "\n".join(
        f"- {line}" for line in lines
    )
    return Letter("Blocklist check: lists without a result", text + "\n")
