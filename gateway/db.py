"""The only bridge from asyncio to the database: one writer thread with group commit, one reader thread.

All work that waits while a transaction is being committed shares the next one, so the rate hardly depends on how long
an fsync takes. Work is a (handler, payload) pair; payloads of one handler are handed to it together, so that a hundred
messages become one `executemany`. A future is fulfilled only after the COMMIT returned: that is what a 250 stands on.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
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

log = logging.getLogger(__name__)
T = TypeVar("T")
P = TypeVar("P")

Handler = Callable[[Sequence[Any]], Sequence[Any]]
MAX_BATCH = 200
AWAY_PAUSE_S = 1.0


@dataclass(slots=True)
class _Work:
    handler: Handler
    payload: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any] = field(repr=False)

    def settle(self, result: Any = None, error: BaseException | None = None) -> None:
        self.loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():  # the waiter was cancelled; the work itself is done all the same
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class Database:
    """One per relay process. `lock_file` serialises the writers of several processes on one SQLite file: a blocking
    flock is fair, SQLite's busy handler is not (p99 14 ms instead of 111 ms)."""

    def __init__(self, lock_file: Path | None = None) -> None:
        self._lock_file = lock_file
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_forever, name="db-writer", daemon=True)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="db-reader")
        self.batches = 0
        self.works = 0

    def start(self) -> None:
        self._writer.start()

    def stop(self) -> None:
        """Finish what is queued, then end both threads."""
        self._queue.put(None)
        self._writer.join()
        self._reader.shutdown()

    async def write(self, handler: Callable[[Sequence[P]], Sequence[T]], payload: P) -> T:
        """Run `handler([..., payload, ...])` in a shared transaction; returns its result for this payload after the
        commit, raises what the handler or the commit raised."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Work(handler, payload, loop, future))
        return await future

    async def read(self, function: Callable[..., T], *args: Any) -> T:
        """Run a reading function in the reader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._read, function, args)

    @staticmethod
    def _read(function: Callable[..., T], args: tuple[Any, ...]) -> T:
        close_old_connections()
        return function(*args)

    def _write_forever(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, ended = self._collect(first)
            self._run(batch)
            if ended:
                break
        connection.close()

    def _collect(self, first: _Work) -> tuple[list[_Work], bool]:
        """Everything that is waiting now, at most MAX_BATCH; True when the end mark was among it."""
        batch = [first]
        while len(batch) < MAX_BATCH:
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                break
            if work is None:
                return batch, True
            batch.append(work)
        return batch, False

    def _run(self, batch: list[_Work]) -> None:
        self.batches += 1
        self.works += len(batch)
        try:
            results = self._commit(batch)
        except Exception as error:  # noqa: BLE001 - a boundary: whatever went wrong belongs to the waiters
            self._run_singly(batch, error)
            return
        for work, result in zip(batch, results, strict=True):
            work.settle(result)

    def _run_singly(self, batch: list[_Work], error: Exception) -> None:
        """One bad piece of work must not fail the others that shared its transaction."""
        self._drop_broken_connection(error)
        if len(batch) == 1:
            log.error(
                "database work failed", extra={"handler": batch[0].handler.__name__, "error": repr(error)}
            )
            batch[0].settle(error=error)
            return
        for work in batch:
            try:
                result = self._commit([work])[0]
            except Exception as single_error:  # noqa: BLE001 - likewise
                self._run_singly([work], single_error)
            else:
                work.settle(result)

    @staticmethod
    def _drop_broken_connection(error: Exception) -> None:
        if isinstance(error, DatabaseError):
            connection.close()

    def _commit(self, batch: list[_Work]) -> list[Any]:
        with exclusive(self._lock_file), transaction.atomic():
            return _run_grouped(batch)


async def write_surely(
    database: Database,
    handler: Callable[[Sequence[P]], Sequence[T]],
    payload: P,
    *,
    pause_s: float = AWAY_PAUSE_S,
) -> T:
    """`write` what must not be forgotten: while the database is away (restart, full disk) it is tried again and again.

    The work may be done twice, when the connection broke after its commit; other errors are raised as they are.
    """
    while True:
        try:
            return await database.write(handler, payload)
        except (OperationalError, InterfaceError):
            await asyncio.sleep(pause_s)


@contextmanager
def exclusive(lock_file: Path | None) -> Iterator[None]:
    """Be the only writer; without a lock file nothing has to be waited for."""
    if lock_file is None:
        yield
        return
    with lock_file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield  # closing the file gives the lock back


def writer_lock(directory: Path) -> Path | None:
    """The lock file of the SQLite file's writers; other databases need none."""
    return directory / "writer.lock" if connection.vendor == "sqlite" else None


def _run_grouped(batch: list[_Work]) -> list[Any]:
    """Call each handler once with all of its payloads; results come back in the order of the batch."""
    groups: dict[Handler, list[int]] = {}
    for position, work in enumerate(batch):
        groups.setdefault(work.handler, []).append(position)
    results: list[Any] = [None] * len(batch)
    for handler, positions in groups.items():
        outcome = handler([batch[position].payload for position in positions])
        for position, result in zip(positions, outcome, strict=True):
            results[position] = result
    return results
