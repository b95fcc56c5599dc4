"""What may be done about a listing, by class of list. Nobody is ever told to pay, and no form is
filled by a machine."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import StrEnum

COOL_DOWN = timedelta(days=7)


class RequestClass(StrEnum):
    EMAIL = "email"  # a mail, after a person has confirmed that the cause is fixed
    FORM = "form"  # a person fills in the list's form
    SELF_SERVICE = "self_service"  # a person uses the list's own page
    HOST_OPENS_PAGE = "host_opens_page"  # the page must be opened from the listed address
    WAIT = "wait"  # ends by itself
    DO_NOT_FILE = "do_not_file"  # ends by itself, and the operator asks not to write
    PROVIDER_ONLY = "provider_only"  # only the owner of the network can ask
    TELL_RECEIVER = "tell_receiver"  # the list is dead: the receiver's set-up is outdated
    NONE = "none"


def request_class(policy: str, removal_method: str = "") -> RequestClass:
    """The class of a `request_policy` cell; without one, of the removal method."""
    text = policy.lower()
    for word, found in _BY_POLICY:
        if word in text:
            return found
    return _BY_METHOD.get(removal_method, RequestClass.NONE)


# In this order: 'wait; do not file' before 'wait', 'wait or person-fills-form' counts as wait.
_BY_POLICY = (
    ("tell the receiver", RequestClass.TELL_RECEIVER),
    ("do not file", RequestClass.DO_NOT_FILE),
    ("cannot be requested", RequestClass.DO_NOT_FILE),
    ("wait", RequestClass.WAIT),
    ("provider-only", RequestClass.PROVIDER_ONLY),
    ("host-itself-opens-page", RequestClass.HOST_OPENS_PAGE),
    ("person-uses-self-service", RequestClass.SELF_SERVICE),
    ("person-fills-form", RequestClass.FORM),
    ("e-mail", RequestClass.EMAIL),
)
_BY_METHOD = {
    "email": RequestClass.EMAIL,
    "form": RequestClass.FORM,
    "self-service": RequestClass.SELF_SERVICE,
    "automatic-expiry": RequestClass.WAIT,
    "contact-isp": RequestClass.PROVIDER_ONLY,
}


def opens_ticket(request: RequestClass) -> bool:
    """Lists that only the network's owner can change, and dead ones, are no work for support."""
    return request not in (RequestClass.PROVIDER_ONLY, RequestClass.TELL_RECEIVER)


MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
URL = re.compile(r"https?://[^\s;,()<>]+")


def mail_address(removal_to: str) -> str:
    """The address that takes requests, or ''."""
    found = MAIL.search(removal_to)
    return found[0] if found else ""


def page_address(removal_to: str) -> str:
    """The page where a request is made, or ''."""
    found = URL.search(removal_to)
    return found[0] if found else ""


def may_send(request: RequestClass, address: str, last_request: datetime | None, now: datetime) -> str:
    """'' when a request may be mailed now, else the sentence that says why not."""
    if request is not RequestClass.EMAIL:
        return "This list takes no requests by e-mail."
    if not address:
        return "The address for requests is not known; look it up and mark the request as submitted."
    if last_request is not None and now - last_request < COOL_DOWN:
        until = last_request + COOL_DOWN
        went = f"A request went to this operator on {last_request:%Y-%m-%d}"
        return f"{went}; the next may go on {until:%Y-%m-%d %H:%M} UTC."
    return ""


EXPIRY = re.compile(r"(?:\d+\s*-\s*)?(?P<high>\d+)\s*(?P<unit>hour|day|week)s?")
UNITS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
WORDS = {"four weeks": timedelta(weeks=4), "a couple of days": timedelta(days=3)}


def expected_end(auto_expiry: str, last_seen: datetime) -> datetime | None:
    """When an entry should end by itself, counted from the last time something new was seen; None when nobody says."""
    text = auto_expiry.lower()
    for words, span in WORDS.items():
        if words in text:
            return last_seen + span
    found = EXPIRY.search(text)
    return last_seen + int(found["high"]) * UNITS[found["unit"]] if found else None
