"""Connections are kept for the next message, and replaced when they have died."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.rules.types import State
from tests.fake_next_hop import DROP, FakeNextHop
from tests.gateway.deliver.helpers import (
    GATEWAY,
    ONE_BY_ONE,
    Sending,
    job,
    route,
)


async def test_connections_are_reused_up_to_the_limit(hop: FakeNextHop, sending: Sending) -> None:
    for _ in range(7):
        await sending.one(job(), route(hop), messages_per_connection=3)
    assert hop.connections == 3
    assert len(hop.messages) == 7


async def test_another_gateway_or_demand_gets_its_own_connection(hop: FakeNextHop, sending: Sending) -> None:
    await sending.one(job(), route(hop))
    await sending.one(job(), route(hop, gateway=replace(GATEWAY, id=2)))
    await sending.one(job(), route(hop, gateway=replace(GATEWAY, hostname="new.smg.example")))
    assert hop.connections == 3


@pytest.mark.parametrize("features", [("PIPELINING",), ONE_BY_ONE])
async def test_an_idle_connection_that_was_closed_is_replaced(
    hop: FakeNextHop, sending: Sending, features: tuple[str, ...]
) -> None:
    hop.features = features
    await sending.one(job(), route(hop))
    await hop.drop_all()
    assert (await sending.one(job(), route(hop))).state is State.DELIVERED
    assert (hop.connections, len(hop.messages)) == (2, 2)


@pytest.mark.parametrize("farewell", ["421 4.4.2 idle too long", DROP])
@pytest.mark.parametrize("features", [("PIPELINING",), ONE_BY_ONE])
async def test_a_kept_connection_that_dies_at_mail_costs_nothing(
    hop: FakeNextHop, sending: Sending, features: tuple[str, ...], farewell: str
) -> None:
    hop.features = features
    await sending.one(job(), route(hop))
    hop.say("MAIL", farewell, "250 ok")
    assert (await sending.one(job(), route(hop))).state is State.DELIVERED
    assert (hop.connections, len(hop.messages)) == (2, 2)


async def test_unasked_words_while_idle_end_the_connection(hop: FakeNextHop, sending: Sending) -> None:
    await sending.one(job(), route(hop))
    (writer,) = hop.writers
    writer.write(b"250 surprise\r\n")
    await writer.drain()
    await asyncio.sleep(0.02)
    assert (await sending.one(job(), route(hop))).state is State.DELIVERED
    assert hop.connections == 2


async def test_idle_connections_are_closed(hop: FakeNextHop) -> None:
    sending = Sending(idle_s=0.05)
    await sending.one(job(), route(hop))
    assert sending.pool.idle_count == 1
    for _ in range(100):
        if "QUIT" in hop.commands:
            break
        await asyncio.sleep(0.02)
    assert sending.pool.idle_count == 0
    assert hop.commands[-1] == "QUIT"


async def test_closing_ends_everything(hop: FakeNextHop, sending: Sending) -> None:
    await sending.one(job(), route(hop))
    sending.deliverer.close()
    await sending.one(job(), route(hop))
    assert sending.pool.idle_count == 0


async def test_many_at_once(hop: FakeNextHop) -> None:
    sending = Sending(max_idle_per_key=5)
    results = await asyncio.gather(*(sending.one(job(), route(hop)) for _ in range(50)))
    assert all(one.state is State.DELIVERED for one in results)
    assert len(hop.messages) == 50
    assert sending.pool.idle_count == 5
