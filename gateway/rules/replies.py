"""What a next hop's reply means: delivered, try again, or give up, and one stable word why.

Everything here is written by strangers: `clean_text` comes first, the patterns in `reply_patterns` look at a bounded
text. Basis: RFC 5321 section 4.2 and 4.5.4, RFC 3463, RFC 7504 (521, 556), and what Postfix does. Where they leave a
choice:

* 4xx is temporary, 5xx permanent, anything that is no SMTP reply temporary.
* 5xx before MAIL (banner, EHLO, STARTTLS, AUTH) is about us and this host, not about the message: the next host is
  tried, and when none is left the message waits. Exception: 521 in the banner of every host means that the domain takes
  no mail (RFC 7504 section 4).
* 5xx because of our address (blocklists, rates, no PTR, greylisting) is temporary: another gateway of the pool or
  another hour may do. The sender's domain (SPF, DKIM, DMARC), the content and the recipient stay permanent.
* 552 at RCPT that speaks of too many recipients counts as 452 (RFC 5321 section 4.5.3.1.10).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.rules.reply_patterns import BLOCKLISTS, PATTERNS, Pattern
from gateway.rules.types import Reply, Stage

MAX_TEXT_CHARS = 1000


class Kind(StrEnum):
    DELIVERED = "delivered"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"


# Every word that Outcome.reason may hold, with its meaning. Part of the product's vocabulary (NDRs, portal, API).
REASONS = {
    "delivered": "the next server took responsibility",
    "relayed": "delivered, but the next server reports no success (no DSN): RFC 3461 section 5.2.2",
    "unknown_user": "the recipient does not exist there",
    "mailbox_disabled": "the recipient's mailbox is switched off",
    "quota": "the recipient's mailbox is full",
    "greylisted": "the server wants to see a second try later",
    "rate_limited": "too much mail in too short a time",
    "blocklisted": "our address is on a blocklist the server uses",
    "reputation": "our address has a bad or no reputation there",
    "sender_blocked": "the sender is blocked there",
    "authentication": "SPF, DKIM or DMARC of the sender's domain failed",
    "no_ptr": "reverse DNS of our address does not please the server",
    "spam": "the server takes the message for spam",
    "virus": "the server takes the message for malware",
    "content": "the server does not take such content",
    "policy": "a policy of the server, not named more closely",
    "size": "too big",
    "relay_denied": "the server is not responsible for this recipient",
    "sender_unresolvable": "the server cannot resolve the sender's domain",
    "sender_rejected": "the server does not take this sender",
    "too_many_recipients": "too many recipients in one transaction",
    "loop": "the message goes round in a circle",
    "dns": "name resolution failed",
    "no_such_domain": "the recipient's domain does not exist",
    "null_mx": "the recipient's domain takes no mail (RFC 7505)",
    "no_address": "the recipient's domain has no server with an address",
    "forbidden_address": "the recipient's servers point to addresses that are not public",
    "unreachable": "no connection to the server",
    "source_address": "this machine does not have the gateway's address",
    "timeout": "the server did not answer in time",
    "connection_lost": "the server hung up",
    "garbage": "the server does not speak SMTP",
    "busy": "the server has no time at the moment",
    "server_error": "the server has a fault of its own",
    "protocol": "the server did not understand or accept a command",
    "login": "the next hop did not accept our login",
    "tls": "encryption could not be agreed on",
    "tls_required": "encryption is required and could not be had",
    "requiretls": "the message demands REQUIRETLS and the server does not offer it (RFC 8689)",
    "utf8": "the server does not take internationalised addresses (RFC 6531)",
    "address": "the server or we cannot work with this address",
    "no_mail": "the server takes no mail at all (521, 556)",
    "deferred": "temporary, for a reason not named",
    "refused": "permanent, for a reason not named",
}

_OWN_FAULT = frozenset(
    {"blocklisted", "reputation", "rate_limited", "greylisted", "no_ptr", "busy", "server_error"}
)
_BARRING = frozenset({"blocklisted", "reputation", "no_ptr"})
_SAME_EVERYWHERE = frozenset(
    {"greylisted", "quota", "rate_limited", "unknown_user", "mailbox_disabled", "authentication"}
)
_BEFORE_MAIL = frozenset(
    {Stage.DNS, Stage.CONNECT, Stage.BANNER, Stage.EHLO, Stage.STARTTLS, Stage.TLS, Stage.AUTH}
)


@dataclass(frozen=True, slots=True)
class Classification:
    kind: Kind
    reason: str  # a key of REASONS
    blocklist: str = ""  # slug of the blocklist or reputation system the text names, '' = none known
    bars_gateway: bool = False  # this gateway should not try this destination for some hours
    try_next_host: bool = False  # another MX host may answer differently, now


DELIVERED = Classification(Kind.DELIVERED, "delivered")


def classify(
    code: int, enhanced: str, text: str, stage: Stage, *, smart_host: bool = False
) -> Classification:
    """What this reply means. `text` may be raw. At a smart host of the operator's a missing login or relaying that is
    denied is a set-up fault: temporary."""
    if 200 <= code < 300:
        return DELIVERED
    if not 400 <= code < 600:
        return Classification(Kind.TEMPORARY, "garbage", try_next_host=stage is not Stage.DOT)
    sample = f"{enhanced} {clean_text(text)}".casefold()
    reason = _reason(code, enhanced, sample, stage)
    blocklist = _blocklist(sample) if reason in _BARRING else ""
    kind = _kind(code, reason, stage, sample, smart_host=smart_host)
    return Classification(
        kind=kind,
        reason=reason,
        blocklist=blocklist,
        bars_gateway=reason in _BARRING,
        try_next_host=kind is Kind.TEMPORARY and stage is not Stage.DOT and reason not in _SAME_EVERYWHERE,
    )


def classify_reply(reply: Reply, stage: Stage, *, smart_host: bool = False) -> Classification:
    return classify(reply.code, reply.enhanced, reply.text, stage, smart_host=smart_host)


def _kind(code: int, reason: str, stage: Stage, sample: str, *, smart_host: bool) -> Kind:
    if code < 500:
        return Kind.TEMPORARY
    if stage in _BEFORE_MAIL:
        return Kind.PERMANENT if reason == "no_mail" and stage is Stage.BANNER else Kind.TEMPORARY
    if reason in _OWN_FAULT or reason in ("tls", "too_many_recipients"):
        return Kind.TEMPORARY
    if smart_host and reason in ("login", "relay_denied"):
        return Kind.TEMPORARY
    return Kind.PERMANENT


def _reason(code: int, enhanced: str, sample: str, stage: Stage) -> str:
    for pattern in PATTERNS:
        if _applies(pattern, code, enhanced, stage) and pattern.text.search(sample):
            return pattern.reason
    return _by_enhanced(code, enhanced, stage) or _by_code(code, stage)


def _applies(pattern: Pattern, code: int, enhanced: str, stage: Stage) -> bool:
    if pattern.codes and code not in pattern.codes:
        return False
    if pattern.enhanced and not enhanced.startswith(pattern.enhanced):
        return False
    return not pattern.stages or stage in pattern.stages


# RFC 3463 subject.detail and RFC 5248 registry; the class digit says temporary or permanent, not the reason.
_ENHANCED = {
    "1.0": "address",
    "1.1": "unknown_user",
    "1.2": "no_such_domain",
    "1.3": "address",
    "1.4": "address",
    "1.6": "unknown_user",
    "1.7": "sender_rejected",
    "1.8": "sender_unresolvable",
    "1.9": "relay_denied",
    "1.10": "null_mx",
    "2.0": "mailbox_disabled",
    "2.1": "mailbox_disabled",
    "2.2": "quota",
    "2.3": "size",
    "2.4": "server_error",
    "3.0": "server_error",
    "3.1": "server_error",
    "3.2": "busy",
    "3.3": "protocol",
    "3.4": "size",
    "3.5": "server_error",
    "4.1": "unreachable",
    "4.2": "connection_lost",
    "4.3": "dns",
    "4.4": "dns",
    "4.5": "busy",
    "4.6": "loop",
    "4.7": "timeout",
    "5.3": "too_many_recipients",
    "6.7": "utf8",
    "6.10": "utf8",
    "7.1": "policy",
    "7.7": "content",
    "7.8": "login",
    "7.9": "login",
    "7.10": "tls",
    "7.11": "tls",
    "7.20": "authentication",
    "7.21": "authentication",
    "7.22": "authentication",
    "7.23": "authentication",
    "7.24": "authentication",
    "7.25": "no_ptr",
    "7.26": "authentication",
    "7.27": "sender_unresolvable",
    "7.28": "rate_limited",
    "7.29": "authentication",
    "7.30": "requiretls",
}
_ENHANCED_SUBJECT = {"5": "protocol", "6": "content", "7": "policy"}


def _by_enhanced(code: int, enhanced: str, stage: Stage) -> str:
    _, _, detail = enhanced.partition(".")
    if not detail:
        return ""
    if enhanced == "4.7.1" and stage is Stage.RCPT and code in (450, 451):
        return "greylisted"  # what nearly every greylisting server says, whatever its words
    if detail == "7.0" and code == 530:
        return ""
    return _ENHANCED.get(detail) or _ENHANCED_SUBJECT.get(detail.partition(".")[0], "")


_CODES = {
    421: "busy",
    431: "server_error",
    432: "login",
    450: "deferred",
    451: "deferred",
    452: "busy",
    454: "tls",
    455: "protocol",
    500: "protocol",
    501: "protocol",
    502: "protocol",
    503: "protocol",
    504: "protocol",
    521: "no_mail",
    523: "size",
    530: "login",
    534: "login",
    535: "login",
    538: "tls",
    551: "unknown_user",
    552: "quota",
    553: "address",
    555: "protocol",
    556: "no_mail",
}


def _by_code(code: int, stage: Stage) -> str:
    if code == 550 and stage is Stage.RCPT:
        return "unknown_user"  # RFC 5321 section 4.2.2: mailbox unavailable
    if code == 552 and stage in (Stage.MAIL, Stage.DOT):
        return "size"
    if code == 553 and stage is Stage.MAIL:
        return "sender_rejected"
    return _CODES.get(code) or ("deferred" if code < 500 else "refused")


def _blocklist(sample: str) -> str:
    return next((slug for slug, text in BLOCKLISTS if text.search(sample)), "")


_ENHANCED_START = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")


def parse_reply(code: int, lines: Sequence[bytes]) -> Reply:
    """A Reply from the lines of one multi-line reply (without the code). The enhanced code is taken off every line and
    believed only when its class fits the code (RFC 2034 section 4)."""
    texts = [line.decode("utf-8", "replace") for line in lines]
    found = _ENHANCED_START.match(texts[0]) if texts else None
    enhanced = found.group() if found and found.group(1) == str(code)[0] else ""
    if enhanced:
        texts = [text.removeprefix(enhanced) for text in texts]
    return Reply(code, enhanced, clean_text(" ".join(texts)))


def clean_text(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """Text from outside made harmless for logs, databases and terminals: no controls, no bidirectional overrides, no
    surrogates, white space collapsed, at most `limit` characters."""
    kept = text if text.isascii() and text.isprintable() else "".join(map(_clean_char, text[: limit * 4]))
    short = " ".join(kept.split())
    return short if len(short) <= limit else short[: limit - 1] + "…"


def _clean_char(char: str) -> str:
    if char.isprintable():
        return char
    if char.isspace():
        return " "
    # Cc controls, Cf invisible formatting (bidi overrides among them), Cs surrogates, Co/Cn nobody's characters
    return "" if unicodedata.category(char) in ("Cf", "Cs") else "\ufffd" if char >= "\x80" else " "
