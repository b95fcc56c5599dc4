"""Who is served next: fairness, adaptive concurrency, dead destinations, and the orderly end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway import scheduler as module
from gateway import store
from gateway.rules.policy import GatewayPolicy, ShapingPolicy, Snapshot
from gateway.rules.types import Address, Category, Outcome, Pool, Reply, Stage, State
from gateway.scheduler import Lane, Scheduler
from gateway.work import Mail, OpenRecipient, Parcel, Tried

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
GOOD1 = GatewayPolicy(1, "good1", Pool.GOOD, "good1.smg.example")
GOOD2 = GatewayPolicy(2, "good2", Pool.GOOD, "good2.smg.example")
BAD = GatewayPolicy(3, "bad1", Pool.BAD, "bad1.smg.example")


class FakeDatabase:
    """Notes what would be written."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Any]] = []

    async def write(self, handler: Callable[..., Any], payload: Any, *, patient: bool = False) -> Any:
        self.written.append((handler.__name__, payload))
        return store.Claimed([], None) if handler is store.claim else 0

    async def read(self, function: Callable[..., Any], *args: Any) -> Any:
        return []

    def given_back(self) -> list[int]:
        return [one for name, payload in self.written if name == "postpone" for one in payload[0]]


class World:
    """A scheduler whose `send` answers when told."""

    def __init__(self, *gateways: GatewayPolicy, shaping: ShapingPolicy | None = None) -> None:
        ways = gateways or (GOOD1, BAD)
        self.snapshot = Snapshot(
            gateways={one.id: one for one in ways}, shaping={shaping.destination: shaping} if shaping else {}
        )
        self.database = FakeDatabase()
        self.sent: list[tuple[int, int | None, str]] = []  # gateway, customer, domain
        self.answers: list[asyncio.Future[list[Outcome]]] = []
        self.written = asyncio.Event()  # outcomes are written at once, unless a test clears it
        self.written.set()
        self.clock = 1000.0
        self.scheduler = Scheduler(
            self.database, self.send, lambda: self.snapshot, lambda: set(self.snapshot.gateways),  # type: ignore[arg-type]
            owner="me", processes=1, utc_now=lambda: NOW, monotonic=lambda: self.clock, rng=random.Random(1),
        )  # fmt: skip

    async def send(self, snapshot: Snapshot, parcel: Parcel, gateway: GatewayPolicy, tried: Tried) -> None:
        self.sent.append((gateway.id, parcel.mail.customer_id, parcel.domain))
        answer: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        tried(await answer)
        await self.written.wait()

    async def answer(self, state: State, stage: Stage = Stage.DOT, number: int = 1) -> None:
        for _ in range(number):
            self.answers.pop(0).set_result([Outcome(1, state, Reply(250, "", ""), stage, NOW)])
            await settle()


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def parcel(
    customer: int = 1, domain: str = "partner.example", pool: Pool = Pool.GOOD, size: int = 1000
) -> Parcel:
    mail = Mail(1, "customer", customer, None, pool, Category.CLEAN, NOW, size, b"")
    return Parcel(mail, domain, [OpenRecipient(1, Address("x", domain), 0, NOW + timedelta(days=5))])


async def test_clean_and_spam_never_share_a_gateway() -> None:
    world = World()
    world.scheduler.offer([parcel(), parcel(pool=Pool.BAD)])
    await settle()
    assert sorted(gateway for gateway, _, _ in world.sent) == [1, 3]


async def test_without_a_gateway_of_the_pool_mail_waits() -> None:
    world = World(BAD)
    world.scheduler.offer([parcel()])
    await settle()
    assert (world.sent, world.database.given_back()) == ([], [1])


async def test_one_customers_flood_does_not_delay_anothers_single_mail() -> None:
    world = World()
    world.scheduler.offer([parcel(customer=1) for _ in range(100)])
    world.scheduler.offer([parcel(customer=2)])
    await settle()
    assert len(world.sent) == module.START_LIMIT
    await world.answer(State.DELIVERED, number=2)
    assert 2 in [customer for _, customer, _ in world.sent]


