"""What is held or cancelled while it waits in a process's memory is not sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway import store
from gateway.rules.policy import GatewayPolicy, Snapshot
from gateway.rules.types import Address, Category, Pool
from gateway.scheduler import Lane, Scheduler, Turn
from gateway.work import Mail, OpenRecipient, Parcel, Tried

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
GATEWAY = GatewayPolicy(1, "good1", Pool.GOOD, "good1.smg.example")


class House:
    """A scheduler, its policy, and what it sent."""

    def __init__(self) -> None:
        self.snapshot = Snapshot(version=7, gateways={1: GATEWAY})
        self.leased: set[int] = {1, 2}
        self.looks = 0
        self.sent: list[list[int]] = []
        self.scheduler = Scheduler(
            self, self.send, lambda: self.snapshot, lambda: {1}, owner="me", processes=1,
            utc_now=lambda: NOW, monotonic=lambda: 0.0,
        )  # type: ignore[arg-type]  # fmt: skip

    async def read(self, function: Callable[..., Any], ids: list[int], owner: str) -> set[int]:
        assert (function, owner) == (store.still_leased, "me")
        self.looks += 1
        return self.leased & set(ids)

    async def send(self, _snapshot: Snapshot, parcel: Parcel, _gateway: GatewayPolicy, tried: Tried) -> None:
        self.sent.append(parcel.recipient_ids)
        tried([])


def parcel() -> Parcel:
    mail = Mail(9, "customer", 1, None, Pool.GOOD, Category.CLEAN, NOW, 100, b"")
    recipients = [
        OpenRecipient(number, Address("a", "b.example"), 0, NOW + timedelta(days=5)) for number in (1, 2)
    ]
    return Parcel(mail, "b.example", recipients, policy=7)


@pytest.mark.parametrize(
    ("version", "leased", "sent", "looks"),
    [
        pytest.param(7, set(), [[1, 2]], 0, id="nothing changed: nobody is asked"),
        pytest.param(8, {1, 2}, [[1, 2]], 1, id="something else changed"),
        pytest.param(8, {2}, [[2]], 1, id="one recipient was cancelled"),
        pytest.param(8, set(), [], 1, id="all are held"),
    ],
)
async def test_a_changed_policy_makes_it_look_again(
    version: int, leased: set[int], sent: list[list[int]], looks: int
) -> None:
    house = House()
    house.snapshot, house.leased = replace(house.snapshot, version=version), leased
    await house.scheduler._attempt(Turn(Lane(1, "b.example"), 0.0), parcel())
    assert (house.sent, house.looks) == (sent, looks)


async def test_what_comes_in_remembers_the_policy() -> None:
    house = House()
    offered = replace(parcel(), policy=0)
    house.scheduler.offer([offered])
    assert offered.policy == 7
    await house.scheduler.stop(1)
    assert house.sent == [[1, 2]]
