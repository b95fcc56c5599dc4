"""Clean mail never by Bad, spam never by Good; drained and barred gateways are passed over."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.gateways import choose, sendable_here, usable
from gateway.rules.policy import GatewayPolicy, Snapshot
from gateway.rules.types import Pool

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def gateway(number: int, pool: Pool = Pool.GOOD, **values: object) -> GatewayPolicy:
    return GatewayPolicy(number, f"mta{number}", pool, f"mta{number}.smg.example", **values)  # type: ignore[arg-type]


def snapshot(*gateways: GatewayPolicy, bars: dict[tuple[int, str], datetime] | None = None) -> Snapshot:
    return Snapshot(gateways={one.id: one for one in gateways}, bars=bars or {})


@given(st.lists(st.tuples(st.sampled_from(Pool), st.booleans()), max_size=6), st.sampled_from(Pool))
def test_the_pool_is_never_left(ways: list[tuple[Pool, bool]], pool: Pool) -> None:
    known = snapshot(*(gateway(number, way, drained=drained) for number, (way, drained) in enumerate(ways)))
    found = usable(known, pool, "partner.example", NOW, None)
    assert all(one.pool is pool and not one.drained for one in found)


def test_a_barred_gateway_waits_for_that_destination_alone() -> None:
    known = snapshot(gateway(1), gateway(2), bars={(1, "partner.example"): NOW + timedelta(hours=1)})
    assert [one.id for one in usable(known, Pool.GOOD, "partner.example", NOW, None)] == [2]
    assert [one.id for one in usable(known, Pool.GOOD, "other.example", NOW, None)] == [1, 2]
    assert [
        one.id for one in usable(known, Pool.GOOD, "partner.example", NOW + timedelta(hours=1), None)
    ] == [1, 2]


def test_only_what_this_node_can_send_by() -> None:
    assert [one.id for one in usable(snapshot(gateway(1), gateway(2)), Pool.GOOD, "x.example", NOW, {2})] == [
        2
    ]


def test_weights_share_the_mail() -> None:
    rng = random.Random(1)
    counts = Counter(choose([gateway(1, weight=3), gateway(2)], rng).id for _ in range(4000))  # type: ignore[union-attr]
    assert 2.5 < counts[1] / counts[2] < 3.5
    assert choose([], rng) is None


@pytest.mark.parametrize(
    ("values", "names", "addresses", "sendable"),
    [
        ({}, (), (), True),
        ({"source_ip": "192.0.2.1"}, (), ("192.0.2.1",), True),
        ({"source_ip": "192.0.2.1"}, (), ("192.0.2.2",), False),
        ({"source_ip": "192.0.2.1", "source_ip6": "2001:db8::1"}, (), ("2001:db8::1",), True),
        ({"source_ip": "192.0.2.1"}, ("mta1",), (), True),
        ({}, ("mta2",), (), False),
    ],
)
def test_a_gateway_is_sent_by_where_its_address_is(
    values: dict[str, str], names: tuple[str, ...], addresses: tuple[str, ...], sendable: bool
) -> None:
    assert sendable_here(gateway(1, **values), names, addresses) is sendable
