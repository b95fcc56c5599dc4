"""The relay's frozen policy: what customers and support configured, as plain values made for fast look-ups.

`gateway/snapshot.py` builds a Snapshot from the database whenever PolicyVersion moves; a session keeps the one it
began with. Nothing here changes after it was built.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gateway.rules.spam import Thresholds
from gateway.rules.types import OnFailure, Pool, TlsLevel

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class CustomerPolicy:
    id: int
    slug: str
    name: str
    language: str = "en"  # 'de' | 'en'
    rate_limit: int | None = None  # messages a minute; None = off
    ndr_on_refusal: bool = True  # an infected mail's sender gets an NDR
    ndr_enabled: bool = True  # NDRs at all (off: their own server reports)
    keep_subjects: bool = True
    suspended: bool = False
    delay_warning_h: int = 4  # 0 = none
    thresholds: Thresholds = field(default_factory=Thresholds)
    watched_until: datetime | None = None  # the set-up page waits for a first mail until then


@dataclass(frozen=True, slots=True)
class CredentialPolicy:
    id: int
    customer_id: int
    username: str
    secret_hash: str
    previous_secret_hash: str = ""  # still good until previous_until, so that a rotation needs no outage
    previous_until: datetime | None = None
    expires_at: datetime | None = None
    networks: tuple[IPNetwork, ...] = ()  # empty = from anywhere
    senders: tuple[str, ...] = ()  # addresses or domains, narrower than the customer's; empty = all of theirs
    blocked: str = ""  # '', 'revoked' or 'fuse' (the abuse fuse has blown)


@dataclass(frozen=True, slots=True)
class TlsRulePolicy:
    id: int
    customer_id: int
    sender_domain: str  # '' = any of the customer's
    recipient_domain: str  # 'bank.example', or '.bank.example' for everything below it
    level: TlsLevel
    on_failure: OnFailure
    min_version: str = "TLSv1.2"
    fingerprint: str = ""  # SHA-256 of the pinned certificate, lower-case hex
    shadow: bool = False  # record only
    failing_until: datetime | None = None  # until then we know from repeated tests that it cannot work


@dataclass(frozen=True, slots=True)
class DkimKeyPolicy:
    id: int
    domain: str
    selector: str
    private_key_pem: bytes = field(repr=False, default=b"")


@dataclass(frozen=True, slots=True)
class GatewayPolicy:
    """One way out."""

    id: int
    name: str
    pool: Pool
    hostname: str
    source_ip: str = ""
    source_ip6: str = ""
    next_hop: str = ""  # 'host:port' of a smart host; '' = MX delivery
    next_hop_username: str = ""
    next_hop_password: str = field(repr=False, default="")
    next_hop_tls: TlsLevel = TlsLevel.OPPORTUNISTIC
    weight: int = 1
    drained: bool = False


@dataclass(frozen=True, slots=True)
class ShapingPolicy:
    """What support set for one destination (recipient domain, '*' = default)."""

    destination: str
    max_connections: int = 20
    messages_per_minute: int = 0  # 0 = no limit
    messages_per_connection: int = 100


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent policy. All keys are canonical (lower case, A-labels)."""

    version: int = 0
    customers: Mapping[int, CustomerPolicy] = field(default_factory=dict)
    credentials: Mapping[str, CredentialPolicy] = field(default_factory=dict)  # by username, case-folded
    domains: Mapping[str, int] = field(default_factory=dict)  # proven domain -> customer id
    networks: tuple[tuple[IPNetwork, int], ...] = ()  # registered source networks that may relay without AUTH
    tls_rules: Mapping[int, tuple[TlsRulePolicy, ...]] = field(default_factory=dict)  # by customer id
    dkim_keys: Mapping[str, DkimKeyPolicy] = field(default_factory=dict)  # by domain, the active one
    gateways: Mapping[int, GatewayPolicy] = field(default_factory=dict)
    bars: Mapping[tuple[int, str], datetime] = field(
        default_factory=dict
    )  # (gateway, destination) barred until
    shaping: Mapping[str, ShapingPolicy] = field(default_factory=dict)
    suppressed: frozenset[tuple[int, str]] = (
        frozenset()
    )  # (customer id, recipient in lower case) known not to exist

    def shaping_for(self, destination: str) -> ShapingPolicy:
        """What support set for a destination, else for '*', else the defaults."""
        return self.shaping.get(destination) or self.shaping.get("*") or ShapingPolicy("*")

    def owner_of(self, domain: str) -> int | None:
        """The customer that has proven this domain or a parent of it; the closest one wins."""
        labels = domain.split(".")
        for start in range(len(labels) - 1):
            owner = self.domains.get(".".join(labels[start:]))
            if owner is not None:
                return owner
        return None

    def dkim_key_for(self, domain: str) -> DkimKeyPolicy | None:
        """The active key of this domain, else of the closest parent that has one."""
        labels = domain.split(".")
        for start in range(len(labels) - 1):
            key = self.dkim_keys.get(".".join(labels[start:]))
            if key is not None:
                return key
        return None
