from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fake_next_hop import FakeNextHop
from tests.gateway.deliver.helpers import Sending


@pytest.fixture
async def hop() -> AsyncIterator[FakeNextHop]:
    async with FakeNextHop() as running:
        yield running


@pytest.fixture
async def sending() -> AsyncIterator[Sending]:
    made = Sending()
    yield made
    made.deliverer.close()
