"""The delisting desk: what the system and support do with a ticket. Every change leaves a line in its history."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from blacklist.control import alerts, drafts
from blacklist.control.events import publish
from blacklist.models import DelistingTicket, Listing, Provider, TicketEvent
from blacklist.rules import tickets as rules
from blacklist.rules.episodes import AlertKind
from blacklist.rules.requests import RequestClass, expected_end, may_send, opens_ticket
from blacklist.rules.tickets import ENDED, State
from blacklist.rules.types import Severity
from gateway.control.audit import record

SYSTEM = "system"
WAITERS = (RequestClass.WAIT, RequestClass.DO_NOT_FILE)


# ------------------------------------------------------------------------------------------- what the checks cause


@transaction.atomic
def note_hit(listing: Listing, *, relisted: bool) -> DelistingTicket | None:
    """A hit: a new ticket, an old one open again, or nothing but a new deadline. None when it is no work."""
    ticket = ticket_of(listing)
    if ticket is None:
        return _open(listing)
    state = State(ticket.state)
    if relisted and state in ENDED:
        ticket.opened_at, ticket.closed_at, ticket.close_reason = timezone.now(), None, ""
        _set_state(
            ticket,
            State.REOPENED,
            SYSTEM,
            _("listed again, %(count)d times now") % {"count": listing.times_listed},
        )
    elif state is State.DETECTED and listing.is_confirmed:
        _set_state(ticket, rules.first_state(listing.provider.request), SYSTEM, _("the list confirms it"))
    elif state is State.DELISTED_PENDING:
        _set_state(ticket, _state_before(ticket), SYSTEM, _("listed again before the second clean answer"))
    _update_times(ticket)
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
    _update_times(ticket)
    log(ticket, SYSTEM, "state", new=state, public=listing.is_confirmed, at=now)
    return ticket


def _update_times(ticket: DelistingTicket) -> None:
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


def _state_before(ticket: DelistingTicket) -> State:
    last = ticket.events.filter(new_state=State.DELISTED_PENDING).order_by("-id").first()
    before = State(last.old_state) if last and last.old_state else State.INVESTIGATING
    return before if before in rules.MOVES[State.DELISTED_PENDING] else State.INVESTIGATING


def note_clean_once(listing: Listing) -> None:
    """Small lists must be clean in two runs; the ticket shows the first."""
    ticket = ticket_of(listing)
    if ticket is not None and State(ticket.state) not in ENDED | {State.DELISTED_PENDING, State.DETECTED}:
        _set_state(
            ticket,
            State.DELISTED_PENDING,
            SYSTEM,
            _("not listed any more; asked once more in the next check"),
        )


def note_dropped(listing: Listing) -> None:
    ticket = ticket_of(listing)
    if ticket is not None and ticket.state == State.DETECTED:
        _end(ticket, State.DROPPED, SYSTEM, _("the list itself does not list it"))


def note_end(listing: Listing, why: str) -> None:
    ticket = ticket_of(listing)
    if ticket is not None and State(ticket.state) not in ENDED:
        _end(ticket, State.CLOSED, SYSTEM, why)


@transaction.atomic
def invalidate(provider: Provider, *, actor: str, why: str) -> int:
    """The list is dead or false: its open listings mean nothing, and nobody is told 'delisted'. Returns how many ended."""
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
            _end(ticket, State.LIST_INVALID, actor, why)
        ended += 1
    return ended


# ------------------------------------------------------------------------------------------- what support does


@transaction.atomic
def move(ticket: DelistingTicket, state: State, *, actor: str, text: str = "") -> None:
    """Any move the state machine allows. Raises ValidationError."""
    _set_state(ticket, state, actor, text)
    _update_times(ticket)


@transaction.atomic
def confirm_cause(
    ticket: DelistingTicket,
    *,
    cause: str,
    cause_text: str,
    action_text: str,
    fixed_at: datetime | None,
    actor: str,
) -> None:
    """Support knows what it was and that it is over: the draft is complete, the request may go out."""
    if cause not in DelistingTicket.Cause.values or not action_text.strip():
        raise ValidationError(_("Say what the cause was and what was done about it."))
    ticket.cause, ticket.cause_text = cause, cause_text.strip()[:500] or drafts.cause_sentence(cause)
    ticket.action_text, ticket.fixed_at = action_text.strip()[:500], fixed_at or timezone.now()
    if not ticket.cause_text:
        raise ValidationError(_("Say in one sentence what the cause was."))
    ticket.save(update_fields=["cause", "cause_text", "action_text", "fixed_at"])
    drafts.refresh(ticket)
    if ticket.state != State.READY:
        move(
            ticket,
            State.READY,
            actor=actor,
            text=_("cause confirmed: %(cause)s") % {"cause": ticket.get_cause_display()},
        )


@transaction.atomic
def send_request(ticket: DelistingTicket, *, actor: str) -> None:
    """Mail the draft to the list's operator. Raises ValidationError: no mail taken here, cause not confirmed, or the
    last request was less than seven days ago."""
    why_not = why_not_send(ticket)
    if why_not:
        raise ValidationError(why_not)
    mail = EmailMessage(
        ticket.draft_subject, ticket.draft_text, to=[ticket.request_to], bcc=[], reply_to=[drafts.contact_mail()],
        headers={"X-Ticket": str(ticket.pk)},
    )  # fmt: skip
    mail.send()
    _requested(ticket, actor, "e-mail", ticket.request_to, timezone.now())


def why_not_send(ticket: DelistingTicket) -> str:
    """'' when the request may be mailed with one click, else the reason."""
    if ticket.state != State.READY:
        return _("Confirm the cause and what was done about it first.")
    missing = drafts.missing(ticket)
    if missing:
        return _("The draft is not complete: %(what)s.") % {"what": ", ".join(missing)}
    listing = ticket.listing
    return may_send(listing.provider.request, ticket.request_to, _last_request(ticket), timezone.now())


def _last_request(ticket: DelistingTicket) -> datetime | None:
    """The last request about this target to the same operator, whichever of its lists it was for."""
    family = ticket.listing.provider.slug.split("-")[0]
    asked = DelistingTicket.objects.filter(
        listing__target=ticket.listing.target,
        listing__provider__slug__startswith=family,
        requested_at__isnull=False,
    )
    newest = asked.order_by("-requested_at").first()
    return newest.requested_at if newest else None


@transaction.atomic
def mark_submitted(
    ticket: DelistingTicket, *, reference: str, actor: str, at: datetime | None = None, via: str = "form"
) -> None:
    """A person filled in the list's form or used its page."""
    if ticket.state not in (State.READY, State.WAITING_PROVIDER):
        move(ticket, State.READY, actor=actor)
    _requested(ticket, actor, via, reference, at or timezone.now())


