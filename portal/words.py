"""Words, icons and tones of every state that a page shows. A state without an entry is shown as it is, neutral."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Chip:
    word: Text
    tone: str = ""  # good | warn | bad | info | ''
    icon: str = "dot"


CHIPS: dict[str, dict[str, Chip]] = {
    "state": {  # of a recipient
        "queued": Chip(_("In the queue"), "info", "queue"),
        "deferred": Chip(_("Delayed"), "warn", "clock"),
        "held": Chip(_("Held"), "warn", "pause"),
        "delivered": Chip(_("Delivered"), "good", "check"),
        "bounced": Chip(_("Undeliverable"), "bad", "cross"),
        "expired": Chip(_("Expired"), "bad", "clock"),
        "cancelled": Chip(_("Cancelled"), "", "stop"),
        "mixed": Chip(_("Several results"), "info", "queue"),
        "refused": Chip(_("Refused"), "bad", "stop"),
    },
    "category": {
        "clean": Chip(_("Clean"), "good", "shield"),
        "suspect": Chip(_("Suspect"), "warn", "warning"),
        "spam": Chip(_("Spam"), "bad", "warning"),
    },
    "pool": {
        "good": Chip(_("Good gateway"), "good", "send"),
        "bad": Chip(_("Bad gateway"), "warn", "send"),
    },
    "health": {
        "unknown": Chip(_("Not checked yet"), "", "clock"),
        "good": Chip(_("In order"), "good", "check"),
        "warning": Chip(_("Could be better"), "warn", "warning"),
        "broken": Chip(_("Needs work"), "bad", "cross"),
    },
    "record": {
        "good": Chip(_("Found"), "good", "check"),
        "missing": Chip(_("Missing"), "bad", "cross"),
        "wrong": Chip(_("Differs"), "bad", "cross"),
        "warning": Chip(_("Could be better"), "warn", "warning"),
        "optional": Chip(_("Recommended"), "info", "info"),
        "lost": Chip(_("Was good, now broken"), "bad", "warning"),
        "unknown": Chip(_("Could not be asked"), "warn", "clock"),
    },
    "proven": {
        "True": Chip(_("Proven"), "good", "shield"),
        "False": Chip(_("Not proven"), "warn", "warning"),
    },
    "credential": {
        "": Chip(_("Active"), "good", "check"),
        "revoked": Chip(_("Revoked"), "", "stop"),
        "fuse": Chip(_("Stopped by the abuse fuse"), "bad", "stop"),
        "expired": Chip(_("Expired"), "bad", "clock"),
    },
    "dkim": {
        "requested": Chip(_("Requested"), "info", "clock"),
        "declined": Chip(_("Declined"), "bad", "cross"),
        "publishing": Chip(_("Waiting for the DNS record"), "warn", "clock"),
        "active": Chip(_("Signing"), "good", "check"),
        "retiring": Chip(_("Replaced, record still needed"), "info", "clock"),
        "revoked": Chip(_("Revoked"), "", "stop"),
    },
    "tls_level": {
        "encrypt": Chip(_("Encrypted"), "info", "lock"),
        "verify": Chip(_("Encrypted, certificate checked"), "info", "lock"),
        "dane": Chip(_("Encrypted, checked by DANE"), "info", "lock"),
    },
    "probe": {
        "works": Chip(_("Can be met"), "good", "check"),
        "partly": Chip(_("Only by some servers"), "warn", "warning"),
        "fails": Chip(_("Cannot be met"), "bad", "cross"),
        "unavailable": Chip(_("Not known"), "warn", "clock"),
        "": Chip(_("Not tested yet"), "", "clock"),
    },
    "check": {  # outcome of a trace entry
        "pass": Chip(_("Passed"), "good", "check"),
        "refuse": Chip(_("Refused"), "bad", "cross"),
        "defer": Chip(_("Later"), "warn", "clock"),
        "info": Chip(_("Noted"), "info", "info"),
    },
    "appeal": {
        "open": Chip(_("Waiting for support"), "info", "clock"),
        "accepted": Chip(_("Not spam"), "good", "check"),
        "declined": Chip(_("Stays as judged"), "warn", "info"),
        "undone": Chip(_("Undone"), "", "return"),
    },
    "role": {
        "owner": Chip(_("Owner"), "info", "key"),
        "admin": Chip(_("Admin"), "info", "gear"),
        "viewer": Chip(_("Viewer"), "", "user"),
    },
    "token": {
        "active": Chip(_("Active"), "good", "check"),
        "expired": Chip(_("Expired"), "bad", "clock"),
        "revoked": Chip(_("Revoked"), "", "stop"),
    },
    "webhook": {
        "active": Chip(_("Active"), "good", "check"),
        "failing": Chip(_("Fails"), "warn", "warning"),
        "off": Chip(_("Switched off"), "bad", "stop"),
    },
    "delivery": {
        "pending": Chip(_("To be sent"), "info", "clock"),
        "delivered": Chip(_("Delivered"), "good", "check"),
        "failed": Chip(_("Given up"), "bad", "cross"),
    },
    "request": {
        "open": Chip(_("Waiting for support"), "info", "clock"),
        "answered": Chip(_("Answered"), "good", "check"),
        "closed": Chip(_("Closed"), "", "stop"),
    },
    "grant": {
        "valid": Chip(_("Valid"), "warn", "unlock"),
        "over": Chip(_("Over"), "", "lock"),
    },
    "grant_kind": {
        "customer": Chip(_("Given by you"), "good", "user"),
        "break_glass": Chip(_("Taken by support"), "bad", "warning"),
    },
    "part": {  # of the installation, see portal.status
        "ok": Chip(_("Works"), "good", "check"),
        "degraded": Chip(_("Degraded"), "warn", "warning"),
        "down": Chip(_("Down"), "bad", "cross"),
        "unknown": Chip(_("Not known"), "", "clock"),
    },
    "gateway": {
        "in_use": Chip(_("In use"), "good", "check"),
        "drained": Chip(_("Drained"), "warn", "pause"),
    },
    "may_send": {
        "True": Chip(_("May send"), "good", "check"),
        "False": Chip(_("Suspended"), "bad", "stop"),
    },
    "who": {  # who must act, from the code dictionary
        "sender": Chip(_("You must act"), "warn", "user"),
        "recipient": Chip(_("The recipient must act"), "info", "mail"),
        "gateway": Chip(_("We must act"), "info", "desk"),
        "nobody": Chip(_("Nobody, wait"), "", "clock"),
    },
}


def chip_of(kind: str, value: str) -> Chip:
    return CHIPS.get(kind, {}).get(value) or Chip(value)
