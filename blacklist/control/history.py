"""A ticket's state, deadline and history: the only code that writes them."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.utils import timezone

from blacklist.control.events import publish
from blacklist.models import DelistingTicket, TicketEvent
from blacklist.rules import tickets as rules
from blacklist.rules.requests import RequestClass, expected_end
from blacklist.rules.tickets import State
from blacklist.rules.types import Severity
from gateway.control.audit import record

SYSTEM = "system"
WAITERS = (RequestClass.WAIT, RequestClass.DO_NOT_FILE)


def update_times(ticket: DelistingTicket) -> None:
    listing = ticket.listing
    if listing.provider.request in WAITERS:
        end = expected_end(listing.provider.auto_expiry, listing.first_seen)
        if end is not None and end < timezone.now():
            end = expected_end(listing.provider.auto_expiry, listing.last_seen)
        ticket.expected_end = end
    ticket.next_action_at = rules.deadline(
        State(ticket.state),
        Severity(listing.severity),
        ticket.opened_at,
        ticket.state_since,
        ticket.expected_end,
    )
    if ticket.state == State.ACCEPTED_RISK:
        ticket.next_action_at = ticket.risk_until
    ticket.save(update_fields=["expected_end", "next_action_at"])


def set_state(ticket: DelistingTicket, new: State, actor: str, text: str = "") -> None:
    old = State(ticket.state)
    try:
        rules.check_move(old, new)
    except rules.TransitionError as error:
        raise ValidationError(str(error), code="transition") from error
    ticket.state, ticket.state_since = new.value, timezone.now()
    ticket.save(update_fields=["state", "state_since", "opened_at", "closed_at", "close_reason"])
    log(ticket, actor, "state", text=text, old=old, new=new, public=True)
    if actor != SYSTEM:
        record(actor, "ticket.move", ticket, detail={"state": [old.value, new.value]})
    _publish_move(ticket)


def _publish_move(ticket: DelistingTicket) -> None:
    target = ticket.listing.target
    payload = {
        "ticket": ticket.pk,
        "state": ticket.state,
        "target": target.value,
        "provider": ticket.listing.provider.slug,
    }
    publish("ticket_moved", payload | {"customers": list(target.customers.values_list("pk", flat=True))})


def end_ticket(ticket: DelistingTicket, state: State, actor: str, why: str) -> None:
    ticket.closed_at, ticket.close_reason, ticket.next_action_at = timezone.now(), why[:300], None
    ticket.save(update_fields=["closed_at", "close_reason", "next_action_at"])
    set_state(ticket, state, actor, why)


def log(
    ticket: DelistingTicket, actor: str, kind: str, *, text: str = "", old: str = "", new: str = "",
    public: bool = False,
    at: datetime | None = None,
) -> TicketEvent:  # fmt: skip
    """One line of the history."""
    return TicketEvent.objects.create(
        ticket=ticket,
        at=at or timezone.now(),
        actor=actor,
        kind=kind,
        old_state=old,
        new_state=new,
        text=text,
        is_public=public,
    )
