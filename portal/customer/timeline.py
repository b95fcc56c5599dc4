"""A message's story per recipient: handed over, judged, each attempt, what comes next."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from gateway.models import Attempt, Message, Recipient, TlsShadow
from portal.customer.message_rows import shown_state
from portal.customer.reply_words import Meaning, meaning_of
from portal.customer.stopped import REASON
from portal.customer.trace_words import signature_sentence

SHOWN_RECIPIENTS = 25
TONES = {
    "delivered": "good",
    "queued": "warn",
    "held": "warn",
    "bounced": "bad",
    "expired": "bad",
    "cancelled": "",
}
ICONS = {
    "delivered": "check",
    "queued": "clock",
    "held": "pause",
    "bounced": "cross",
    "expired": "clock",
    "cancelled": "stop",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One point on the line. `reply` is a server's text: untrusted, shown as it is, escaped."""

    title: str
    at: datetime | None
    tone: str = ""
    icon: str = "dot"
    lines: tuple[str, ...] = ()
    reply: str = ""
    meaning: Meaning | None = None
    ms: float = 0.0
    settled: bool = False  # a failure for good: its explanation is open at once
    dkim_url: str = ""  # where a key for the unsigned message can be requested


@dataclass(frozen=True, slots=True)
class Author:
    domain: str
    url: str  # of the domain's DKIM keys, '' = not the customer's (any more)


@dataclass(slots=True)
class Story:
    recipient: Recipient
    state: str
    events: list[Event] = field(default_factory=list)


def stories(message: Message) -> list[Story]:
    """One story per recipient, the first SHOWN_RECIPIENTS of them; four queries however many there are."""
    recipients = list(message.recipients.select_related("gateway").order_by("id")[:SHOWN_RECIPIENTS])
    ids = [recipient.id for recipient in recipients]
    attempts: dict[int, list[Attempt]] = {pk: [] for pk in ids}
    for attempt in message.attempts.filter(recipient__in=ids).select_related("gateway").order_by("id"):
        attempts[attempt.recipient].append(attempt)
    shadows = list(message.tls_shadows.order_by("id")[:SHOWN_RECIPIENTS])
    author = _author(message)
    return [_story(recipient, attempts[recipient.id], shadows, author) for recipient in recipients]


def _author(message: Message) -> Author:
    """Whose key signs: the domain of the From header (gateway/sign.py), and its page when the customer has it."""
    name = message.header_from.rpartition("@")[2] or message.sender_domain
    customer = message.customer
    is_there = customer is not None and bool(name) and customer.domains.filter(name=name).exists()
    return Author(name, reverse("domain", args=[name]) + "#dkim" if is_there else "")


def _story(recipient: Recipient, attempts: list[Attempt], shadows: list[TlsShadow], author: Author) -> Story:
    events = [_attempt(attempt, author) for attempt in attempts] or _from_recipient(recipient)
    events += [_shadow(one) for one in shadows if one.destination == recipient.domain]
    return Story(recipient, shown_state(recipient), events + _next(recipient))


def _attempt(attempt: Attempt, author: Author) -> Event:
    explained = attempt.state != Recipient.StateChoice.DELIVERED
    meaning = meaning_of(attempt.code, attempt.enhanced, attempt.text, attempt.reason) if explained else None
    return Event(
        title=_attempt_title(attempt.state),
        at=attempt.at,
        tone=TONES.get(attempt.state, ""),
        icon=ICONS.get(attempt.state, "dot"),
        lines=tuple(line for line in _facts(attempt, author) if line),
        reply=reply_text(attempt.code, attempt.enhanced, attempt.text),
        meaning=meaning,
        ms=attempt.duration_ms,
        settled=attempt.state not in ("delivered", "queued"),
        dkim_url=author.url if _spoken(attempt) and not attempt.signed_by else "",
    )


def _facts(attempt: Attempt, author: Author) -> tuple[str, ...]:
    signed = signature_sentence(attempt.signed_by, author.domain) if _spoken(attempt) else ""
    return _where(attempt), tls_sentence(attempt.tls), signed


