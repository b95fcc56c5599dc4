"""The only bridge from asyncio to the database: one writer thread with group commit, one reader thread.

All work that waits while a transaction is being committed shares the next one, so the rate hardly depends on how long
an fsync takes. Work is a (handler, payload) pair; payloads of one handler are handed to it together, so that a hundred
messages become one `executemany`. A future is fulfilled only after the COMMIT returned: that is what a 250 stands on.

A transaction costs as much as five messages in it. So it does not leave with the first that asks for one: the event
loop goes round a few times, and it leaves when that brings nobody more. An idle loop goes round in no time; a busy one
brings those whose turn it was meanwhile, and has something to do while it waits.

What no client waits for (outcomes of deliveries) is written patiently: it rides along with the next transaction that
somebody needs, or goes by itself when none has left for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    close_old_connections,
    connection,
    transaction,
)

from gateway import rows

log = logging.getLogger(__name__)
T = TypeVar("T")
P = TypeVar("P")

Handler = Callable[[Sequence[Any]], Sequence[Any]]
MAX_BATCH = 200
QUIET_ROUNDS = 4  # of the event loop in a row that brought no more work: a transaction leaves
BOARDING_S = 0.01  # or after this time
AWAY_PAUSE_S = 1.0
PATIENCE_S = 0.02  # a process killed meanwhile delivers again what it had not yet noted


@dataclass(slots=True)
class _Work:
    handler: Handler
    payload: Any
    future: asyncio.Future[Any] = field(repr=False)
    result: Any = None
    error: Exception | None = None

    def settle(self) -> None:
        if self.future.done():  # the waiter was cancelled; the work itself is done all the same
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class _Mark(Enum):
    """What the writer is told."""

    DEPART = "depart"  # take what waits
    END = "end"


class Database:
    """One per relay process. `lock_file` serialises the writers of several processes on one SQLite file: a blocking
    flock is fair, SQLite's busy handler is not (p99 14 ms instead of 111 ms)."""

    def __init__(self, lock_file: Path | None = None) -> None:
        self._lock_file = lock_file
        self._waiting: deque[_Work] = deque()
        self._marks: queue.SimpleQueue[_Mark] = queue.SimpleQueue()
        self._boarded = 0  # works that are in a hurry, since the last departure
        self._departure: asyncio.TimerHandle | None = None
        self._departs_at = 0.0
        self._writer = threading.Thread(target=self._write_forever, name="db-writer", daemon=True)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="db-reader")
        self.batches = 0
        self.works = 0

    def start(self) -> None:
        self._writer.start()

    def stop(self) -> None:
        """Finish what is queued, then end both threads."""
        self._marks.put(_Mark.END)
        self._writer.join()
        self._reader.submit(_close_connection)
        self._reader.shutdown()

    async def write(
        self, handler: Callable[[Sequence[P]], Sequence[T]], payload: P, *, patient: bool = False
    ) -> T:
        """Run `handler([..., payload, ...])` in a shared transaction; returns its result for this payload after the
        commit, raises what the handler or the commit raised. `patient`: it need not have a transaction made for it
        within PATIENCE_S."""
        loop = asyncio.get_running_loop()
        work = _Work(handler, payload, loop.create_future())
        if patient:
            self._wait_for_company(loop)
        else:
            self._board(loop)
        self._waiting.append(work)
        result: T = await work.future
        return result

    def _board(self, loop: asyncio.AbstractEventLoop) -> None:
        self._boarded += 1
        if self._boarded == 1:
            loop.call_soon(self._go_round, loop, 1, 0, loop.time() + BOARDING_S)

    def _go_round(self, loop: asyncio.AbstractEventLoop, seen: int, quiet: int, until: float) -> None:
        """Once in each round of the loop; `quiet` rounds in a row had brought nobody."""
        quiet = quiet + 1 if self._boarded == seen else 0
        if quiet < QUIET_ROUNDS and loop.time() < until:
            loop.call_soon(self._go_round, loop, self._boarded, quiet, until)
        else:
            self._boarded = 0
            self._marks.put(_Mark.DEPART)

    def _wait_for_company(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._waiting:
            self._departs_at = loop.time() + PATIENCE_S
        if self._departure is None:
            self._departure = loop.call_at(self._departs_at, self._depart, loop)

    def _depart(self, loop: asyncio.AbstractEventLoop) -> None:
        """The timer: it is left running when a transaction has taken its work along, and then set anew."""
        self._departure = None
        if self._waiting and loop.time() < self._departs_at:
            self._departure = loop.call_at(self._departs_at, self._depart, loop)
        elif self._waiting:
            self._marks.put(_Mark.DEPART)

    async def read(self, function: Callable[..., T], *args: Any) -> T:
        """Run a reading function in the reader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._read, function, args)

    @staticmethod
    def _read(function: Callable[..., T], args: tuple[Any, ...]) -> T:
        close_old_connections()
        return function(*args)

    def _write_forever(self) -> None:
        mark = _Mark.DEPART
        while mark is not _Mark.END:
            mark = self._marks.get()
            is_full = True
            while self._waiting and (is_full or mark is _Mark.END):
                batch = self._write_next()
                is_full = len(batch) == MAX_BATCH
                batch[0].future.get_loop().call_soon_threadsafe(_settle, batch)
        _close_connection()

    def _write_next(self) -> list[_Work]:
        """One transaction: for what waits now and what comes while another process has its turn."""
        batch: list[_Work] = []
        try:
            with exclusive(self._lock_file):
                batch = self._collect()
                self._run(batch)
        except OSError as error:  # the lock cannot be had: no descriptor is left, the directory is gone
            batch = batch or self._collect()
            for work in batch:
                work.error = error
        return batch

    def _collect(self) -> list[_Work]:
        """The next MAX_BATCH of those who wait, at least one."""
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]

    def _run(self, batch: list[_Work]) -> None:
        self.batches += 1
        self.works += len(batch)
        try:
            self._commit(batch)
        except Exception as error:  # noqa: BLE001 - a boundary: whatever went wrong belongs to the waiters
            self._run_singly(batch, error)

    def _run_singly(self, batch: list[_Work], error: Exception) -> None:
        """One bad piece of work must not fail the others that shared its transaction."""
        self._drop_broken_connection(error)
        if len(batch) == 1:
            log.error(
                "database work failed", extra={"handler": batch[0].handler.__name__, "error": repr(error)}
            )
            batch[0].error = error
            return
        for work in batch:
            try:
                self._commit([work])
            except Exception as single_error:  # noqa: BLE001 - likewise
                self._run_singly([work], single_error)

    @staticmethod
    def _drop_broken_connection(error: Exception) -> None:
        if isinstance(error, DatabaseError):
            connection.close()

    @staticmethod
    def _commit(batch: list[_Work]) -> None:
        with transaction.atomic(), rows.at_the_end():
            _run_grouped(batch)


def _close_connection() -> None:
    """That of the thread it runs in."""
    connection.close()


def _settle(batch: list[_Work]) -> None:
    """In the event loop, which is woken once for a whole transaction."""
    for work in batch:
        work.settle()


async def write_surely(
    database: Database,
    handler: Callable[[Sequence[P]], Sequence[T]],
    payload: P,
    *,
    patient: bool = False,
    pause_s: float = AWAY_PAUSE_S,
) -> T:
    """`write` what must not be forgotten: while the database is away (restart, full disk) it is tried again and again.

    The work may be done twice, when the connection broke after its commit; other errors are raised as they are.
    """
    while True:
        try:
            return await database.write(handler, payload, patient=patient)
        except (OperationalError, InterfaceError):
            await asyncio.sleep(pause_s)


@contextlib.contextmanager
def exclusive(lock_file: Path | None) -> Iterator[None]:
    """Be the only writer; without a lock file nothing has to be waited for."""
    if lock_file is None:
        yield
        return
    handle = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # gives the lock back


def writer_lock(directory: Path) -> Path | None:
    """The lock file of the SQLite file's writers; other databases need none."""
    return directory / "writer.lock" if connection.vendor == "sqlite" else None


def _run_grouped(batch: list[_Work]) -> None:
    """Call each handler once with all of its payloads; each piece of work gets its result."""
    groups: dict[Handler, list[_Work]] = {}
    for work in batch:
        groups.setdefault(work.handler, []).append(work)
    for handler, works in groups.items():
        results = handler([work.payload for work in works])
        for work, result in zip(works, results, strict=True):
            work.result = result
