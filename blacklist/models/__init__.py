"""Everything about reputation: which lists are asked about which targets, what they said, and what is done about it."""

from blacklist.models.listings import Alert, Incident, Listing, Mute
from blacklist.models.providers import Provider
from blacklist.models.runs import CheckRun, Result, RunLease
from blacklist.models.settings import BlacklistSettings
from blacklist.models.targets import Target
from blacklist.models.tickets import DelistingTicket, TicketEvent

__all__ = [
    "Alert",
    "BlacklistSettings",
    "CheckRun",
    "DelistingTicket",
    "Incident",
    "Listing",
    "Mute",
    "Provider",
    "Result",
    "RunLease",
    "Target",
    "TicketEvent",
]
