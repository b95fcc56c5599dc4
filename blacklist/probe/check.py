"""All lists of a plan side by side. The event loop has a thread of its own; the caller's thread gets
the events and owns the database."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from blacklist.probe.asker import Asker, DnsAsker
from blacklist.probe.pace import IN_FLIGHT, Bucket, Pace
from blacklist.probe.worker import Event, ListPlan, Worker
from gateway.config import Endpoint
from gateway.dns import system_nameservers

OpenAsker = Callable[[], AbstractAsyncContextManager[Asker]]
_END = object()
SIGN_OF_LIFE_S = 15.0


def dns_asker(nameservers: Sequence[Endpoint]) -> OpenAsker:
    """Ask these name servers, or the system's when there are none."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Asker]:
        async with DnsAsker(tuple(nameservers) or system_nameservers()) as asker:
            yield asker

    return opened


def check(plans: Sequence[ListPlan], open_asker: OpenAsker, pace: Pace) -> Iterator[Event | None]:
    """Ask everything and yield what was found, in the order it was found; None as a sign of life when nothing comes for
    a while. Errors of the probe are raised here. Closing the generator stops the asking at once.
    """
    probe = _Probe(plans, open_asker, pace)
    probe.start()
    try:
        while (event := _next(probe.events)) is not _END:
            if isinstance(event, BaseException):
                raise event
            yield event  # type: ignore[misc]
    finally:
        probe.stop()


def _next(events: queue.SimpleQueue[object]) -> object:
    try:
        return events.get(timeout=SIGN_OF_LIFE_S)
    except queue.Empty:
        return None


class _Probe(threading.Thread):
    """The thread with the event loop in it."""

    def __init__(self, plans: Sequence[ListPlan], open_asker: OpenAsker, pace: Pace) -> None:
        super().__init__(name="blacklist-probe", daemon=True)
        self.events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._plans, self._open_asker, self._pace = plans, open_asker, pace
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None

    def run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._ask())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            self.events.put(error)
        finally:
            self.events.put(_END)

    async def _ask(self) -> None:
        self._task = asyncio.current_task()
        await ask_everything(self._plans, self._open_asker, self._pace, self.events.put)

    def stop(self) -> None:
        if self.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop was closed between the two lines
                self._loop.call_soon_threadsafe(self._cancel)
            self.join()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


async def ask_everything(
    plans: Sequence[ListPlan], open_asker: OpenAsker, pace: Pace, report: Callable[[Event], None]
) -> None:
    """One worker per list; lists of one operator share their rate, because the operator counts them together."""
    slots = asyncio.Semaphore(IN_FLIGHT)
    buckets: dict[str, Bucket] = {}
    async with open_asker() as asker:
        workers = []
        for plan in plans:
            bucket = buckets.setdefault(operator_of(plan), Bucket(plan.spec.rate_qps, pace))
            workers.append(Worker(_shuffled(plan), asker, pace, bucket, slots, report))
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(_begin(worker, pace))


async def _begin(worker: Worker, pace: Pace) -> None:
    if pace.jitter_s:
        await pace.sleep(random.uniform(0, pace.jitter_s))  # noqa: S311 - spreading load, not a secret
    await worker.run()


def _shuffled(plan: ListPlan) -> ListPlan:
    """Another order for every list, so that the resolver and the networks behind it see no bursts per target."""
    order = list(plan.questions)
    random.shuffle(order)
    return replace(plan, questions=tuple(order))


# Families whose operators publish one limit for all their zones.
SHARED = (
    "spamhaus",
    "sem",
    "uceprotect",
    "mailspike",
    "abusix",
    "nordspam",
    "suomispam",
    "swinog",
    "0spam",
    "zapbl",
)


def operator_of(plan: ListPlan) -> str:
    family = plan.spec.slug.split("-")[0]
    return family if family in SHARED else plan.spec.slug
