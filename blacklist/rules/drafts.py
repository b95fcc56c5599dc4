"""The removal request in words: complete at once, except for what only a person can know (marked with [ ]).

Short on purpose: which listing, which address, what happened, what was done and when, who we are. No threats, no
company history, no 'please whitelist us', no personal data, nothing about paying.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from blacklist.rules.requests import RequestClass, mail_address, page_address

MULTIRBL = "https://multirbl.valli.org/lookup/{target}.html"
MISSING = "[please complete: {what}]"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when the draft is made. `cause`, `action` and `fixed_at` come from support."""

    list_name: str
    labels: tuple[str, ...]
    reason: str  # the list's own TXT
    target: str
    role: str
    ptr: str = ""
    helo: str = ""
    operator: str = ""
    contact_mail: str = ""
    phone: str = ""
    cause: str = ""
    action: str = ""
    fixed_at: datetime | None = None
    per_hour_before: int | None = None
    per_hour_after: int | None = None
    rejection: str = ""  # a remote reply that cites the list
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """`where` is a mail address or a page; `fields` are (label, value) to paste into a form, in order."""

    subject: str
    text: str
    where: str
    fields: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]


PREVENTION = (
    "every message is scanned for viruses and spam before it leaves, senders are authenticated and limited to "
    "their own domains, suspected spam leaves by separate addresses, and accounts with unusual volume are stopped"
)
CAUSES: Mapping[str, str] = {
    "compromised": "A customer's account was taken over and sent unwanted mail",
    "website": "A customer's hacked web site sent unwanted mail",
    "newsletter": "A customer sent a mailing to recipients who had not asked for it",
    "backscatter": "Bounces or automatic replies went to forged senders",
    "rdns": "The reverse DNS of the address was missing or generic",
    "neighbour": "The listing was caused by other addresses of the network",
    "infection": "A computer behind the address was infected",
    "unknown": "",
}
GERMAN_HOSTER = (
    "Guten Tag,\n\nunsere Adresse {target} in Ihrem Netz steht auf der Sperrliste {list}{codes}.{reason}\n"
    "Nach den Regeln der Liste kann nur der Inhaber des Netzes die Austragung erreichen. Bitte prüfen Sie den Eintrag, "
    "beheben Sie die Ursache im Netz und beantragen Sie die Austragung.\n\nUnsere Seite: {action}\n\n"
    "{operator}\n{contact}\n"
)


def draft_request(facts: Facts, request: RequestClass, removal_to: str, language: str = "en") -> Draft:
    """The request for this class of list. Operators get English; the owner of our network gets `language`."""
    text = _hoster_text(facts, language) if request is RequestClass.PROVIDER_ONLY else _request_text(facts)
    return Draft(
        subject=_subject(facts),
        text=text,
        where=mail_address(removal_to)
        if request is RequestClass.EMAIL
        else page_address(removal_to) or removal_to,
        fields=_fields(facts),
        missing=missing_facts(facts),
    )


def missing_facts(facts: Facts) -> tuple[str, ...]:
    """What a person still has to say before a request may go out."""
    known = {
        "cause": facts.cause,
        "what was done": facts.action,
        "since when": facts.fixed_at,
        "contact": facts.contact_mail,
    }
    return tuple(what for what, value in known.items() if not value)


def _subject(facts: Facts) -> str:
    return " ".join(f"Removal request: {facts.target}{_codes(facts)} on {facts.list_name}".split())


def _codes(facts: Facts) -> str:
    return f" ({', '.join(facts.labels)})" if facts.labels else ""


def _or_missing(value: str, what: str) -> str:
    return value or MISSING.format(what=what)


def _request_text(facts: Facts) -> str:
    lines = [
        f"Listing: {facts.list_name}{_codes(facts)}{_quoted(facts.reason)}",
        f"{_what(facts)}: {facts.target}{f' ({facts.ptr})' if facts.ptr else ''}, {_whose(facts)}.",
        f"Cause: {_or_missing(facts.cause, 'cause in one sentence')}.",
        f"Since {_fixed_at(facts)}: {_or_missing(facts.action, 'what was done')}.",
        *_volume(facts),
        f"Prevention: {PREVENTION}.",
        *([f"Rejection seen: {facts.rejection}"] if facts.rejection else []),
        f"We are responsible for it and can be reached at {_contact(facts)}.",
        "Please review the listing.",
    ]
    return "\n".join(lines) + "\n"


def _what(facts: Facts) -> str:
    return "Domain" if facts.role == "domain" else "Address"


def _whose(facts: Facts) -> str:
    operator = _or_missing(facts.operator, "operator")
    if facts.role == "gateway":
        return f"outbound gateway of {operator}"
    return f"used by a customer of {operator}"


def _quoted(reason: str) -> str:
    return f' - "{reason}"' if reason else ""


def _fixed_at(facts: Facts) -> str:
    return f"{facts.fixed_at:%Y-%m-%d %H:%M} UTC" if facts.fixed_at else MISSING.format(what="time (UTC)")


def _volume(facts: Facts) -> list[str]:
    if facts.per_hour_before is None or facts.per_hour_after is None:
        return []
    return [f"Messages before/after: {facts.per_hour_before}/{facts.per_hour_after} per hour."]


def _contact(facts: Facts) -> str:
    return ", ".join(
        part for part in (_or_missing(facts.contact_mail, "contact address"), facts.phone) if part
    )


def _fields(facts: Facts) -> tuple[tuple[str, str], ...]:
    cause, action = _or_missing(facts.cause, "cause"), _or_missing(facts.action, "what was done")
    rows = [
        ("IP address or domain", facts.target),
        ("Host name", facts.ptr or facts.helo),
        ("E-mail address", _or_missing(facts.contact_mail, "contact address")),
        ("Phone", facts.phone),
        ("Reason for removal", f"{cause}. Since {_fixed_at(facts)}: {action}."),
        ("Other lists at a glance", MULTIRBL.format(target=facts.target)),
    ]
    return tuple((label, value) for label, value in rows if value)


def _hoster_text(facts: Facts, language: str) -> str:
    action = facts.action or (
        "keine Auffälligkeiten im Versand" if language == "de" else "nothing unusual in what we send"
    )
    if language == "de":
        reason = f" Begründung der Liste: {facts.reason}" if facts.reason else ""
        return GERMAN_HOSTER.format(
            target=facts.target, list=facts.list_name, codes=_codes(facts), reason=reason, action=action,
            operator=_or_missing(facts.operator, "operator"), contact=_contact(facts),
        )  # fmt: skip
    return (
        f"Hello,\n\nour address {facts.target} in your network is on the blocklist {facts.list_name}"
        f"{_codes(facts)}{_quoted(facts.reason)}.\nBy the rules of the list only the owner of the network can have it "
        "removed. Please look at the entry, remove its cause in the network and ask for the removal.\n\n"
        f"Our side: {action}.\n\n"
        f"{_or_missing(facts.operator, 'operator')}\n{_contact(facts)}\n"
    )
