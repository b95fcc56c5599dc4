"""Hosts that answer too early, too late or never, and a delivery that is called off."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.outbound.session import Deadlines
from gateway.rules.route_types import Hop
from gateway.rules.types import Stage, State
from tests.fake_next_hop import STALL, FakeNextHop
from tests.gateway.deliver.helpers import (
    PATIENT,
    Sending,
    job,
    route,
    summary,
)


@pytest.mark.parametrize(
    ("reply", "state", "enhanced"),
    [
        ("552 5.3.4 too big", State.BOUNCED, "5.3.4"),
        ("250 2.0.0 taken", State.QUEUED, "4.5.0"),  # it cannot have taken what it does not have
    ],
)
async def test_an_early_answer_to_a_big_message(
    sending: Sending, reply: str, state: State, enhanced: str
) -> None:
    """The host answers while we are still sending and hangs up: its reply counts, not the broken pipe."""

    async def answer_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        await reader.readline()
        writer.write(b"250 x\r\n")
        for polite in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            await reader.readline()
            writer.write(polite)
        await reader.read(100_000)
        writer.write(reply.encode() + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()

    server = await asyncio.start_server(answer_early, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    outcome = await sending.one(job(body=b"x" * 30_000_000 + b"\r\n"), route(Hop("mx", port, ("127.0.0.1",))))
    server.close()
    assert (outcome.state, outcome.reply.enhanced) == (state, enhanced)


async def test_a_reply_too_many_before_the_message_is_no_receipt(hop: FakeNextHop, sending: Sending) -> None:
    hop.say("DATA", b"354 go\r\n250 2.0.0 taken\r\n", "354 go")
    outcome = await sending.one(job(), route(hop))
    assert (outcome.state, outcome.reply.enhanced) == (State.QUEUED, "4.5.0")
    assert (await sending.one(job(), route(hop))).state is State.DELIVERED
    assert hop.connections == 2


async def test_a_host_that_stops_reading_is_given_up(impatient: Sending) -> None:
    async def stop_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        await reader.readline()
        writer.write(b"250-x\r\n250 PIPELINING\r\n")
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(3)

    server = await asyncio.start_server(stop_reading, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    outcome = await impatient.one(
        job(body=b"x" * 30_000_000 + b"\r\n"), route(Hop("mx", port, ("127.0.0.1",)))
    )
    server.close()
    assert summary(outcome) == (State.QUEUED, 421, "timeout", Stage.DOT)


async def test_a_host_that_drips_is_given_up_in_the_end(hop: FakeNextHop) -> None:
    """Every reply comes in time, every stage makes progress, and it would still never end."""
    hop.features = ()
    hop.delay_s = 0.1
    sending = Sending(replace(PATIENT, transaction=0.5))
    recipients = [f"r{number}@partner.example" for number in range(50)]
    outcomes = await sending(job(*recipients), route(hop))
    assert {summary(outcome) for outcome in outcomes} == {(State.QUEUED, 421, "timeout", Stage.RCPT)}
    assert "not finished within" in outcomes[0].reply.text
    assert hop.messages == []
    assert sending.pool.idle_count == 0


async def test_a_host_that_takes_the_message_a_little_at_a_time_is_given_up() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        await reader.readline()
        writer.write(b"250-x\r\n250 PIPELINING\r\n")
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
        while await reader.read(50_000):
            await asyncio.sleep(0.05)

    server = await asyncio.start_server(drip, "127.0.0.1", 0, limit=50_000)
    port = server.sockets[0].getsockname()[1]
    sending = Sending(replace(PATIENT, transaction=1))
    where = route(Hop("mx", port, ("127.0.0.1",)))
    outcome = await sending.one(job(body=b"x" * 30_000_000 + b"\r\n"), where)
    server.close()
    assert summary(outcome) == (State.QUEUED, 421, "timeout", Stage.DOT)


async def test_a_cancelled_delivery_leaves_no_connection(hop: FakeNextHop) -> None:
    sending = Sending(Deadlines())
    hop.say("DOT", STALL)
    task = asyncio.create_task(sending.one(job(), route(hop)))
    while not hop.commands or hop.commands[-1] != "DATA":
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sending.pool.idle_count == 0


async def test_an_unexpected_error_is_temporary(
    hop: FakeNextHop, sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.deliver.needs_smtputf8", lambda *_: 1 / 0)
    hop.features = ()
    outcome = await sending.one(job(smtputf8=True), route(hop))
    assert (outcome.state, str(outcome.reply)) == (State.QUEUED, "451 4.3.0 Internal error while delivering")
