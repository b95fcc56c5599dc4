"""The end of a relay process: what works periodically ends, whatever it was waiting for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from gateway.relay import Relay, end_all
from tests.gateway.accept.house import make_config


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


async def test_what_is_kept_open_is_closed_when_nothing_is_under_way_any_more(tmp_path: Path) -> None:
    steps = Mock()
    steps.attach_mock(servers := Mock(drain=AsyncMock()), "servers")
    for name, part in (parts := stoppable_parts()).__dict__.items():
        steps.attach_mock(part, name)
    relay = Relay(make_config(tmp_path))
    relay.parts, relay.servers = parts, servers
    await relay.stop()
    assert [step[0] for step in steps.mock_calls] == [
        "servers.drain",
        "scheduler.stop",
        "gatekeeper.drain",
        "deliverer.close",
        "scanner.close",
        "database.write",
        "database.stop",
    ]


def stoppable_parts() -> Any:
    return SimpleNamespace(
        scheduler=Mock(stop=AsyncMock()),
        gatekeeper=Mock(drain=AsyncMock()),
        deliverer=Mock(),
        scanner=Mock(),
        database=Mock(write=AsyncMock()),
    )