def _spoken(attempt: Attempt) -> bool:
    """Signing comes before the connection: who talked to a server had signed, or had no key."""
    return bool(attempt.remote_host)


def _shadow(shadow: TlsShadow) -> Event:
    """What a forced TLS rule that only records would have done."""
    if shadow.problem:
        title, tone = _("Your recorded TLS rule would have stopped this"), "warn"
    else:
        title, tone = _("Your recorded TLS rule would have let this pass"), "good"
    return Event(
        title, shadow.at, tone, "lock", tuple(line for line in (shadow.host, shadow.problem) if line)
    )


def _from_recipient(recipient: Recipient) -> list[Event]:
    """Older messages whose attempts are gone still have their last result."""
    if recipient.code is None:
        return []
    settled = recipient.state == Recipient.StateChoice.DELIVERED
    return [
        Event(
            title=_attempt_title(recipient.state),
            at=recipient.settled_at,
            tone=TONES.get(recipient.state, ""),
            icon=ICONS.get(recipient.state, "dot"),
            lines=tuple(line for line in (recipient.remote_host, tls_sentence(recipient.tls)) if line),
            reply=reply_text(recipient.code, recipient.enhanced, recipient.text),
            meaning=None
            if settled
            else meaning_of(recipient.code, recipient.enhanced, recipient.text, recipient.reason),
        )
    ]


def _attempt_title(state: str) -> str:
    titles = {
        "delivered": _("Delivered"), "queued": _("Not yet: will be tried again"), "held": _("Held"),
        "bounced": _("Undeliverable"), "expired": _("Given up: its time was over"), "cancelled": _("Cancelled"),
    }  # fmt: skip
    return titles.get(state, state)


def _where(attempt: Attempt) -> str:
    host = f"{attempt.remote_host} [{attempt.remote_ip}]" if attempt.remote_ip else attempt.remote_host
    if attempt.gateway and host:
        return _("%(gateway)s talked to %(host)s") % {"gateway": attempt.gateway.name, "host": host}
    return host or (attempt.gateway.name if attempt.gateway else "")


def tls_sentence(tls: dict[str, Any] | None) -> str:
    """What was agreed on the encrypted hop, or that it was not encrypted ('' when nobody got that far)."""
    if tls is None:
        return ""
    if not tls.get("version"):
        return _("Not encrypted.")
    sentence = _("Encrypted with %(version)s, %(cipher)s.") % {
        "version": tls["version"],
        "cipher": tls.get("cipher", "?"),
    }
    if tls.get("verified"):
        sentence += " " + _("Certificate checked: %(name)s.") % {
            "name": tls.get("subject") or _("name and chain match")
        }
    demand = {
        "rule": _("your forced TLS rule"),
        "dane": "DANE",
        "mta-sts": "MTA-STS",
        "requiretls": "REQUIRETLS",
    }
    policy = demand.get(tls.get("policy", ""))
    return sentence + (" " + _("Demanded by %(policy)s.") % {"policy": policy} if policy else "")


def reply_text(code: int | None, enhanced: str, text: str) -> str:
    """The server's reply on one line; the enhanced code is not said twice."""
    parts = [str(code) if code else "", "" if text.startswith(enhanced) else enhanced, text]
    return " ".join(part for part in parts if part)


def _next(recipient: Recipient) -> list[Event]:
    if recipient.state == Recipient.StateChoice.QUEUED:
        if recipient.lease_owner:
            return [Event(_("Being delivered now"), None, "info", "send")]
        until = _("If it cannot be delivered until then, the sender gets a report:")
        return [
            Event(
                _("Next try"),
                recipient.next_attempt_at,
                "info",
                "clock",
                (f"{until} {recipient.expires_at:%Y-%m-%d %H:%M} UTC",),
            )
        ]
    if recipient.state == Recipient.StateChoice.HELD and recipient.reason == REASON:
        return [Event(_("Waits because its login was stopped"), None, "warn", "pause")]
    if recipient.state == Recipient.StateChoice.HELD:
        return [Event(_("Waits until somebody releases it or its rule can be met"), None, "warn", "pause")]
    return []