def _requested(ticket: DelistingTicket, actor: str, via: str, reference: str, at: datetime) -> None:
    ticket.requested_at, ticket.requested_by, ticket.request_via = at, actor, via
    ticket.request_ref = reference[:200]
    ticket.save(update_fields=["requested_at", "requested_by", "request_via", "request_ref"])
    log(ticket, actor, "request", text=f"{via}: {reference}")
    move(ticket, State.REQUESTED, actor=actor)


@transaction.atomic
def mark_rejected(ticket: DelistingTicket, *, answer: str, actor: str) -> None:
    """The operator said no: everybody concerned is told, and the search begins again."""
    move(ticket, State.REJECTED, actor=actor, text=answer)
    if ticket.listing.is_open:
        alerts.raise_alert(ticket.listing, AlertKind.REJECTED, timezone.now())


@transaction.atomic
def accept_risk(ticket: DelistingTicket, *, until: datetime, reason: str, actor: str) -> None:
    """Leave it alone until a date, with a reason. Raises ValidationError."""
    if until <= timezone.now():
        raise ValidationError(_("The date must lie in the future."))
    if not reason.strip():
        raise ValidationError(_("Say why."))
    ticket.risk_until = until
    ticket.save(update_fields=["risk_until"])
    move(ticket, State.ACCEPTED_RISK, actor=actor, text=reason.strip())


def end_accepted_risks() -> int:
    """Back to work when the date is over. Returns how many."""
    due = DelistingTicket.objects.filter(state=State.ACCEPTED_RISK, risk_until__lte=timezone.now())
    count = 0
    for ticket in due.select_related("listing__provider"):
        move(ticket, State.INVESTIGATING, actor=SYSTEM, text=_("the accepted time is over"))
        count += 1
    return count


@transaction.atomic
def close(ticket: DelistingTicket, *, reason: str, actor: str) -> None:
    """End the work. The listing stays what it is: only the list itself can end that. Raises ValidationError."""
    if not reason.strip():
        raise ValidationError(_("Say why."))
    _end(ticket, State.CLOSED, actor, reason.strip())


@transaction.atomic
def comment(ticket: DelistingTicket, *, text: str, actor: str, public: bool) -> TicketEvent:
    """A line of the history; `public` ones are shown to the customer."""
    if not text.strip():
        raise ValidationError(_("The comment is empty."))
    return log(ticket, actor, "comment", text=text.strip()[:5000], public=public)


@transaction.atomic
def assign(ticket: DelistingTicket, *, actor: str) -> None:
    """Take it; an open ticket is being investigated from now on."""
    ticket.assigned_to = actor
    ticket.save(update_fields=["assigned_to"])
    if ticket.state in (State.OPEN, State.REOPENED):
        move(ticket, State.INVESTIGATING, actor=actor)


def recheck(ticket: DelistingTicket, *, actor: str) -> None:
    """Ask the list now, in the background (it takes a minute or two: the answer is asked twice)."""
    from django_q.tasks import async_task

    pair = [ticket.listing.target_id, ticket.listing.provider_id]
    log(ticket, actor, "recheck")
    async_task("blacklist.control.schedules.recheck_pairs", [pair], actor)


# ------------------------------------------------------------------------------------------- writing


def _set_state(ticket: DelistingTicket, new: State, actor: str, text: str = "") -> None:
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
    publish("ticket_moved", {"ticket": ticket.pk, "state": new.value, "target": ticket.listing.target.value,
                             "provider": ticket.listing.provider.slug,
                             "customers": list(ticket.listing.target.customers.values_list("pk", flat=True))})  # fmt: skip


def _end(ticket: DelistingTicket, state: State, actor: str, why: str) -> None:
    ticket.closed_at, ticket.close_reason, ticket.next_action_at = timezone.now(), why[:300], None
    ticket.save(update_fields=["closed_at", "close_reason", "next_action_at"])
    _set_state(ticket, state, actor, why)


def log(
    ticket: DelistingTicket, actor: str, kind: str, *, text: str = "", old: str = "", new: str = "", public: bool = False,
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
