"""The end of a relay process: what works periodically ends, whatever it was waiting for."""

from __future__ import annotations

import asyncio

import pytest

from gateway.relay import end_all


async def ask(answer: asyncio.Future[None], began: asyncio.Event) -> None:
    """As a look-up of dnspython in periodic work: an answer with a deadline, then a long pause."""
    began.set()
    await asyncio.wait_for(answer, 60)
    await asyncio.sleep(3600)


@pytest.mark.parametrize("is_answered", [True, False])
async def test_an_answer_at_the_moment_of_the_end_does_not_keep_it(is_answered: bool) -> None:
    answer = asyncio.get_running_loop().create_future()
    began = asyncio.Event()
    task = asyncio.ensure_future(ask(answer, began))
    await began.wait()
    await asyncio.sleep(0)  # now it waits
    if is_answered:
        answer.set_result(None)
    async with asyncio.timeout(10):
        await end_all([task])
    assert task.cancelled()


async def test_what_has_failed_before_is_no_obstacle() -> None:
    async def fail() -> None:
        raise RuntimeError("gone")

    task = asyncio.ensure_future(fail())
    await end_all([task])
    assert task.done()


async def test_nothing_to_end() -> None:
    await end_all([])
