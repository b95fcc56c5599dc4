"""The nouns of a message's way, shared by every step. Plain values: no Django, no asyncio, no clock, no sockets.

Times are aware UTC datetimes, sizes are octets, durations carry their unit in the name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Category(StrEnum):
    """What the spam score makes of a message."""

    CLEAN = "clean"
    SUSPECT = "suspect"
    SPAM = "spam"


class Pool(StrEnum):
    """The two kinds of ways out. Clean mail never leaves by BAD, suspected spam never by GOOD."""

    GOOD = "good"
    BAD = "bad"


class State(StrEnum):
    """The state of one recipient. QUEUED and HELD are open, the others are settled for good."""

    QUEUED = "queued"
    HELD = "held"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class TlsLevel(StrEnum):
    """How the hop to the next server must be protected, weakest first."""

    NONE = "none"  # clear text wanted by the operator (a local next hop)
    OPPORTUNISTIC = "opportunistic"  # encrypt if offered, certificate unchecked, clear text if not
    ENCRYPT = "encrypt"  # must be encrypted, certificate unchecked
    VERIFY = "verify"  # must be encrypted, certificate chain and name must match
    DANE = "dane"  # must be encrypted, certificate must match TLSA records


class OnFailure(StrEnum):
    """What happens to mail whose forced TLS rule cannot be met."""

    REJECT = "reject"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply, ours or a next hop's. `enhanced`: RFC 3463 'x.y.z', or '' (two documented texts have none)."""

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)

    @property
    def is_positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def is_permanent(self) -> bool:
        return 500 <= self.code < 600


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox in canonical form: local part as sent (quoted ones keep their quotes), domain lower-case A-labels
    (or a bracketed address literal). The null sender is None where an Address is optional."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What was agreed on one encrypted hop."""

    version: str  # 'TLSv1.3'
    cipher: str  # 'TLS_AES_256_GCM_SHA384'
    verified: bool = False
    subject: str = ""  # name the certificate was checked against or shows
    fingerprint: str = ""  # SHA-256 of the certificate, lower-case hex
    policy: str = ""  # where the level came from: rule | dane | mta-sts | requiretls | opportunistic

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class EnvelopeRecipient:
    """One RCPT TO with its DSN parameters (RFC 3461)."""

    address: Address
    notify: frozenset[str] = frozenset()  # of NEVER, SUCCESS, FAILURE, DELAY; empty = not given
    orcpt: str = ""  # 'rfc822;xtext-decoded address' or ''


@dataclass(slots=True)
class Envelope:
    """One message as handed over by a client: everything but what we made of it."""

    id: int
    customer_id: int | None  # None only for mail of our own (NDRs, alerts)
    credential_id: int | None
    sender: Address | None  # None = the null sender <>
    recipients: list[EnvelopeRecipient]
    body: bytes  # un-stuffed, CRLF line ends, as received
    received_at: datetime
    client_ip: str = ""
    helo: str = ""
    tls: TlsInfo | None = None
    eight_bit: bool = False  # BODY=8BITMIME given
    smtputf8: bool = False
    require_tls: bool = False  # REQUIRETLS, RFC 8689
    ret: str = ""  # FULL | HDRS | ''
    envid: str = ""  # xtext-decoded
    with_protocol: str = "ESMTPSA"  # for our Received header

    @property
    def size_bytes(self) -> int:
        return len(self.body)


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """What one check or decision said, in the order it was made; stored with the message, shown to its customer."""

    step: str  # 'sender_domain', 'ownership', 'rate', 'virus', 'spam', 'route', 'dkim' ...
    outcome: str  # 'pass' | 'refuse' | 'defer' | 'info'
    detail: dict[str, Any] = field(default_factory=dict)  # evidence: no body text, no secrets
    ms: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return {"step": self.step, "outcome": self.outcome, "detail": self.detail, "ms": round(self.ms, 2)}


@dataclass(frozen=True, slots=True)
class Refused:
    """A check said no. `reply` is for the client, `reason` (a stable word of rules/reasons.py) and `detail` for us."""

    reply: Reply
    reason: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of all checks of one message: accepted with a category and score, or refused."""

    trace: tuple[TraceEntry, ...]
    refused: Refused | None = None
    category: Category = Category.CLEAN
    score: float = 0.0
    kind: str = ""
    symbols: tuple[tuple[str, float], ...] = ()  # (name, share of the score)
    engine: str = ""
    header_from: str = ""
    features: bytes = b""  # compact vector for back-tests, no text


class Stage(StrEnum):
    """Where in the outbound dialogue something happened."""

    DNS = "dns"
    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"
    POLICY = "policy"  # decided by us before or instead of talking


class StepFailed(Exception):
    """A step between queue and next hop cannot go on: `reply` (4xx or 5xx) becomes the outcome of every recipient."""

    def __init__(self, reply: Reply, reason: str, stage: Stage) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.reason = reason
        self.stage = stage

    @property
    def state(self) -> State:
        return State.BOUNCED if self.reply.is_permanent else State.QUEUED


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to for one recipient."""

    recipient_id: int
    state: State  # DELIVERED, BOUNCED, QUEUED (deferred) or HELD
    reply: Reply
    stage: Stage
    at: datetime
    gateway_id: int | None = None
    remote_host: str = ""
    remote_ip: str = ""
    tls: TlsInfo | None = None
    reason: str = ""  # stable word: 'unknown_user', 'greylisted', 'tls_required' ... see rules/replies.py
    duration_ms: float = 0.0
