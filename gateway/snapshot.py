"""Builds the relay's frozen policy from the database, and keeps it fresh.

A failed reload keeps the old policy and says so: mail goes on by what was last known to be right.
"""

from __future__ import annotations

import ipaddress
import logging
from collections import defaultdict
from datetime import datetime, timedelta
from types import MappingProxyType

from django.conf import settings
from django.db import DatabaseError, transaction

from gateway.crypto import CryptoError, decrypt
from gateway.db import Database
from gateway.models import (
    Bar,
    Credential,
    Customer,
    DkimKey,
    Domain,
    Gateway,
    PolicyVersion,
    Shaping,
    SourceNetwork,
    Suppression,
    TlsRule,
)
from gateway.rules.policy import (
    CredentialPolicy,
    CustomerPolicy,
    DkimKeyPolicy,
    GatewayPolicy,
    IPNetwork,
    ShapingPolicy,
    Snapshot,
    TlsRulePolicy,
)
from gateway.rules.spam import bounded
from gateway.rules.types import OnFailure, Pool, TlsLevel

log = logging.getLogger(__name__)

KNOWN_AFTER = 2  # failed tests of a TLS rule in a row
KNOWN_FOR = timedelta(hours=26)  # until the next daily test at the latest


class SnapshotSource:
    """Holds the current snapshot; `refresh` is called once a second by the relay."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.current = Snapshot()
        self.loaded_at: datetime | None = None
        self.stale_reason = ""

    async def refresh(self, now: datetime) -> bool:
        """Load the policy anew if its version moved; True when it did. Never raises for a broken database."""
        try:
            version = await self._database.read(current_version)
            if self.loaded_at is not None and version == self.current.version:
                return self._fresh(now, changed=False)
            self.current = await self._database.read(load_snapshot)
        except (DatabaseError, CryptoError) as error:
            self.stale_reason = f"policy could not be read: {type(error).__name__}"
            log.exception("policy reload failed, the old one stays")
            return False
        return self._fresh(now, changed=True)

    def _fresh(self, now: datetime, *, changed: bool) -> bool:
        self.loaded_at = now
        self.stale_reason = ""
        return changed


def current_version() -> int:
    return PolicyVersion.objects.filter(id=1).values_list("version", flat=True).first() or 0


@transaction.atomic
def load_snapshot() -> Snapshot:
    """One consistent picture of everything the relay decides by."""
    return Snapshot(
        version=current_version(),
        customers=MappingProxyType({customer.id: _customer(customer) for customer in Customer.objects.all()}),
        credentials=MappingProxyType(
            {row.username.casefold(): _credential(row) for row in Credential.objects.all()}
        ),
        domains=MappingProxyType(
            dict(Domain.objects.filter(verified_at__isnull=False).values_list("name", "customer_id"))
        ),
        networks=tuple(
            (ipaddress.ip_network(row.network, strict=False), row.customer_id)
            for row in SourceNetwork.objects.filter(may_relay=True)
        ),
        tls_rules=_tls_rules(),
        dkim_keys=_dkim_keys(),
        gateways=MappingProxyType({row.id: _gateway(row) for row in Gateway.objects.all()}),
        bars=MappingProxyType({(bar.gateway_id, bar.destination): bar.until for bar in Bar.objects.all()}),
        shaping=MappingProxyType({row.destination: _shaping(row) for row in Shaping.objects.all()}),
        suppressed=frozenset(
            (row["customer_id"], row["address"].lower())
            for row in Suppression.objects.values("customer_id", "address")
        ),
    )


def _customer(row: Customer) -> CustomerPolicy:
    return CustomerPolicy(
        id=row.id,
        slug=row.slug,
        name=row.name,
        language=row.language,
        rate_limit=row.rate_limit,
        ndr_on_refusal=row.ndr_on_refusal,
        ndr_enabled=row.ndr_enabled,
        keep_subjects=row.keep_subjects,
        suspended=row.suspended_at is not None,
        delay_warning_h=row.delay_warning_h,
        watched_until=row.watched_until,
        thresholds=bounded(row.suspect_threshold, row.spam_threshold, settings.SMG.spam_thresholds),
    )


def _credential(row: Credential) -> CredentialPolicy:
    return CredentialPolicy(
        id=row.id,
        customer_id=row.customer_id,
        username=row.username,
        secret_hash=row.secret_hash,
        previous_secret_hash=row.previous_secret_hash,
        previous_until=row.previous_until,
        expires_at=row.expires_at,
        networks=tuple(_networks(row.networks)),
        senders=tuple(sender.lower() for sender in row.senders),
        blocked=row.block,
    )


def _networks(texts: list[str]) -> list[IPNetwork]:
    return [ipaddress.ip_network(text, strict=False) for text in texts]


def _tls_rules() -> MappingProxyType[int, tuple[TlsRulePolicy, ...]]:
    by_customer: dict[int, list[TlsRulePolicy]] = defaultdict(list)
    for row in TlsRule.objects.all():
        by_customer[row.customer_id].append(
            TlsRulePolicy(
                id=row.id,
                customer_id=row.customer_id,
                sender_domain=row.sender_domain,
                recipient_domain=row.recipient_domain,
                level=TlsLevel(row.level),
                on_failure=OnFailure(row.on_failure),
                min_version=row.min_version,
                fingerprint=row.fingerprint,
                shadow=row.shadow,
                failing_until=_failing_until(row),
            )
        )
    return MappingProxyType({customer_id: tuple(rules) for customer_id, rules in by_customer.items()})


def _failing_until(row: TlsRule) -> datetime | None:
    """One failed test may be the partner's bad hour; after a second one, a day later, we know. Of a suffix we never do:
    one domain below it that fails says nothing about the others."""
    probe = row.probe
    if (
        row.recipient_domain.startswith(".")
        or probe.get("state") != "fails"
        or probe.get("failures", 0) < KNOWN_AFTER
    ):
        return None
    return datetime.fromisoformat(probe["checked_at"]) + KNOWN_FOR


def _dkim_keys() -> MappingProxyType[str, DkimKeyPolicy]:
    active = DkimKey.objects.filter(
        state=DkimKey.State.ACTIVE, domain__verified_at__isnull=False
    ).select_related("domain")
    return MappingProxyType(
        {
            key.domain.name: DkimKeyPolicy(
                id=key.id,
                domain=key.domain.name,
                selector=key.selector,
                private_key_pem=decrypt(key.private_key).encode(),
            )
            for key in active
        }
    )


def _gateway(row: Gateway) -> GatewayPolicy:
    return GatewayPolicy(
        id=row.id,
        name=row.name,
        pool=Pool(row.pool),
        hostname=row.hostname or settings.SMG.hostname,
        source_ip=row.source_ip or "",
        source_ip6=row.source_ip6 or "",
        next_hop=row.next_hop,
        next_hop_username=row.next_hop_username,
        next_hop_password=decrypt(row.next_hop_password) if row.next_hop_password else "",
        next_hop_tls=TlsLevel(row.next_hop_tls),
        weight=row.weight,
        drained=row.drained_at is not None,
    )


def _shaping(row: Shaping) -> ShapingPolicy:
    return ShapingPolicy(
        destination=row.destination,
        max_connections=row.max_connections,
        messages_per_minute=row.messages_per_minute,
        messages_per_connection=row.messages_per_connection,
    )
