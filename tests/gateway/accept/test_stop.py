"""The orderly end: what has begun is finished, and nothing waits for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.rules.types import Envelope, Reply
from tests.gateway.accept.house import FakeGatekeeper, open_house, run
from tests.gateway.accept.scripts import BOTH_LOOPS, DATA, ENVELOPE, logged_in


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
            await idle.play("S: 421 4.3.2 Service shutting down, try again later\nEND")
            with pytest.raises(OSError):
                await house.connect()
            go_on.set()
            await busy.play(
                "S: 250 2.0.0 Ok: queued as m1\nS: 421 4.3.2 Service shutting down, try again later\nEND"
            )
            await between.play(
                "C: RSET\nS: 250 2.0.0 Ok\nS: 421 4.3.2 Service shutting down, try again later\nEND"
            )
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
