"""What a message's last steps hand to each other: where it may go, under which protection, and the work to do there.

route makes a Route out of the recipient domain; deliver takes a DeliveryJob and the Route and answers
with one Outcome per recipient. Plain values, made for being compared in tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from gateway.rules.policy import GatewayPolicy
from gateway.rules.types import Address, OnFailure, TlsInfo, TlsLevel


@dataclass(frozen=True, slots=True)
class TlsaRecord:
    """One TLSA record (RFC 6698 section 2.1); `data` is the association, a digest or the whole object."""

    usage: int
    selector: int
    matching: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TlsDemand:
    """How one hop must be protected, who asks for it, and what becomes of the mail when it cannot be had."""

    level: TlsLevel = TlsLevel.OPPORTUNISTIC
    source: str = "opportunistic"  # rule | requiretls | dane | mta-sts | next-hop | opportunistic
    min_version: str = (
        ""  # 'TLSv1.2' | 'TLSv1.3'; '' = the library's floor (TLSv1.2; opportunistic takes what there is)
    )
    fingerprint: str = ""  # SHA-256 of the pinned certificate, lower-case hex; replaces chain and name
    names: tuple[str, ...] = ()  # names the certificate may show; empty = the hop's host
    tlsa: tuple[TlsaRecord, ...] = ()  # usable records only, level DANE
    on_failure: OnFailure | None = None  # None = keep it queued and try again until the lifetime ends
    require_tls: bool = False  # the next hop must offer REQUIRETLS (RFC 8689) and gets it with MAIL
    shadow: TlsDemand | None = None  # a rule that is only recorded: what it would have demanded
    blocked: str = (
        ""  # why this demand cannot be met whatever the hop offers ('' = it can): DANE unavailable ...
    )

    @property
    def forced(self) -> bool:
        """Clear text is out of the question."""
        return self.level in (TlsLevel.ENCRYPT, TlsLevel.VERIFY, TlsLevel.DANE)


@dataclass(frozen=True, slots=True)
class Hop:
    """One server to try: an MX host or a smart host, with the addresses that we may connect to, in order."""

    host: str
    port: int
    addresses: tuple[str, ...]
    tls: TlsDemand = field(default_factory=TlsDemand)


@dataclass(frozen=True, slots=True)
class Route:
    """The way chosen for one destination: the gateway that sends and the hops to try in order."""

    gateway: GatewayPolicy
    destination: str  # recipient domain, or 'host:port' of the gateway's smart host
    hops: tuple[Hop, ...]
    smart_host: bool = False


@dataclass(frozen=True, slots=True)
class JobRecipient:
    """One recipient of a job; `notify` and `orcpt` as in EnvelopeRecipient (RFC 3461)."""

    recipient_id: int
    address: Address
    notify: frozenset[str] = frozenset()
    orcpt: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryJob:
    """One transaction's worth of work: a signed message and recipients that share a route. `body` has CRLF line ends
    and no dots stuffed; it is sent as it is."""

    message_id: int
    sender: Address | None  # None = the null sender <>
    recipients: tuple[JobRecipient, ...]
    body: bytes
    eight_bit: bool = False
    smtputf8: bool = False
    require_tls: bool = False  # REQUIRETLS was given by the client
    ret: str = ""  # FULL | HDRS | ''
    envid: str = ""  # xtext-decoded


@dataclass(frozen=True, slots=True)
class TlsObservation:
    """How one attempt to encrypt ended, for TLS reports and shadow rules. `failure` is None when it succeeded."""

    at: datetime
    destination: str
    host: str
    ip: str
    demand: TlsDemand
    info: TlsInfo | None
    result: str = ""  # RFC 8460 section 4.3 result type, '' = success
    text: str = ""
    shadow: bool = False  # a demand that is only recorded; the mail went on under the real one
    message_id: int = 0
