"""A ticket's removal request from what is known: rules.drafts with the facts of the database."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Sum
from django.utils import timezone

from blacklist.models import BlacklistSettings
from blacklist.rules.drafts import CAUSES, Facts, draft_request, missing_facts
from blacklist.rules.requests import RequestClass
from gateway.models import HourlyCount

if TYPE_CHECKING:
    from blacklist.models import DelistingTicket, Listing

VOLUME_HOURS = 6


def refresh(ticket: DelistingTicket) -> None:
    """Write the draft anew. Complete but for what only a person can know."""
    listing, ours = ticket.listing, BlacklistSettings.load()
    provider = listing.provider
    draft = draft_request(facts_of(ticket), provider.request, provider.removal_to, ours.hoster_language)
    ticket.draft_subject, ticket.draft_text = draft.subject[:300], draft.text
    ticket.draft_fields = [list(field) for field in draft.fields]
    where = (
        ours.hoster_mail
        if provider.request is RequestClass.PROVIDER_ONLY and ours.hoster_mail
        else draft.where
    )
    ticket.request_to = where[:500]
    ticket.save(update_fields=["draft_subject", "draft_text", "draft_fields", "request_to"])


def facts_of(ticket: DelistingTicket) -> Facts:
    listing, ours = ticket.listing, BlacklistSettings.load()
    target = listing.target
    before, after = _volume(ticket)
    return Facts(
        list_name=listing.provider.name,
        labels=tuple(map(str, listing.labels)),
        reason=listing.reason,
        target=target.value,
        role=target.role,
        ptr=str(_evidence(ticket, "ptr")),
        helo=target.gateway.hostname if target.gateway else "",
        operator=ours.operator or settings.SMG.hostname,
        contact_mail=contact_mail(),
        phone=ours.phone,
        cause=ticket.cause_text,
        action=ticket.action_text,
        fixed_at=ticket.fixed_at,
        per_hour_before=before,
        per_hour_after=after,
        rejection=_rejection(listing),
        since=listing.first_seen,
    )


def contact_mail() -> str:
    """Who answers: what support set, else the support address."""
    return BlacklistSettings.load().contact_mail or str(settings.SMG.support_email)


def missing(ticket: DelistingTicket) -> tuple[str, ...]:
    return missing_facts(facts_of(ticket))


def cause_sentence(cause: str) -> str:
    return CAUSES.get(cause, "")


def _evidence(ticket: DelistingTicket, name: str) -> object:
    return next((row.get("value", "") for row in ticket.prechecks if row.get("name") == name), "")


def _rejection(listing: Listing) -> str:
    cited = [row for row in listing.impact.get("replies", []) if row["list"] == listing.provider.slug]
    return str(cited[0]["text"]) if cited else ""


def _volume(ticket: DelistingTicket) -> tuple[int | None, int | None]:
    """Messages an hour before and after the fix, of the customers concerned; None while there is no
    fix or no time since."""
    fixed, listing = ticket.fixed_at, ticket.listing
    if fixed is None:
        return None, None
    span = timedelta(hours=VOLUME_HOURS)
    customers = list(listing.target.customers.values_list("pk", flat=True))
    counts = HourlyCount.objects.filter(customer_id__in=customers) if customers else HourlyCount.objects.all()
    before = counts.filter(hour__gte=fixed - span, hour__lt=fixed).aggregate(total=Sum("accepted"))["total"]
    hours_since = (timezone.now() - fixed).total_seconds() / 3600
    if not before or hours_since < 1:
        return None, None
    after = counts.filter(hour__gte=fixed).aggregate(total=Sum("accepted"))["total"] or 0
    return before // VOLUME_HOURS, round(after / hours_since)


def hoster_letter(ticket: DelistingTicket) -> str:
    """For lists that only listen to the owner of the network: a mail to whoever we rent it from."""
    ours = BlacklistSettings.load()
    draft = draft_request(
        facts_of(ticket), RequestClass.PROVIDER_ONLY, ours.hoster_mail, ours.hoster_language
    )
    return f"{ours.hoster_mail}\n\n{draft.text}".strip()