async def test_the_next_is_sent_while_outcomes_are_written() -> None:
    world = World()
    world.written.clear()
    world.scheduler.offer([parcel() for _ in range(20)])
    await settle()
    await world.answer(State.DELIVERED, number=5)
    assert len(world.sent) > module.START_LIMIT
    assert world.scheduler.numbers["running"] == len(world.sent)  # the written-off ones are still under way
    world.written.set()
    await settle()
    assert world.scheduler.numbers["running"] == len(world.sent) - 5


async def test_not_too_much_is_delivered_without_being_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNSETTLED", 3)
    world = World(shaping=ShapingPolicy("partner.example", max_connections=2))
    world.written.clear()
    world.scheduler.offer([parcel() for _ in range(20)])
    await settle()
    while world.answers:
        await world.answer(State.DELIVERED)
    assert len(world.sent) == 5  # three whose place was free again, and the two that keep theirs
    world.written.set()
    await settle()
    assert len(world.sent) == 7
    assert world.scheduler.numbers["running"] == 2


async def test_no_customer_takes_all_places() -> None:
    world = World()
    flood = [parcel(customer=1, domain=f"d{number}.example") for number in range(module.MAX_RUNNING + 50)]
    world.scheduler.offer(flood)
    await settle()
    assert len(world.sent) == module.MAX_RUNNING // 2
    world.scheduler.offer([parcel(customer=2, domain="live.example")])
    await settle()
    assert world.sent[-1] == (1, 2, "live.example")


async def test_concurrency_grows_with_success() -> None:
    world = World()
    world.scheduler.offer([parcel() for _ in range(300)])
    await settle()
    await world.answer(State.DELIVERED, number=60)
    assert len(world.answers) > module.START_LIMIT
    assert len(world.answers) <= ShapingPolicy("*").max_connections


async def test_a_destination_that_defers_is_treated_gently() -> None:
    world = World()
    world.scheduler.offer([parcel() for _ in range(30)])
    await settle()
    await world.answer(State.QUEUED, Stage.RCPT, number=4)
    assert len(world.answers) == 1


async def test_a_dead_destination_is_left_alone_and_its_mail_goes_back() -> None:
    world = World()
    world.scheduler.offer([parcel() for _ in range(30)])
    await settle()
    await world.answer(State.QUEUED, Stage.CONNECT, number=module.BREAKER_FAILURES)
    started = len(world.sent)
    assert len(world.database.given_back()) == 30 - started
    assert "postpone_domain" in [name for name, _ in world.database.written]
    world.scheduler.offer([parcel(domain="live.example")])
    await settle()
    assert world.sent[-1][2] == "live.example"


async def test_attempts_that_fail_together_are_one_sign_of_trouble() -> None:
    world = World()
    world.scheduler.offer([parcel() for _ in range(30)])
    await settle()
    closed = []
    for _ in range(module.BREAKER_FAILURES):
        world.clock += 1
        await world.answer(State.QUEUED, Stage.CONNECT, number=len(world.answers))
        closed.append(world.scheduler.numbers["closed_lanes"])
    assert closed == [0, 0, 0, 1]


async def test_another_gateway_of_the_pool_is_used_when_one_does_not_get_through() -> None:
    world = World(GOOD1, GOOD2)
    lane = world.scheduler._lanes.setdefault((1, "partner.example"), Lane(1, "partner.example"))
    lane.closed_until = world.clock + 60
    world.scheduler.offer([parcel() for _ in range(3)])
    await settle()
    assert {gateway for gateway, _, _ in world.sent} == {2}


async def test_a_closed_destination_gets_one_probe_when_its_time_is_over() -> None:
    world = World()
    world.scheduler.offer([parcel() for _ in range(5)])
    await settle()
    await world.answer(State.QUEUED, Stage.CONNECT, number=5)
    world.sent.clear()
    world.clock += module.BREAKER_MAX_S
    world.scheduler.offer([parcel() for _ in range(5)])
    await settle()
    assert len(world.sent) == 1


async def test_support_can_shape_a_destination() -> None:
    world = World(shaping=ShapingPolicy("partner.example", max_connections=2, messages_per_minute=3))
    world.scheduler.offer([parcel() for _ in range(10)])
    await settle()
    assert len(world.sent) == 2
    await world.answer(State.DELIVERED, number=2)
    assert len(world.sent) == 3
    world.clock += 61
    world.scheduler.tick()
    await settle()
    assert len(world.sent) == 4


