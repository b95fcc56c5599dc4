"""What the demo's mail is about: subjects, partners, and the ways it can end. Invented, and close to real days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SUBJECTS = (
    "Invoice 2026-{n}", "Your order {n} has been shipped", "Minutes of the meeting", "Rechnung Nr. {n}", "Offer {n}",
    "Ihre Bestellung {n} ist unterwegs", "Re: Delivery date", "Password reset for your account", "Angebot {n}",
    "Weekly report", "Reminder: appointment tomorrow", "Re: Question about item {n}", "Versandbestätigung {n}",
    "Contract for signature", "Re: Besprechung am Donnerstag", "Newsletter November", "Delivery note {n}",
)  # fmt: skip
SPAM_SUBJECTS = (
    "Last chance: 80 % off everything!!!",
    "You have won, claim now",
    "Re: your account will be closed",
)


@dataclass(frozen=True, slots=True)
class Voice:
    """Who sends: one login of one customer, from one place."""

    login: str
    domain: str
    people: tuple[str, ...]
    client_ip: str
    helo: str
    a_day: int = 0  # messages on a working day
    node: int = 0  # keeps the ids of several customers apart

    @property
    def senders(self) -> tuple[str, ...]:
        return tuple(f"{name}@{self.domain}" for name in self.people)


ACME = Voice(
    "acme-web", "acme.example", ("shop", "invoices", "alice", "support", "news"), "192.0.2.10", "mail.acme.example",
    a_day=110, node=1,
)  # fmt: skip
GLOBEX = Voice(
    "globex-mail", "globex.example", ("charlie", "info", "vertrieb"), "203.0.113.40", "mail.globex.example",
    a_day=25, node=5,
)  # fmt: skip
# Somebody else with the password of ACME's customer database: the abuse fuse stops this one.
STOLEN = Voice("acme-crm", "acme.example", ("crm",), "203.0.113.199", "[203.0.113.199]")

RECIPIENTS = (
    "dora@customer.example", "erik@customer.example", "fatima@partner.example", "office@partner.example",
    "giorgio@customer.example", "treasury@bank.example", "hannah@example.org", "ivan@example.net", "jana@example.com",
    "einkauf@partner.example", "kim@example.org", "buchhaltung@customer.example",
)  # fmt: skip

# Beside what the words of the text weigh: that is the rest, as shares add up to the score.
CLEAN_SYMBOLS = [["BASE", 4.0], ["MESSAGE_ID", -1.2], ["LINKS_VS_SENDER", -2.4]]
SPAM_SYMBOLS = [
    ["SUBJECT", 14.2], ["LINK_SHORTENER", 12.8], ["IMAGE_ONLY", 9.6], ["MONEY", 6.1], ["BASE", 4.0],
]  # fmt: skip


STOLEN_SUBJECTS = ("Your parcel is waiting", "Payment overdue: last reminder", "Confirm your account")
STRANGERS = tuple(
    f"{name}@example.{tld}" for name in ("r.meyer", "office", "hello", "k.lang") for tld in ("org", "net")
)
SUPPRESSED = (
    ("gone@customer.example", "unknown_user", "550 5.1.1 User unknown"),
    ("old-office@partner.example", "unknown_user", "550 5.1.1 No such recipient here"),
    ("leo@example.net", "manual", "Asked us by phone not to be written to"),
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How one recipient ends: the last reply, its reason, and a failed try before it."""

    state: str
    code: int
    enhanced: str
    text: str
    reason: str = ""
    cause: str = ""  # key of the code dictionary
    address: str = ""  # a recipient that fits
    first_try: str = ""  # reply of an earlier, temporary failure
    gateway: str = ""  # a gateway that fits


DELIVERED = Ending("delivered", 250, "2.0.0", "Ok: queued as {n}", "delivered")
GREYLISTED = Ending(
    "delivered",
    250,
    "2.0.0",
    "Ok: queued as {n}",
    "delivered",
    first_try="450 4.2.0 Greylisted, please come back in 60 s",
)
UNKNOWN = Ending(
    "bounced", 550, "5.1.1", "<{to}>: Recipient address rejected: User unknown in mailbox table", "unknown_user",
    address="nobody@customer.example",
)  # fmt: skip
FULL = Ending(
    "bounced",
    552,
    "5.2.2",
    "The email account that you tried to reach is over quota",
    "quota",
    address="full@partner.example",
)
POLICY = Ending(
    "bounced", 550, "5.7.26", "Unauthenticated email from {domain} is not accepted due to its DMARC policy",
    "authentication", address="leo@example.net",
)  # fmt: skip
WAITING = Ending(
    "queued",
    452,
    "4.2.2",
    "The email account that you tried to reach is over quota",
    "quota",
    address="full@customer.example",
)
HELD = Ending(
    "held", 454, "4.7.0", "TLS not available: certificate does not match the name mx.bank.example", "tls_required",
    address="treasury@bank.example",
)  # fmt: skip
BLOCKED = Ending(
    "bounced", 554, "5.7.1", "Service unavailable; Client host [192.0.2.2] blocked using bl.mailspike.net",
    "blocklisted", address="einkauf@partner.example", gateway="mta02",
)  # fmt: skip
FRESH = Ending("queued", 0, "", "")  # not tried yet


def shares(score: float, others: list[list[Any]]) -> list[list[Any]]:
    """The symbols of a judged mail, [name, share], the heaviest first; their shares add up to the score."""
    words = round(score - sum(share for _, share in others), 1)
    return sorted([["WORDING", words], *others], key=lambda symbol: -symbol[1])
