"""The orderly end: what has begun is finished, and nothing waits for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.rules.types import Envelope, Reply
from gateway.smtp import connection
from tests.gateway.accept.house import FakeGatekeeper, open_house, run
from tests.gateway.accept.scripts import BOTH_LOOPS, DATA, ENVELOPE, LOGGED_IN, logged_in

FAREWELL = "S: 421 4.3.2 Service shutting down, try again later\nEND\n"
AFTER_TLS = LOGGED_IN.replace("S: 220 relay.test ESMTP\n", "")


@BOTH_LOOPS
def test_an_orderly_stop(tmp_path: Path, loop: str) -> None:
    keeper = FakeGatekeeper()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(envelope: Envelope) -> Reply:
        begun.set()
        await go_on.wait()
        return keeper.take(envelope)

    keeper.on_receive = slow

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            idle, busy, between = await house.connect(), await logged_in(house), await logged_in(house)
            await idle.line()
            await busy.play(DATA)
            await between.play(ENVELOPE)
            await busy.send(b"x\r\n.\r\n")
            await begun.wait()
            stopping = asyncio.create_task(house.servers.drain(5))
            await idle.play(FAREWELL)
            with pytest.raises(OSError):
                await house.connect()
            go_on.set()
            await busy.play(f"S: 250 2.0.0 Ok: queued as m1\n{FAREWELL}")
            await between.play(f"C: RSET\nS: 250 2.0.0 Ok\n{FAREWELL}")
            assert await stopping == 0
            for dialogue in (idle, busy, between):
                await dialogue.close()

    run(main(), loop)


def test_a_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_house(tmp_path) as house:
            dialogue = await logged_in(house)
            await dialogue.play(ENVELOPE)
            assert await house.servers.drain(0.05) == 1
            assert await dialogue.rest() == b""
            await dialogue.close()

    run(main())


@BOTH_LOOPS
def test_who_came_just_before_the_stop_may_hand_one_message_over(tmp_path: Path, loop: str) -> None:
    async def main() -> None:
        async with open_house(tmp_path) as house:
            newcomer = await house.connect()
            await newcomer.line()
            stopping = asyncio.create_task(house.servers.drain(5))
            await asyncio.sleep(0)
            await newcomer.play(
                "C: EHLO mail.acme.example\nS> ehlo\nC: STARTTLS\nS: 220 2.0.0 Ready to start TLS\nTLS"
            )
            await newcomer.play(AFTER_TLS + DATA + f"C: x\nC: .\nS: 250 2.0.0 Ok: queued as m1\n{FAREWELL}")
            assert await stopping == 0
            await newcomer.close()

    run(main(), loop)


def test_a_newcomer_that_waits_is_told_to_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "NEWCOMER_S", 0.3)

    async def main() -> None:
        async with open_house(tmp_path) as house:
            idle, begun = await house.connect(implicit_tls=True), await logged_in(house)
            await idle.line()
            stopping = asyncio.create_task(house.servers.drain(5))
            await asyncio.sleep(0)
            await begun.play(DATA)
            await idle.play(FAREWELL)
            await begun.play(f"C: x\nC: .\nS: 250 2.0.0 Ok: queued as m1\n{FAREWELL}")
            assert await stopping == 0
            for dialogue in (idle, begun):
                await dialogue.close()

    run(main())


def test_who_has_sent_a_message_or_is_here_for_long_is_no_newcomer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with open_house(tmp_path) as house:
            early = await logged_in(house)
            await asyncio.sleep(0.05)
            monkeypatch.setattr(connection, "NEWCOMER_S", 0.05)
            stopping = asyncio.create_task(house.servers.drain(5))
            await early.play(FAREWELL)
            assert await stopping == 0
            await early.close()
        monkeypatch.setattr(connection, "NEWCOMER_S", 3600.0)
        async with open_house(tmp_path) as house:
            sender = await logged_in(house)
            await sender.play(DATA + "C: x\nC: .\nS: 250 2.0.0 Ok: queued as m1\n")
            stopping = asyncio.create_task(house.servers.drain(5))
            await sender.play(FAREWELL)
            assert await stopping == 0
            await sender.close()

    run(main())
