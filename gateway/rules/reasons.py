"""The reasons a message or command is refused: one stable word each, with the reply the client gets.

The two documented texts stay exactly as they are, without enhanced codes; all others carry one (RFC 3463).
"""

from __future__ import annotations

from typing import Any

from gateway.rules.types import Refused, Reply

MUST_RESOLVE = Reply(550, "", "Sender Domain must resolve")
RATE_LIMIT = Reply(451, "", "Ratelimit reached")

REPLIES: dict[str, Reply] = {
    "sender_domain": MUST_RESOLVE,
    "rate_limit": RATE_LIMIT,
    "dns": Reply(451, "4.4.3", "Sender domain cannot be looked up just now, try again later"),
    "not_owner": Reply(553, "5.7.1", "Sender domain is not one of your verified domains"),
    "not_allowed_sender": Reply(553, "5.7.1", "This login may not send as this sender"),
    "suspended": Reply(451, "4.7.1", "Your account is suspended, please contact support"),
    "fuse": Reply(451, "4.7.1", "This login was stopped because of unusual traffic, see the portal"),
    "revoked": Reply(550, "5.7.1", "This login was revoked, see the portal"),
    "no_from": Reply(550, "5.7.1", "Message must have exactly one From header with one author"),
    "from_not_owner": Reply(
        550, "5.7.1", "Header {header} names a domain that is not one of your verified domains"
    ),
    "bad_author": Reply(550, "5.7.1", "Header {header} cannot be read unambiguously"),
    "bad_head": Reply(550, "5.6.0", "Message header cannot be read"),
    "loop": Reply(554, "5.4.6", "Too many Received headers, this message is in a loop"),
    "virus": Reply(554, "5.7.1", "Message contains a virus ({virus})"),
    "scanner": Reply(451, "4.7.1", "Virus scanner is not available, try again later"),
    "queue": Reply(451, "4.3.0", "Message could not be stored, try again later"),
    "disk": Reply(452, "4.3.1", "Not enough space, try again later"),
    "internal": Reply(451, "4.3.0", "Temporary problem, try again later"),
    "tls_required": Reply(550, "5.7.10", "Encryption is required for this recipient but not possible"),
    "suppressed": Reply(550, "5.1.1", "This recipient is known not to exist, see the portal"),
}


def refuse(reason: str, detail: dict[str, Any] | None = None, **words: str) -> Refused:
    """The refusal for a reason; `words` fill the blanks of its text."""
    reply = REPLIES[reason]
    if words:
        reply = Reply(reply.code, reply.enhanced, reply.text.format(**words))
    return Refused(reply, reason, detail or {})
