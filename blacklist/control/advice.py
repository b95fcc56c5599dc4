"""What a listing means for people, in plain words: for the customer's mail and for the listing's page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils import timezone
from django.utils.translation import gettext as _

from blacklist.rules.requests import RequestClass
from blacklist.rules.severity import INFECTED
from blacklist.rules.tickets import State
from blacklist.rules.types import Severity

if TYPE_CHECKING:
    from blacklist.models import Listing

PERSON = frozenset(
    {RequestClass.FORM, RequestClass.SELF_SERVICE, RequestClass.HOST_OPENS_PAGE, RequestClass.EMAIL}
)


@dataclass(frozen=True, slots=True)
class Advice:
    """Sentences in the active language. Only what is true: nothing was requested or taken out of use unless it was."""

    meaning: str
    we: str
    you: str
    end: str
    mail: str


def advice_for(listing: Listing) -> Advice:
    """What this listing means, by role of the target, class of the list and state of the ticket."""
    return Advice(_meaning(listing), _we(listing), _you(listing), _end(listing), _mail(listing))


def _is_infection(listing: Listing) -> bool:
    return listing.target.role == "customer_ip" and any(
        INFECTED.search(str(label)) for label in listing.labels
    )


def _meaning(listing: Listing) -> str:
    if listing.severity == Severity.INFORMATIONAL:
        if listing.provider.request is RequestClass.PROVIDER_ONLY:
            return _("This list blocks whole providers, not you. Nothing to do.")
        return _("This entry is for information only; it hardly affects delivery.")
    if listing.target.role == "gateway":
        return _("One of our sending addresses is on a blocklist. Nothing is wrong on your side.")
    if _is_infection(listing):
        return _("The list reports malware-like traffic from your network.")
    return _("Some receivers may refuse your mail or sort it out as spam.")


def _we(listing: Listing) -> str:
    if listing.severity == Severity.INFORMATIONAL:
        return _("We keep watching it.")
    parts = []
    if listing.target.role == "gateway" and listing.drained_gateway:
        parts.append(_("We have taken the address out of use."))
    parts.append(_our_step(listing))
    return " ".join(parts)


def _our_step(listing: Listing) -> str:
    ticket = getattr(listing, "ticket", None)
    state = ticket.state if ticket else ""
    if state == State.REQUESTED:
        return _("We have asked the operator of the list for removal.")
    if state in (State.WAITING_EXPIRY, State.WAITING_PROVIDER):
        return _("The entry ends by itself; we keep watching it and look for the cause.")
    if state == State.NEEDS_CUSTOMER:
        return _("We wait for your answer before we can ask for removal.")
    return _(
        "We look for the cause and have prepared the request for removal; it is sent when the cause is fixed."
    )


def _you(listing: Listing) -> str:
    if listing.severity == Severity.INFORMATIONAL or listing.target.role == "gateway":
        return _("Nothing.")
    if _is_infection(listing):
        return _(
            "Please check computers and routers behind %(ip)s. Mail sent through us does not come from this "
            "address, but the finding needs attention."
        ) % {"ip": listing.target.value}
    if listing.target.role == "domain":
        return _(
            "Please check your web site, mailboxes and mailings for misuse, and tell us what you found and fixed."
        )
    return _("Please check what is sent from this address, and tell us what you found and fixed.")


def _end(listing: Listing) -> str:
    ticket = getattr(listing, "ticket", None)
    if ticket is not None and ticket.expected_end is not None:
        return timezone.localtime(ticket.expected_end).strftime("%Y-%m-%d")
    if listing.provider.request in PERSON:
        return _("after the removal request, usually within a few days")
    return _("not known")


def _mail(listing: Listing) -> str:
    if listing.severity == Severity.INFORMATIONAL:
        return _("is not affected")
    if listing.target.role == "gateway":
        gateway = listing.target.gateway
        if gateway is not None and gateway.drained_at:
            return _("is sent over other addresses")
        return _("may be refused by some receivers when it leaves by this address; we then try another one")
    if listing.target.role == "customer_ip":
        return _("leaves by our addresses, not by this one")
    return _("may be refused by receivers that ask this list")
