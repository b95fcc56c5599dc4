"""Rows for `executemany`: written together, and locked in the same order by all processes that write them."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from gateway import rows
from gateway.db import Database
from gateway.models import Body, HourlyCount
from gateway.store.counters import count
from tests.factories import make_customer

HOUR = datetime(2026, 3, 2, 12, tzinfo=UTC)
Done = list[tuple[str, list[Any]]]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Done:
    """Every statement with its rows, as they would be executed."""
    found: Done = []
    monkeypatch.setattr(rows, "many", lambda sql, values: found.append((sql, list(values))))
    monkeypatch.setattr(rows, "together", nullcontext)
    return found


def test_they_come_last_and_in_one_order(done: Done) -> None:
    with rows.at_the_end():
        rows.many_last("B", [(2, ["two"])])
        rows.many("own", [["row"]])
        rows.many_last("A", [(9, ["nine"])])
        rows.many_last("B", [(1, ["one"]), (2, ["two again"])])
    assert done == [("own", [["row"]]), ("A", [["nine"]]), ("B", [["one"], ["two"], ["two again"]])]


def test_without_a_transaction_that_waits_for_them_they_come_now(done: Done) -> None:
    rows.many_last("A", [(2, ["two"]), (1, ["one"])])
    assert done == [("A", [["one"], ["two"]])]


def test_what_failed_leaves_nothing_to_the_next(done: Done) -> None:
    def fail() -> None:
        with rows.at_the_end():
            rows.many_last("A", [(1, ["one"])])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    rows.many_last("A", [(2, ["two"])])
    assert done == [("A", [["two"]])]


def body(number: int) -> dict[str, Any]:
    return {"message_id": number, "spool": "a"}


@pytest.mark.django_db
def test_what_is_written_together_is_there_afterwards() -> None:
    with rows.together():
        rows.insert(Body, [body(1), body(2)])
        rows.many("UPDATE gateway_body SET spool = %s WHERE message_id = %s", [["b", 2]])
    assert dict(Body.objects.values_list("message_id", "spool")) == {1: "a", 2: "b"}


@pytest.mark.django_db
def test_an_error_of_one_of_them_is_djangos() -> None:
    def write() -> None:
        with transaction.atomic(), rows.together():
            rows.insert(Body, [body(1), body(1)])
            rows.insert(Body, [body(2)])

    with pytest.raises(IntegrityError):
        write()
    assert not Body.objects.exists()


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="sqlite3 keeps its statements by itself")
def test_a_statement_is_prepared_once() -> None:
    for number in range(4):
        rows.insert(Body, [body(number), body(number + 10)])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE %s", ["INSERT%gateway_body%"]
        )
        assert cursor.fetchone() == (1,)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
async def test_two_processes_with_the_same_counters_do_not_wait_for_each_other(caplog: Any) -> None:
    ids = await asyncio.to_thread(lambda: [make_customer().id, make_customer().id])
    both_began = threading.Barrier(2, timeout=5)

    def counting(order: Sequence[int]) -> Callable[[Sequence[None]], list[None]]:
        def handler(payloads: Sequence[None]) -> list[None]:
            for step, customer_id in enumerate(order):
                count(Counter({((customer_id, HOUR, "acme.example"), "accepted"): 1}))
                if step == 0:
                    both_began.wait()
            return [None] * len(payloads)

        return handler

    databases = [Database(None), Database(None)]
    for database in databases:
        database.start()
    await asyncio.gather(
        databases[0].write(counting(ids), None), databases[1].write(counting(ids[::-1]), None)
    )
    for database in databases:
        await asyncio.to_thread(database.stop)
    numbers = await asyncio.to_thread(lambda: list(HourlyCount.objects.values_list("accepted", flat=True)))
    assert numbers == [2, 2]
    assert "deadlock" not in caplog.text


@pytest.mark.skipif(connection.vendor != "postgresql", reason="others neither compress nor gather statistics")
@pytest.mark.django_db
def test_bodies_are_not_compressed_and_wide_columns_have_no_statistics() -> None:
    sql = (
        "SELECT attrelid::regclass::text, attname, attstorage, attstattarget FROM pg_attribute"
        " WHERE (attrelid = 'gateway_body'::regclass AND attname = 'content')"
        " OR (attrelid = 'gateway_message'::regclass AND attname = 'trace')"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        assert sorted(cursor.fetchall()) == [
            ("gateway_body", "content", "e", 0),
            ("gateway_message", "trace", "x", 0),
        ]
