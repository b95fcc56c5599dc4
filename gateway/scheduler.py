"""Who is served next: lanes per (gateway, destination), fair between customers, with bounded concurrency.

Accepted mail comes in from memory, deferred mail from the database as far as there is room. A lane's concurrency grows
with success and halves with failure; a destination that only fails is left alone for a while (circuit breaker), and
everything due for it waits in the database without being loaded.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from gateway import store
from gateway.db import Database, write_surely
from gateway.queue import mail_from_row
from gateway.rules.front import Front
from gateway.rules.gateways import choose, usable
from gateway.rules.policy import GatewayPolicy, ShapingPolicy, Snapshot
from gateway.rules.types import Outcome, Pool, Stage, State
from gateway.work import Mail, OpenRecipient, Parcel, Tried, recipient_from_row, split_by_domain

log = logging.getLogger(__name__)

MAX_RUNNING = 200  # parcels on their way at once, per process
MAX_UNSETTLED = 40  # of them with outcomes that are not on the disk yet: a kill makes these be sent twice
MAX_WAITING = 2000  # parcels in memory
MAX_WAITING_BYTES = 64 * 1024 * 1024
START_LIMIT = 5.0
BREAKER_FAILURES = 4  # in a row, each begun after the one before it had failed
BREAKER_MIN_S = 5.0
BREAKER_MAX_S = 1800.0
BREAKER_MEMORY_S = 3600.0
STARVED_TRIES = 8
NO_GATEWAY_S = 30
CHUNK_APART = timedelta(seconds=1)
CLAIM_BATCH = 200
CLAIM_PAUSE_S = 1.0

# An attempt that ended here says something about the destination, not about the message.
UNREACHABLE = {Stage.DNS, Stage.CONNECT, Stage.BANNER, Stage.EHLO, Stage.STARTTLS, Stage.TLS, Stage.AUTH}

Send = Callable[[Snapshot, Parcel, GatewayPolicy, Tried], Awaitable[None]]


@dataclass(slots=True)
class Lane:
    """What waits for one destination by one gateway: a queue per customer, served in turns."""

    gateway_id: int
    domain: str
    limit: float = START_LIMIT
    running: int = 0
    failures: int = 0
    failed_at: float = 0.0  # the last failure that counted, monotonic
    closed_until: float = 0.0  # breaker, monotonic
    sent: deque[float] = field(default_factory=deque)  # start times within the last minute, when shaped
    queues: dict[int | None, deque[Parcel]] = field(default_factory=dict)

    def add(self, parcel: Parcel) -> None:
        self.queues.setdefault(parcel.mail.customer_id, deque()).append(parcel)

    def take(self, busy: Callable[[int | None], bool]) -> Parcel | None:
        """The next parcel of the customer whose turn it is; customers who use too much just now are passed over."""
        for customer_id in list(self.queues):
            waiting = self.queues.pop(customer_id)
            if busy(customer_id):
                self.queues[customer_id] = waiting
                continue
            parcel = waiting.popleft()
            if waiting:
                self.queues[customer_id] = waiting  # to the end: the next turn is another's
            return parcel
        return None

    def drain(self) -> list[Parcel]:
        waiting = [parcel for queue in self.queues.values() for parcel in queue]
        self.queues.clear()
        return waiting

    def may_start(self, now: float, shaping: ShapingPolicy, share: int) -> bool:
        """`share`: how many processes divide the destination's connections among them."""
        if now < self.closed_until or self.running >= min(
            self.limit, max(1, shaping.max_connections // share)
        ):
            return False
        if not shaping.messages_per_minute:
            return True
        while self.sent and self.sent[0] <= now - 60:
            self.sent.popleft()
        return len(self.sent) < max(1, shaping.messages_per_minute // share)

    def succeeded(self) -> None:
        self.limit += 1 / self.limit
        self.failures = 0
        self.closed_until = 0.0

    def failed(self, now: float, begun: float) -> None:
        """Halve the concurrency; leave the destination alone for longer with each failure in a row.

        Attempts that were under way together fail together: forty of them are still one sign of trouble, or a next hop
        that was away for a second would be left alone for half an hour.
        """
        if begun < self.failed_at:
            return
        self.limit = max(1.0, self.limit / 2)
        self.failures += 1
        self.failed_at = now
        if self.failures >= BREAKER_FAILURES:
            pause_s = min(BREAKER_MAX_S, BREAKER_MIN_S * 2 ** (self.failures - BREAKER_FAILURES))
            self.closed_until = now + pause_s


@dataclass(slots=True)
class Turn:
    """One parcel's use of a lane, from its start to the moment when the destination is free for the next."""

    lane: Lane
    begun: float  # monotonic
    is_over: bool = False
    is_tried: bool = False  # the outcomes are known; they may still have to be written


class Scheduler:
    """Decides when each parcel is sent. `send` is the pipeline's: it tells the outcomes when the destination is free,
    and returns when they are written. `ours` are the gateways this node can send by."""

    def __init__(  # noqa: PLR0913 - what time, chance and the rest of the relay are comes in from outside
        self,
        database: Database,
        send: Send,
        snapshot: Callable[[], Snapshot],
        ours: Callable[[], set[int]],
        *,
        owner: str,
        processes: int,
        utc_now: Callable[[], datetime],
        monotonic: Callable[[], float],
        rng: random.Random | None = None,
    ) -> None:
        self._database = database
        self._send = send
        self._snapshot = snapshot
        self._ours = ours
        self._owner = owner
        self._processes = processes
        self._utc_now = utc_now
        self._monotonic = monotonic
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._lanes: dict[tuple[int, str], Lane] = {}
        self._starved: dict[int, Lane] = {}  # lanes that could start but for the limits on all, by id()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: Counter[int | None] = Counter()
        self._running_total = 0
        self._unsettled = 0
        self._waiting: Counter[int | None] = Counter()
        self._waiting_bytes: Counter[int | None] = Counter()
        self._parcels: dict[int, Parcel] = {}  # all that are in memory, by id()
        self._front = Front()
        self._stopping = False

    # ---- what comes in

    def has_room(self, customer_id: int | None, size_bytes: int) -> bool:
        """Whether memory is left for one more message; a single customer gets half of it."""
        if self._stopping or not self._ours():
            return False
        return (
            self._waiting.total() < MAX_WAITING
            and self._waiting[customer_id] < MAX_WAITING // 2
            and self._waiting_bytes.total() + size_bytes <= MAX_WAITING_BYTES
            and self._waiting_bytes[customer_id] + size_bytes <= max(MAX_WAITING_BYTES // 2, size_bytes)
        )

    def offer(self, parcels: list[Parcel]) -> None:
        """Take leased parcels over; each is sent, or given back to the database."""
        stranded: list[int] = []
        for parcel in parcels:
            lane = self._lane_for(parcel)
            if lane is None:
                stranded.extend(parcel.recipient_ids)
                continue
            self._note_waiting(parcel, 1)
            parcel.policy = self._snapshot().version
            lane.add(parcel)
            self._pump(lane)
        if stranded:
            self._give_back(stranded, NO_GATEWAY_S)

    def _lane_for(self, parcel: Parcel) -> Lane | None:
        """A lane of a usable gateway, of one that reaches the destination if there is any; None without a gateway."""
        candidates = usable(self._snapshot(), parcel.mail.pool, parcel.domain, self._utc_now(), self._ours())
        gateway = choose(self._reaching(candidates, parcel.domain) or candidates, self._rng)
        if gateway is None:
            return None
        return self._lanes.setdefault((gateway.id, parcel.domain), Lane(gateway.id, parcel.domain))

    def _reaching(self, candidates: list[GatewayPolicy], domain: str) -> list[GatewayPolicy]:
        return [
            gateway for gateway in candidates if not self._is_closed(self._lanes.get((gateway.id, domain)))
        ]

    def _is_closed(self, lane: Lane | None) -> bool:
        return lane is not None and lane.closed_until > self._monotonic()

    def _note_waiting(self, parcel: Parcel, sign: int) -> None:
        if sign > 0:
            self._parcels[id(parcel)] = parcel
        else:
            self._parcels.pop(id(parcel), None)
        customer_id = parcel.mail.customer_id
        self._waiting[customer_id] += sign
        self._waiting_bytes[customer_id] += sign * parcel.mail.size_bytes

    # ---- what goes out

    def _pump(self, lane: Lane) -> None:
        shaping = self._snapshot().shaping_for(lane.domain)
        while (
            not self._stopping and lane.queues and lane.may_start(self._monotonic(), shaping, self._processes)
        ):
            parcel = lane.take(self._is_busy) if self._running_total < MAX_RUNNING else None
            if parcel is None:
                self._starved[id(lane)] = lane
                return
            self._start(lane, parcel, shaping)

    def _is_busy(self, customer_id: int | None) -> bool:
        """No customer gets more than half of what is on its way while others might want it."""
        return self._running[customer_id] >= MAX_RUNNING // 2

    def _start(self, lane: Lane, parcel: Parcel, shaping: ShapingPolicy) -> None:
        lane.running += 1
        if shaping.messages_per_minute:
            lane.sent.append(self._monotonic())
        self._running[parcel.mail.customer_id] += 1
        self._running_total += 1
        task = asyncio.ensure_future(self._serve(lane, parcel))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, lane: Lane, parcel: Parcel) -> None:
        turn = Turn(lane, self._monotonic())
        try:
            await self._attempt(turn, parcel)
        finally:
            self._unsettled -= turn.is_tried
            self._running[parcel.mail.customer_id] -= 1
            self._running_total -= 1
            self._note_waiting(parcel, -1)
            self._end_turn(turn)
        self._pump(lane)
        self._pump_starved()

    async def _attempt(self, turn: Turn, parcel: Parcel) -> None:
        """One attempt; whatever nobody expected gives the parcel back, to be tried again a little later."""
        snapshot = self._snapshot()
        gateway = snapshot.gateways.get(turn.lane.gateway_id)
        if gateway is None or gateway.drained:
            self._give_back(parcel.recipient_ids, 0)
            return
        try:
            if parcel.policy != snapshot.version and not await self._is_still_ours(parcel):
                return
            await self._send(snapshot, parcel, gateway, lambda outcomes: self._tried(turn, outcomes))
        except Exception:
            log.exception("attempt failed", extra={"message_id": parcel.mail.id, "domain": parcel.domain})
            self._give_back(parcel.recipient_ids, NO_GATEWAY_S)

    def _tried(self, turn: Turn, outcomes: list[Outcome]) -> None:
        """The next parcel need not wait until these outcomes are written, unless too many are waiting for that."""
        turn.is_tried = True
        self._unsettled += 1
        self._learn(turn.lane, outcomes, turn.begun)
        if self._unsettled <= MAX_UNSETTLED:
            self._end_turn(turn)
            self._pump(turn.lane)

    @staticmethod
    def _end_turn(turn: Turn) -> None:
        turn.lane.running -= not turn.is_over
        turn.is_over = True

    async def _is_still_ours(self, parcel: Parcel) -> bool:
        """Somebody may have held or cancelled it while it waited here; whoever does moves the policy version."""
        ours = await self._database.read(store.still_leased, parcel.recipient_ids, self._owner)
        parcel.recipients = [recipient for recipient in parcel.recipients if recipient.id in ours]
        return bool(parcel.recipients)

    def _learn(self, lane: Lane, outcomes: list[Outcome], begun: float) -> None:
        if not outcomes:
            return
        if any(outcome.state in (State.DELIVERED, State.BOUNCED) for outcome in outcomes):
            lane.succeeded()
        elif all(outcome.stage in UNREACHABLE for outcome in outcomes):
            lane.failed(self._monotonic(), begun)
            self._close_if_dead(lane)
        elif all(outcome.state == State.QUEUED for outcome in outcomes):
            lane.limit = max(1.0, lane.limit / 2)  # it talks but defers: be gentle

    def _close_if_dead(self, lane: Lane) -> None:
        """What waits for a dead destination goes to another gateway that reaches it, else back into the database."""
        if not self._is_closed(lane):
            return
        waiting = lane.drain()
        for parcel in waiting:
            self._note_waiting(parcel, -1)
        self._offer_or_wait(waiting)
        gateway = self._snapshot().gateways.get(lane.gateway_id)
        if gateway is not None and not self._reaching(self._ours_of(gateway.pool), lane.domain):
            now = self._utc_now()
            until = now + timedelta(seconds=lane.closed_until - self._monotonic())
            self._later(self._postpone_rest(gateway.pool, lane.domain, now, until))

    def _ours_of(self, pool: Pool) -> list[GatewayPolicy]:
        """This node's gateways of a pool."""
        ours = self._ours()
        return [one for one in self._snapshot().gateways.values() if one.pool == pool and one.id in ours]

    async def _postpone_rest(self, pool: Pool, domain: str, now: datetime, until: datetime) -> None:
        """Chunk by chunk, so that commits of new mail slip in between, and each comes back a little after the other."""
        while await self._database.write(store.postpone_domain, (pool.value, domain, now, until)):
            until += CHUNK_APART

    def _pump_starved(self) -> None:
        """A place is free: whoever waited longest for one is next."""
        for _ in range(min(len(self._starved), STARVED_TRIES)):
            key = next(iter(self._starved))
            self._pump(self._starved.pop(key))

    def tick(self) -> None:
        """Once a second: start what shaping or a breaker let wait, forget lanes that nobody needs."""
        now = self._monotonic()
        for key, lane in list(self._lanes.items()):
            if lane.queues:
                self._pump(lane)
            elif not lane.running and (not lane.failures or lane.closed_until < now - BREAKER_MEMORY_S):
                del self._lanes[key]

    def _give_back(self, recipient_ids: list[int], delay_s: float) -> None:
        if recipient_ids:
            at = self._utc_now() + timedelta(seconds=delay_s)
            self._later(write_surely(self._database, store.postpone, (recipient_ids, at)))

    def _later(self, work: Awaitable[object]) -> None:
        async def quietly() -> None:
            try:
                await work
            except Exception:
                log.exception("queue update failed; the lease will run out instead")

        task = asyncio.ensure_future(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- deferred mail

    async def claim(self) -> bool:
        """Pick up due mail from the database as far as there is room; True when it is worth to go on at once."""
        pools = self._pools()
        room = min(CLAIM_BATCH, MAX_WAITING - self._waiting.total())
        if self._stopping or room <= 0 or not pools:
            return False
        customers, domains = self._well_supplied(), self._full_destinations()
        unwanted = _unwanted(pools, customers, domains)
        after = self._front.after(unwanted, self._monotonic())
        request = store.ClaimRequest(self._owner, pools, self._utc_now(), room, customers, domains, after)
        claimed = await self._database.write(store.claim, request)
        is_step = self._front.note(unwanted, after, claimed.passed, self._monotonic())
        if claimed.ids:
            await self._load(claimed.ids)
        return is_step or len(claimed.ids) >= CLAIM_BATCH // 2

    async def _load(self, ids: list[int]) -> None:
        try:
            rows = await self._database.read(store.load, ids)
        except Exception:
            self._give_back(ids, 0)
            raise
        self._offer_claimed(rows)

    def _well_supplied(self) -> tuple[int, ...]:
        """Customers who have their share of the memory: what others have due comes first, however much these have."""
        share = MAX_WAITING // 4
        return tuple(one for one, waiting in self._waiting.items() if one is not None and waiting >= share)

    def _full_destinations(self) -> tuple[str, ...]:
        """Destinations that have their share: a slow one must not fill the memory with what all send to it."""
        waiting: Counter[str] = Counter()
        for lane in self._lanes.values():
            waiting[lane.domain] += sum(map(len, lane.queues.values()))
        return tuple(domain for domain, number in waiting.items() if number >= MAX_WAITING // 8)

    def _offer_claimed(self, rows: list[Any]) -> None:
        mails: dict[int, Mail] = {}
        recipients: dict[int, list[OpenRecipient]] = {}
        for row in rows:
            mails.setdefault(row.message_id, mail_from_row(row.message))
            recipients.setdefault(row.message_id, []).append(recipient_from_row(row))
        for message_id, mail in mails.items():
            self._offer_or_wait(split_by_domain(mail, recipients[message_id]))

    def _offer_or_wait(self, parcels: list[Parcel]) -> None:
        """Deferred mail whose destination is known to be dead goes straight back."""
        for parcel in parcels:
            lane = self._lane_for(parcel)
            if lane is not None and self._is_closed(lane):
                self._give_back(parcel.recipient_ids, lane.closed_until - self._monotonic())
            else:
                self.offer([parcel])

    def _pools(self) -> tuple[str, ...]:
        gateways = self._snapshot().gateways
        return tuple(sorted({gateways[id_].pool.value for id_ in self._ours() if id_ in gateways}))

    async def run(self) -> None:
        """Claim due mail once a second, at once again while there is plenty; ends when stopped."""
        while not self._stopping:
            self.tick()
            if not await self._claim_safely():
                await asyncio.sleep(CLAIM_PAUSE_S)

    async def _claim_safely(self) -> bool:
        try:
            return await self.claim()
        except Exception:
            log.exception("due mail could not be claimed")
            return False

    async def renew(self) -> None:
        """Push out the ends of the leases of what is in memory. Of nothing else: a lease that nobody remembers (its
        rows could not be loaded) must run out, or the mail would wait until this process ends."""
        ids = sorted(
            recipient_id for parcel in self._parcels.values() for recipient_id in parcel.recipient_ids
        )
        if ids:
            await self._database.write(store.renew_leases, (self._owner, ids, self._utc_now()))

    # ---- the end

    async def stop(self, timeout_s: float) -> None:
        """Start nothing new, let what is on its way finish within the time, give the rest back to the database."""
        self._stopping = True
        waiting = [parcel for lane in self._lanes.values() for parcel in lane.drain()]
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)
        for task in set(self._tasks):
            task.cancel()
        log.info("scheduler stopped", extra={"given_back": sum(len(parcel.recipients) for parcel in waiting)})

    @property
    def numbers(self) -> dict[str, int]:
        """For metrics and the status page."""
        return {
            "waiting": self._waiting.total(),
            "waiting_bytes": self._waiting_bytes.total(),
            "running": self._running_total,
            "lanes": len(self._lanes),
            "closed_lanes": sum(lane.closed_until > self._monotonic() for lane in self._lanes.values()),
        }


def _unwanted(
    pools: Sequence[str], customers: Sequence[int], domains: Sequence[str]
) -> frozenset[tuple[str, Any]]:
    kinds = {"pool": set(Pool) - set(pools), "customer": customers, "domain": domains}
    return frozenset((kind, one) for kind, ones in kinds.items() for one in ones)
