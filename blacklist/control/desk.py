"""The delisting desk: what support does with a ticket. Every verb leaves a line in the ticket's history."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from blacklist.control import alerts, drafts
from blacklist.control.history import SYSTEM, end_ticket, log, set_state, update_times
from blacklist.models import DelistingTicket, TicketEvent
from blacklist.rules.episodes import AlertKind
from blacklist.rules.requests import may_send
from blacklist.rules.tickets import State


@transaction.atomic
def move(ticket: DelistingTicket, state: State, *, actor: str, text: str = "") -> None:
    """Any move the state machine allows. Raises ValidationError."""
    set_state(ticket, state, actor, text)
    update_times(ticket)


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
            text=gettext_noop("cause confirmed"),
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
        move(ticket, State.INVESTIGATING, actor=SYSTEM, text=gettext_noop("the accepted time is over"))
        count += 1
    return count


@transaction.atomic
def close(ticket: DelistingTicket, *, reason: str, actor: str) -> None:
    """End the work. The listing stays what it is: only the list itself can end that. Raises ValidationError."""
    if not reason.strip():
        raise ValidationError(_("Say why."))
    end_ticket(ticket, State.CLOSED, actor, reason.strip())


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


@transaction.atomic
def ask_customer(ticket: DelistingTicket, *, text: str, actor: str) -> None:
    """A question that the customer reads; the ticket waits for them."""
    comment(ticket, text=text, actor=actor, public=True)
    move(ticket, State.NEEDS_CUSTOMER, actor=actor)


@transaction.atomic
def customer_answers(ticket: DelistingTicket, *, text: str, actor: str) -> None:
    """What the customer writes to their ticket; one that waited for it goes on. Raises ValidationError."""
    comment(ticket, text=text, actor=actor, public=True)
    if ticket.state == State.NEEDS_CUSTOMER:
        move(ticket, State.INVESTIGATING, actor=actor)
