"""The bridge to the database: what waits shares a transaction, a future is fulfilled after its commit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from django.db import OperationalError, connection

from gateway.db import Database, write_surely
from gateway.models import AuditEntry

pytestmark = pytest.mark.django_db(transaction=True)


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(tmp_path / "writer.lock")
    made.start()
    yield made
    await asyncio.to_thread(made.stop)


def write_entries(payloads: Sequence[str]) -> list[int]:
    """One entry per payload; 'bad' breaks the whole transaction."""
    if "bad" in payloads:
        raise ValueError("bad")
    AuditEntry.objects.bulk_create(AuditEntry(actor=payload, action="test") for payload in payloads)
    return [len(payloads)] * len(payloads)


def actors() -> list[str]:
    return list(AuditEntry.objects.order_by("id").values_list("actor", flat=True))


async def test_what_waits_shares_one_transaction(database: Database) -> None:
    gate = threading.Event()

    def wait(payloads: Sequence[None]) -> list[None]:
        gate.wait(5)
        return [None] * len(payloads)

    first = asyncio.ensure_future(database.write(wait, None))
    await asyncio.sleep(0.05)  # the writer is busy with it now
    rest = [asyncio.ensure_future(database.write(write_entries, str(number))) for number in range(5)]
    await asyncio.sleep(0)
    gate.set()
    await first
    assert await asyncio.gather(*rest) == [5] * 5
    assert database.batches == 2
    assert await database.read(actors) == ["0", "1", "2", "3", "4"]


async def test_a_transaction_takes_along_those_whose_turn_comes_meanwhile(database: Database) -> None:
    async def later(rounds: int, name: str) -> int:
        for _ in range(rounds):
            await asyncio.sleep(0)
        return await database.write(write_entries, name)

    assert await asyncio.gather(later(0, "a"), later(2, "b"), later(5, "c")) == [3, 3, 3]
    assert database.batches == 1


async def test_a_stream_without_a_gap_keeps_nobody_waiting(database: Database) -> None:
    def write_nothing(payloads: Sequence[None]) -> list[None]:
        return [None] * len(payloads)

    first = asyncio.ensure_future(database.write(write_nothing, None))
    rest = []
    while not first.done():  # ends, though each round of the loop brings one more
        rest.append(asyncio.ensure_future(database.write(write_nothing, None)))
        await asyncio.sleep(0)
    await asyncio.gather(*rest)


async def test_one_bad_payload_fails_alone(database: Database) -> None:
    results = await asyncio.gather(
        *(database.write(write_entries, payload) for payload in ("a", "bad", "b")), return_exceptions=True
    )
    assert isinstance(results[1], ValueError)
    assert sorted(await database.read(actors)) == ["a", "b"]


async def test_a_cancelled_waiter_does_not_cancel_the_work(database: Database) -> None:
    task = asyncio.ensure_future(database.write(write_entries, "kept"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await database.write(write_entries, "next") >= 1
    assert await database.read(actors) == ["kept", "next"]


@pytest.mark.skipif(
    connection.vendor != "postgresql", reason="a database in memory has one connection anyway"
)
async def test_reading_keeps_its_connection(database: Database) -> None:
    """Opening one costs PostgreSQL several times what is read."""
    assert await database.read(connection_in_use) is await database.read(connection_in_use)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a file does not break off connections")
async def test_reading_goes_on_when_the_server_broke_the_connection(database: Database) -> None:
    broken = await database.read(connection_in_use)
    await asyncio.to_thread(end_backend, broken.info.backend_pid)
    assert await database.read(connection_in_use) is not broken


def connection_in_use() -> Any:
    AuditEntry.objects.first()
    return connection.connection


def end_backend(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    connection.close()


async def test_stop_finishes_what_is_queued(tmp_path: Path) -> None:
    database = Database(None)
    database.start()
    work = [asyncio.ensure_future(database.write(write_entries, str(number))) for number in range(20)]
    await asyncio.sleep(0)
    await asyncio.to_thread(database.stop)
    assert len(await asyncio.gather(*work)) == 20


async def test_what_must_not_be_forgotten_waits_for_a_database_that_is_away(database: Database) -> None:
    failures = [OperationalError("server closed the connection"), OperationalError("disk full")]

    def write_when_back(payloads: Sequence[str]) -> list[int]:
        if failures:
            raise failures.pop()
        return write_entries(payloads)

    assert await write_surely(database, write_when_back, "kept", pause_s=0) == 1
    assert await database.read(actors) == ["kept"]


async def test_a_mistake_is_not_tried_again(database: Database) -> None:
    with pytest.raises(ValueError, match="bad"):
        await write_surely(database, write_entries, "bad", pause_s=0)


async def test_patient_work_rides_along_with_the_next_transaction(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.db.PATIENCE_S", 3600)
    patient = asyncio.ensure_future(database.write(write_entries, "outcome", patient=True))
    await asyncio.sleep(0)
    assert await database.write(write_entries, "mail") == 2
    assert await patient == 2
    assert database.batches == 1


async def test_patient_work_goes_by_itself_when_nothing_comes(database: Database) -> None:
    writes = (database.write(write_entries, name, patient=True) for name in ("one", "two"))
    assert await asyncio.gather(*writes) == [2, 2]
    assert await database.write(write_entries, "between") == 1
    assert await database.write(write_entries, "three", patient=True) == 1  # the timer was set anew
    assert database.batches == 3


async def test_stop_finishes_patient_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.db.PATIENCE_S", 3600)
    database = Database(None)
    database.start()
    work = asyncio.ensure_future(database.write(write_entries, "kept", patient=True))
    await asyncio.sleep(0)
    await asyncio.to_thread(database.stop)
    assert await work == 1
