"""The client goes away at any moment: nothing is done twice, nothing is left behind."""

from __future__ import annotations

import asyncio
import socket
import struct
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.rules.types import Envelope, Reply
from tests.gateway.accept.house import Dialogue, FakeGatekeeper, open_house, run
from tests.gateway.accept.scripts import BOTH_LOOPS, DATA, QUIT, logged_in, until, waiting_connection


@BOTH_LOOPS
@pytest.mark.parametrize("implicit_tls", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("way", ["close", "reset"])
def test_hanging_up_after_the_dot_does_not_cancel_the_commit(
    tmp_path: Path, loop: str, implicit_tls: bool, way: str
) -> None:
    """And the client, which has read no 250 and sends the message again, does not double it."""
    keeper = FakeGatekeeper()
    keeper.policy = type(keeper.policy)(networks=((ip_network("127.0.0.0/8"), 1),))
    begun, go_on, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(envelope: Envelope) -> Reply:
        begun.set()
        await go_on.wait()
        reply = keeper.take(envelope)
        finished.set()
        return reply

    keeper.on_receive = slow

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            dialogue = await house.connect(implicit_tls=implicit_tls)
            await dialogue.play("S: 220 relay.test ESMTP\nC: EHLO x\nS> ehlo\n" + DATA)
            await dialogue.send(b"once\r\n.\r\n")
            await asyncio.wait_for(begun.wait(), 5)
            await leave(dialogue, way)
            go_on.set()
            await asyncio.wait_for(finished.wait(), 5)
            await until(lambda: house.servers.connections == 0)
            assert len(keeper.envelopes) == 1
            again = f"S: 220 relay.test ESMTP\nC: EHLO x\nS> ehlo\n{DATA}C! once\\r\\n.\\r\\n\n"
            await house.play(f"{again}S: 250 2.0.0 Ok: queued as m1\n{QUIT}", implicit_tls=implicit_tls)
            await house.play(f"{again}S: 250 2.0.0 Ok: queued as m2\n{QUIT}", implicit_tls=implicit_tls)

    run(main(), loop)
    assert keeper.ended == [True, False, True]


async def leave(dialogue: Dialogue, way: str) -> None:
    sock = dialogue.writer.get_extra_info("socket")
    if way == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        dialogue.writer.transport.abort()
    else:
        dialogue.writer.close()
    for _ in range(20):  # let both ends notice
        await asyncio.sleep(0.005)


def test_a_message_whose_client_is_gone_before_we_begin_is_left_to_it(tmp_path: Path) -> None:
    """No 250 was given and none can be: the client keeps the message, so taking it would double it."""
    keeper = FakeGatekeeper()

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            dialogue = await logged_in(house)
            await dialogue.play(DATA)
            connection = await waiting_connection(house)
            connection.data_received(b"x\r\n.\r\n")
            connection.connection_lost(None)  # in the same turn of the loop
            await until(lambda: house.servers.connections == 0)
            await dialogue.close()

    run(main())
    assert keeper.envelopes == []
    assert keeper.ended == [False]


@BOTH_LOOPS
def test_a_half_closed_client_gets_its_answers(tmp_path: Path, loop: str) -> None:
    """`printf ... | nc`: it has said all it wants and still listens."""
    keeper = FakeGatekeeper()
    keeper.policy = type(keeper.policy)(networks=((ip_network("127.0.0.0/8"), 1),))

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:

            async def after_the_end(envelope: Envelope) -> Reply:
                (connection,) = house.servers._house.connections
                await until(lambda: connection.inbox.at_eof)
                return keeper.take(envelope)

            keeper.on_receive = after_the_end
            dialogue = await house.connect()
            await dialogue.send(
                b"EHLO x\r\nMAIL FROM:<a@acme.example>\r\nRCPT TO:<b@globex.example>\r\nDATA\r\nhi\r\n.\r\n"
            )
            dialogue.writer.write_eof()
            answer = (await dialogue.rest()).decode()
            assert answer.endswith("250 2.0.0 Ok: queued as m1\r\n")
            await dialogue.close()

    run(main(), loop)


@BOTH_LOOPS
@pytest.mark.parametrize(
    "script", ["", "C: MAIL FROM:<a@acme.example>\nS: 250 2.1.0 Ok\n", DATA + "C! half\n"]
)
def test_going_away_at_any_time_leaves_nothing_behind(tmp_path: Path, loop: str, script: str) -> None:
    keeper = FakeGatekeeper()

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            dialogue = await logged_in(house)
            await dialogue.play(script)
            dialogue.writer.transport.abort()
            await until(lambda: house.servers.connections == 0)
            assert not house.servers._house.count._by_client
            assert house.servers._house.count.total == 0

    run(main(), loop)
    assert keeper.ended == ([False] if script else [])
    assert not keeper.envelopes
