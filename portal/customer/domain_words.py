"""The findings of a domain check in plain words: what is wrong and what to do about it."""

# ruff: noqa: E501 - one sentence a line reads better than broken ones

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from gateway.models import DkimKey, Domain
from gateway.rules.domain_check import DKIM_PREFIX, DMARC, MX, OWNERSHIP, SPF

TITLES: dict[str, str | Promise] = {
    OWNERSHIP: _("Ownership: the domain is yours"),
    SPF: _("SPF: receivers may trust our addresses"),
    MX: _("MX: replies and reports reach you"),
    DMARC: _("DMARC: what receivers do with forgeries"),
}
WHY: dict[str, str | Promise] = {
    OWNERSHIP: _(
        "Nobody else can send in your name here. Leave the record in place: we look again regularly."
    ),
    SPF: _("Without our host in it, receivers may reject your mail or put it into the spam folder."),
    MX: _("We accept mail only from domains that can be answered. Reports go to the envelope sender."),
    DMARC: _(
        "Not required by us, but large receivers ask for it. Begin with p=none: it changes nothing, and reports."
    ),
}
DKIM_WHY = _("Each mail is signed; receivers find the public key in this record.")
CNAME_WHY = _(
    "Each mail is signed; this record leads receivers to the public key in our zone. Keys change between two names: publish both CNAME records once."
)

NOTES: dict[str, str | Promise] = {
    "missing": _("The record was not found. New records can take up to an hour, at some providers longer."),
    "nxdomain": _("The domain itself does not exist in the public DNS. Check the spelling, or register it first."),
    "dns": _("The DNS did not answer (%(word)s). That is not your record's fault; we try again."),
    "twice": _("Your provider appended the domain a second time: the record is at %(word)s. Enter the name without the domain."),
    "quotes": _("The value carries quotation marks as part of its text. Enter it without them."),
    "backslash": _("The value contains backslashes before the semicolons. Enter it exactly as shown."),
    "other_value": _("There is a record, but with another value. An old one? Replace it."),
    "null_mx": _("The domain says that it never receives mail (null MX). Publish an MX record, or remove this one."),
    "mx_is_address": _("The MX record names an IP address (%(word)s). It must name a host."),
    "mx_no_address": _("The mail server %(word)s has no address. Replies and reports would not arrive."),
    "only_address": _("There is no MX record, only an address. It works, but publish an MX: it says clearly where replies go."),
    "no_mx": _("Neither MX nor address record. Mail from this domain is refused: 550 Sender Domain must resolve."),
    "spf_two": _("There are two SPF records (%(word)s). Only one is allowed; receivers ignore both. Merge them into one."),
    "spf_include": _("Our host stands there as include:. It is a host with addresses, so it must be a: as shown."),
    "spf_include_none": _("It includes %(word)s, which has no SPF record of its own. That breaks the whole record."),
    "spf_lookups": _("The record needs more than 10 DNS look-ups (at %(word)s). Receivers stop there; remove or flatten includes."),
    "spf_void": _("More than two of its names do not exist (%(word)s). Receivers stop there; remove them."),
    "spf_syntax": _("The term “%(word)s” cannot be read. Often a space is missing between two terms."),
    "spf_redirect": _("Its redirect (%(word)s) leads to a domain without an SPF record."),
    "spf_not_us": _("There is an SPF record, but our addresses are not in it. Add our host as shown; keep the rest."),
    "spf_order": _("Our host is in it, but another term decides earlier (%(word)s). Move our host to the front."),
    "spf_plus_all": _("It ends in +all: everybody in the world may send as you. End it with ~all or -all."),
    "spf_pinned": _("Our address is entered as a number (%(word)s). It works today; with our host as shown it also will tomorrow."),
    "spf_many": _("%(word)s DNS look-ups are used. One more service and the record breaks: tidy up soon."),
    "own_addresses": _("We could not look up our own host %(word)s just now; we try again."),
    "dkim_spare": _("The second name of your DKIM keys. Publish it together with the first one: the next change of keys uses it, and you never have to come back."),
    "dkim_two": _("There is more than one key at this name. Keep only the one shown."),
    "dkim_no_key": _("There is a record at this name, but no key in it."),
    "dkim_version": _("The record does not begin with v=DKIM1."),
    "dkim_revoked": _("The record has an empty key: that means revoked. Publish the value shown."),
    "dkim_cut": _("The key is cut off: your provider's form cuts at 255 characters. Split the value into two quoted parts, or ask for the CNAME variant."),
    "dkim_other": _("There is another key at this name. An older one? Replace it with the value shown."),
    "dmarc_missing": _("No DMARC record. Gmail and others expect one from everybody who sends in bulk."),
    "dmarc_two": _("There are two DMARC records. Receivers ignore both; keep one."),
    "dmarc_policy": _("The record has no valid policy: p=none, p=quarantine or p=reject."),
    "dmarc_parent": _("The record of %(word)s holds for this domain too."),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecordView:
    """One record of the page."""

    key: str
    title: str | Promise
    why: str | Promise
    name: str
    type: str
    expected: str
    state: str
    found: list[str]
    notes: list[str]
    ttl_min: int
    lookups: int
    resolver: str
    lost_since: datetime | None
    show_expected: bool
    authority: str  # the domain's own name servers, '' = not asked
    is_cached: bool  # they have the right value, only the resolver still has the old one
    authority_found: list[str]


def record_views(domain: Domain) -> list[RecordView]:
    """The stored records, those that decide first; empty before the first check."""
    order = (OWNERSHIP, SPF, MX)
    keys = [key for key in order if key in domain.records]
    keys += sorted(key for key in domain.records if key.startswith(DKIM_PREFIX))
    keys += [DMARC] if DMARC in domain.records else []
    return [_view(key, domain.records[key]) for key in keys]


def _view(key: str, record: dict[str, Any]) -> RecordView:
    selector = key.removeprefix(DKIM_PREFIX)
    is_dkim = key.startswith(DKIM_PREFIX)
    good = record["state"] == "good"
    authority = record.get("authority") or {}
    return RecordView(
        key=key,
        title=f"DKIM: {selector}" if is_dkim else TITLES.get(key, key),
        why=_why(key, record),
        name=record["name"],
        type=record["type"],
        expected=record["expected"],
        state=record["state"],
        found=record["found"],
        notes=[note_words(code, word) for code, word in record["notes"]],
        ttl_min=math.ceil(record["ttl_s"] / 60),
        lookups=record["lookups"],
        resolver=record.get("resolver", ""),
        lost_since=datetime.fromisoformat(record["lost_since"]) if record["lost_since"] else None,
        show_expected=bool(record["expected"]) and not (good and key == DMARC),
        authority=authority.get("servers", ""),
        is_cached=authority.get("is_right", False),
        authority_found=list(authority.get("found", [])),
    )


def _why(key: str, record: dict[str, Any]) -> str | Promise:
    if key.startswith(DKIM_PREFIX):
        return CNAME_WHY if record["type"] == "CNAME" else DKIM_WHY
    return WHY.get(key, "")


def note_words(code: str, word: str = "") -> str:
    text = NOTES.get(code)
    return str(text) % {"word": word} if text else code


def key_problem(key: DkimKey) -> str:
    """Why the record of a key is not there yet: support's own words, or a finding of the check."""
    return note_words(key.problem) if key.problem in NOTES else key.problem


def short_name(name: str, domain: str) -> str:
    """What most providers' forms want: the name without the domain, '@' for the domain itself."""
    return "@" if name == domain else name.removesuffix(f".{domain}")
