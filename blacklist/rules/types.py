"""The nouns of blacklist monitoring. Plain values; times are aware UTC datetimes, durations carry their unit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What can be asked about. A provider answers for one or more kinds and is never asked for another."""

    IP4 = "ip4"
    IP6 = "ip6"
    DOMAIN = "domain"


class Role(StrEnum):
    """What a target is to us; severity depends on it."""

    GATEWAY = "gateway"
    CUSTOMER_IP = "customer_ip"
    DOMAIN = "domain"


class Status(StrEnum):
    """The result of one question. Only LISTED and NOT_LISTED are knowledge; everything else opens and
    closes nothing."""

    LISTED = "listed"
    NOT_LISTED = "not_listed"
    PROVIDER_ERROR = "provider_error"
    DEAD_LIST = "dead_list"
    TIMEOUT = "timeout"
    NOT_APPLICABLE = "not_applicable"

    @property
    def is_known(self) -> bool:
        return self in (Status.LISTED, Status.NOT_LISTED)


class Severity(StrEnum):
    """How bad a listing is. INFORMATIONAL opens no ticket and wakes nobody; NONE is no listing at all."""

    NONE = "none"
    INFORMATIONAL = "informational"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class Reading(StrEnum):
    """What one returned address means for one provider."""

    LISTING = "listing"
    POLICY = "policy"  # a listing by rule (dynamic range, no reverse DNS), not for abuse
    NEUTRAL = "neutral"  # welcome, score and test codes: not a listing
    ERROR = "error"
    UNKNOWN = "unknown"  # in 127/8, but nobody documented it
    FOREIGN = "foreign"  # outside 127/8: parked domain, rewriting resolver, captive portal


class Outcome(StrEnum):
    """What came back for a DNS question."""

    RECORDS = "records"
    NXDOMAIN = "nxdomain"
    NODATA = "nodata"
    SERVFAIL = "servfail"
    REFUSED = "refused"
    OTHER_RCODE = "other_rcode"
    MALFORMED = "malformed"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one A question, whatever it is; never an exception."""

    outcome: Outcome
    addresses: tuple[str, ...] = ()
    ttl_s: int = 0


@dataclass(frozen=True, slots=True)
class Code:
    """One documented answer: an address range (`low` = `high` for one address) or one bit of the fourth octet."""

    reading: Reading
    label: str
    low: int = 0
    high: int = 0
    bit: int = 0
    severity_gateway: Severity | None = None  # None: the provider's
    severity_other: Severity | None = None
    removal: str = ""


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """What must be known to ask a list and to understand its answers. `zone` is complete (with the key in it)."""

    slug: str
    name: str
    zone: str
    kinds: frozenset[Kind]
    severity: Severity
    codes: tuple[Code, ...] = ()
    is_bitmask: bool = False
    is_score: bool = False
    positives: tuple[str, ...] = ()  # test entries as written in the facts; see rules/providers.py
    negatives: tuple[str, ...] = ()
    removal_method: str = ""
    rate_qps: float = 5.0
    error_outcomes: frozenset[Outcome] = frozenset()  # outcomes that mean 'over the limit' or 'key not valid'


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judged answer. `codes` are the listing addresses, `raw` everything that came back."""

    status: Status
    codes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    why: str = ""  # a sentence for people; empty for plain listed / not listed
    matches: tuple[Code, ...] = ()
    raw: tuple[str, ...] = ()
    stops: bool = False  # an error code: asking this list on in this run would be rude and useless
    ttl_s: int = 0
