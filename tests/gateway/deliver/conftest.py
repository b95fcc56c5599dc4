from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop

from tests.fake_next_hop import FakeNextHop
from tests.gateway.deliver.helpers import QUICK, Sending


@pytest.fixture
async def hop() -> AsyncIterator[FakeNextHop]:
    async with FakeNextHop() as running:
        yield running


@pytest.fixture
async def sending() -> AsyncIterator[Sending]:
    made = Sending()
    yield made
    made.deliverer.close()


@pytest.fixture
async def impatient() -> AsyncIterator[Sending]:
    made = Sending(QUICK)
    yield made
    made.deliverer.close()


@pytest.fixture(params=["asyncio", "uvloop"], scope="module")
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """The relay runs on uvloop where it is there, and must do so without."""
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()
