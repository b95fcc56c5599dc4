"""What the checks do with tickets: open, reopen, close. Support's part is in control/desk.py."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_noop

from blacklist.control import drafts
from blacklist.control.history import SYSTEM, end_ticket, log, set_state, update_times
from blacklist.models import DelistingTicket, Listing, Provider
from blacklist.rules import tickets as rules
from blacklist.rules.requests import opens_ticket
from blacklist.rules.tickets import ENDED, State
from blacklist.rules.types import Severity


@transaction.atomic
def note_hit(listing: Listing, *, relisted: bool) -> DelistingTicket | None:
    """A hit: a new ticket, an old one open again, or nothing but a new deadline. None when it is no work."""
    ticket = ticket_of(listing)
    if ticket is None:
        return _open(listing)
    state = State(ticket.state)
    if relisted and state in ENDED:
        ticket.opened_at, ticket.closed_at, ticket.close_reason = timezone.now(), None, ""
        ticket.prechecked_at = None  # what was found then says nothing about now
        ticket.save(update_fields=["prechecked_at"])
        set_state(
            ticket,
            State.REOPENED,
            SYSTEM,
            gettext_noop("listed again"),
        )
    elif state is State.DETECTED and listing.is_confirmed:
        set_state(
            ticket, rules.first_state(listing.provider.request), SYSTEM, gettext_noop("the list confirms it")
        )
    elif state is State.DELISTED_PENDING:
        set_state(
            ticket, _state_before(ticket), SYSTEM, gettext_noop("listed again before the second clean answer")
        )
    update_times(ticket)
    return ticket


def ticket_of(listing: Listing) -> DelistingTicket | None:
    return (
        DelistingTicket.objects.filter(listing=listing)
        .select_related("listing__target", "listing__provider")
        .first()
    )


def _open(listing: Listing) -> DelistingTicket | None:
    request = listing.provider.request
    if listing.severity == Severity.INFORMATIONAL or not opens_ticket(request):
        return None
    now = listing.first_seen
    state = rules.first_state(request) if listing.is_confirmed else State.DETECTED
    ticket = DelistingTicket.objects.create(listing=listing, state=state, state_since=now, opened_at=now)
    drafts.refresh(ticket)
    update_times(ticket)
    log(ticket, SYSTEM, "state", new=state, public=listing.is_confirmed, at=now)
    return ticket


def _state_before(ticket: DelistingTicket) -> State:
    last = ticket.events.filter(new_state=State.DELISTED_PENDING).order_by("-id").first()
    before = State(last.old_state) if last and last.old_state else State.INVESTIGATING
    return before if before in rules.MOVES[State.DELISTED_PENDING] else State.INVESTIGATING


def note_clean_once(listing: Listing) -> None:
    """Small lists must be clean in two runs; the ticket shows the first."""
    ticket = ticket_of(listing)
    if ticket is not None and State(ticket.state) not in ENDED | {State.DELISTED_PENDING, State.DETECTED}:
        set_state(
            ticket,
            State.DELISTED_PENDING,
            SYSTEM,
            gettext_noop("not listed any more; asked once more in the next check"),
        )


def note_dropped(listing: Listing) -> None:
    ticket = ticket_of(listing)
    if ticket is not None and ticket.state == State.DETECTED:
        end_ticket(ticket, State.DROPPED, SYSTEM, gettext_noop("the list itself does not list it"))


def note_end(listing: Listing, why: str) -> None:
    ticket = ticket_of(listing)
    if ticket is not None and State(ticket.state) not in ENDED:
        end_ticket(ticket, State.CLOSED, SYSTEM, why)


@transaction.atomic
def invalidate(provider: Provider, *, actor: str, why: str) -> int:
    """The list is dead or false: its open listings mean nothing, and nobody is told 'delisted'.
    Returns how many ended."""
    from blacklist.control import drain

    ended = 0
    for listing in Listing.objects.filter(provider=provider, delisted_at__isnull=True).select_related(
        "target__gateway"
    ):
        listing.delisted_at = timezone.now()
        listing.save(update_fields=["delisted_at"])
        drain.bring_back(listing)
        ticket = ticket_of(listing)
        if ticket is not None and State(ticket.state) not in ENDED:
            end_ticket(ticket, State.LIST_INVALID, actor, why)
        ended += 1
    return ended
