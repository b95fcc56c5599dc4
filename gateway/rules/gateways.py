"""Which way out: a usable gateway of the right pool. Clean mail never falls back to Bad, nor spam to Good."""

from __future__ import annotations

import random
from collections.abc import Collection
from datetime import datetime

from gateway.rules.policy import GatewayPolicy, Snapshot
from gateway.rules.types import Pool


def usable(
    snapshot: Snapshot, pool: Pool, destination: str, now: datetime, ours: Collection[int] | None
) -> list[GatewayPolicy]:
    """The gateways of a pool that may be used for a destination now; `ours`: ids this node can send by, None: all."""
    return [
        gateway
        for gateway in snapshot.gateways.values()
        if gateway.pool == pool
        and not gateway.drained
        and (ours is None or gateway.id in ours)
        and not is_barred(snapshot, gateway.id, destination, now)
    ]


def is_barred(snapshot: Snapshot, gateway_id: int, destination: str, now: datetime) -> bool:
    """Whether the destination refuses this gateway just now."""
    until = snapshot.bars.get((gateway_id, destination))
    return until is not None and until > now


def choose(candidates: Collection[GatewayPolicy], rng: random.Random) -> GatewayPolicy | None:
    """One of them by weight; None if there is none."""
    if not candidates:
        return None
    ordered = sorted(candidates, key=lambda gateway: gateway.id)
    return rng.choices(ordered, weights=[gateway.weight for gateway in ordered])[0]


def sendable_here(gateway: GatewayPolicy, names: Collection[str], addresses: Collection[str]) -> bool:
    """Whether this node may send by a gateway: named in SMG_GATEWAYS, else it has the source address (if any)."""
    if names:
        return gateway.name in names
    wanted = [address for address in (gateway.source_ip, gateway.source_ip6) if address]
    return not wanted or any(address in addresses for address in wanted)
