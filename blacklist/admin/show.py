"""Small tables on admin pages. Every cell may be a stranger's text: all of it is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from blacklist.models import DelistingTicket, Listing


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> SafeString:
    """A plain table, or a dash when there is nothing in it."""
    body = format_html_join(
        "", "<tr>{}</tr>", ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows)
    )
    if not body:
        return SafeString("–")
    head = format_html_join("", '<th scope="col">{}</th>', ((text,) for text in heads))
    return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body)


def history(ticket: DelistingTicket) -> SafeString:
    """Everything that happened to a ticket, newest last."""
    rows = [
        (
            f"{timezone.localtime(event.at):%Y-%m-%d %H:%M:%S}",
            event.actor,
            f"{event.kind} {event.old_state}→{event.new_state}" if event.new_state else event.kind,
            event.text,
            _("support and customer") if event.is_public else _("support"),
        )
        for event in ticket.events.all()
    ]
    return table([_("time"), _("who"), _("what"), _("text"), _("seen by")], rows)


def prechecks(ticket: DelistingTicket) -> SafeString:
    words = {True: "✓ " + _("in order"), False: "✗ " + _("not in order"), None: "? " + _("look yourself")}
    rows = [(words[row.get("ok")], row.get("text", "")) for row in ticket.prechecks]
    return table([_("result"), _("check")], rows)


def paste(ticket: DelistingTicket) -> SafeString:
    return table([_("field"), _("text to paste")], ticket.draft_fields)


def impact(listing: Listing) -> SafeString:
    """Whose mail went through a listed gateway, and who refuses it because of the list."""
    found = listing.impact
    if not found:
        return SafeString("–")
    customers = table(
        [_("customer"), _("recipients"), _("suspect or spam")],
        [(row["name"], row["recipients"], row["spam"]) for row in found["customers"]],
    )
    replies = table(
        [_("list"), _("destination"), _("times"), _("reply")],
        [(row["list"], row["destination"], row["count"], row["text"]) for row in found["replies"]],
    )
    return format_html("{}<br>{}", customers, replies)