async def test_a_drained_gateway_gets_nothing_new() -> None:
    world = World()
    world.scheduler.offer([parcel() for _ in range(10)])
    await settle()
    world.snapshot = replace(world.snapshot, gateways={1: replace(GOOD1, drained=True), 3: BAD})
    await world.answer(State.DELIVERED, number=5)
    assert len(world.sent) == module.START_LIMIT
    assert world.database.given_back() == [1] * 5


@pytest.mark.parametrize(
    ("waiting", "customer", "room"),
    [
        ([(1, 1000)] * 10, 1, True),
        ([(1, 1000)] * (module.MAX_WAITING // 2), 1, False),
        ([(1, 1000)] * (module.MAX_WAITING // 2), 2, True),
        ([(1, module.MAX_WAITING_BYTES // 2)], 1, False),
        ([(1, module.MAX_WAITING_BYTES // 2)], 2, True),
    ],
)
async def test_memory_is_bounded_and_shared(
    waiting: Sequence[tuple[int, int]], customer: int, room: bool
) -> None:
    world = World()
    world.scheduler.offer([parcel(customer=one, size=size) for one, size in waiting])
    assert world.scheduler.has_room(customer, 1000) is room


async def test_an_unexpected_error_gives_the_parcel_back() -> None:
    world = World()
    world.scheduler.offer([parcel()])
    await settle()
    world.answers.pop().set_exception(RuntimeError("boom"))
    await settle()
    assert world.database.given_back() == [1]
    assert world.scheduler.numbers["running"] == world.scheduler.numbers["waiting"] == 0


async def test_stop_starts_nothing_new_and_finishes_what_runs() -> None:
    world = World()
    world.scheduler.offer([parcel() for _ in range(10)])
    await settle()
    stopping = asyncio.ensure_future(world.scheduler.stop(5))
    await settle()
    for answer in world.answers:
        answer.set_result([Outcome(1, State.DELIVERED, Reply(250, "", ""), Stage.DOT, NOW)])
    await stopping
    assert len(world.sent) == module.START_LIMIT
    assert not world.scheduler.has_room(1, 1)


def renewed(database: FakeDatabase) -> list[list[int]]:
    return [payload[1] for name, payload in database.written if name == "renew_leases"]


async def test_only_the_leases_of_what_is_in_memory_are_renewed() -> None:
    """A lease that nobody remembers has to run out."""
    world = World()
    await world.scheduler.renew()
    assert renewed(world.database) == []
    world.scheduler.offer([parcel()])
    await settle()
    await world.scheduler.renew()
    assert renewed(world.database) == [[1]]
    await world.answer(State.DELIVERED)
    await world.scheduler.renew()
    assert renewed(world.database) == [[1]]


async def test_what_was_claimed_but_cannot_be_loaded_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    async def claimed(handler: Callable[..., Any], payload: Any, *, patient: bool = False) -> Any:
        world.database.written.append((handler.__name__, payload))
        return store.Claimed([7, 8], None) if handler is store.claim else None

    async def away(function: Callable[..., Any], *args: Any) -> Any:
        raise OSError("connection lost")

    monkeypatch.setattr(world.database, "write", claimed)
    monkeypatch.setattr(world.database, "read", away)
    with pytest.raises(OSError, match="connection lost"):
        await world.scheduler.claim()
    await settle()
    assert world.database.given_back() == [7, 8]


async def test_a_slow_destination_does_not_fill_the_memory_with_what_all_send_to_it() -> None:
    world = World()
    number = module.MAX_WAITING // 8
    world.scheduler.offer([parcel(customer=place, domain="slow.example") for place in range(number + 5)])
    await world.scheduler.claim()
    request = next(payload for name, payload in world.database.written if name == "claim")
    assert (request.not_domains, request.not_customers) == (("slow.example",), ())


async def test_a_claim_that_saw_only_what_nobody_wants_goes_on_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(GOOD1)  # this node has no way for the other pool
    place, asked = (NOW, 7), []

    async def claimed(handler: Callable[..., Any], payload: Any, *, patient: bool = False) -> Any:
        asked.append(payload.after)
        return store.Claimed([], place)

    monkeypatch.setattr(world.database, "write", claimed)
    assert [await world.scheduler.claim(), await world.scheduler.claim()] == [True, False]
    assert asked == [None, place]
