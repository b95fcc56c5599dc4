"""What `bench.million` does inside of a relay's environment: python -m bench.million_inside COMMAND [ARGUMENT ...]

fill KIND NUMBER     rows by INSERT ... SELECT, with the indexes made afterwards
claims NUMBER        so many claims one after the other: milliseconds, and how many recipients they found
steps                the queue's other statements, each rolled back: milliseconds
plans                EXPLAIN of what all of these ask the database
clean_up             retention beside whatever else goes on: rows, seconds, the longest transaction

Each prints one JSON object. It finds the database by the environment, as the relay does.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
import django

django.setup()

from django.conf import settings  # noqa: E402 - needs the settings
from django.db import connection, transaction  # noqa: E402

from bench.rig import cpu_ms, percentile  # noqa: E402
from gateway import store  # noqa: E402
from gateway.control import retention  # noqa: E402
from gateway.db import exclusive, writer_lock  # noqa: E402
from gateway.models import Attempt, Body, Customer, Message, Recipient  # noqa: E402
from gateway.rules.ids import first_id, to_text  # noqa: E402

CUSTOMERS = 100  # half of all rows are ACME's, the rest theirs
DOMAINS = 5000
LOG_DAYS = 33  # three of them are over, so that retention finds a tenth
BEHIND = 20_000  # what a claim may take stands behind everything else
OWNER = "bench"
POOLS = ("good",)
FULL = "full.example"


@contextmanager
def writing() -> Iterator[None]:
    """A transaction of the only writer, as the relay's."""
    with exclusive(writer_lock(settings.SMG.var_dir)), transaction.atomic():
        yield


# ------------------------------------------------------------------------------------------------- rows


def fill(kind: str, number: str) -> dict[str, Any]:
    """`log`: delivered mail of LOG_DAYS. `deferred`: waits, none due. Others: due now, and what most of it is."""
    begun, rows = time.monotonic(), int(number)
    customers = made_customers()
    with without_indexes(Message, Recipient, Attempt):
        if kind == "log":
            insert(Message, message_values(rows, customers, log_times(rows)), rows)
            insert(Recipient, recipient_values(rows, customers, log_times(rows), SETTLED), rows)
            insert(Attempt, attempt_values(rows, log_times(rows)), rows)
        else:
            times = recent_times(rows)
            insert(Message, message_values(rows, customers, times), rows)
            insert(Recipient, recipient_values(rows, customers, times, QUEUES[kind](rows, customers)), rows)
            insert(Body, {"message_id": times[0], "content": blob(500), "spool": "''"}, rows)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE")
        else:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return {"seconds": round(time.monotonic() - begun, 1)}


def made_customers() -> list[int]:
    """ACME first."""
    Customer.objects.bulk_create([Customer(slug=f"c{n}", name=f"Customer {n}") for n in range(CUSTOMERS)])
    return [
        Customer.objects.get(slug="acme").pk,
        *Customer.objects.filter(slug__regex="^c[0-9]+$").values_list("pk", flat=True),
    ]


@contextmanager
def without_indexes(*models: Any) -> Iterator[None]:
    """Making an index once is several times faster than keeping it up for each row."""
    editor = connection.SchemaEditorClass(connection, atomic=False)
    made_again = [
        (str(index.create_sql(model, editor)), index.name)
        for model in models
        for index in model._meta.indexes
    ]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SET session_replication_role = replica"
            )  # the rows fit: no foreign key is looked up
        for _, name in made_again:
            cursor.execute(f'DROP INDEX "{name}"')
        yield
        for sql, _ in made_again:
            cursor.execute(sql)


def noise(salt: int, below: int) -> str:
    """A number below `below` that looks random, the same for the same row."""
    return f"(((i * 2654435761 + {salt}) % 4294967291 * 40503 + {salt}) % 2147483647 % {below})"


def moment(seconds: str) -> str:
    """A time so many seconds from now (an expression), as the column holds it."""
    if connection.vendor == "postgresql":
        return f"(now() + ({seconds}) * interval '1 second')"
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', ({seconds}) || ' seconds')"


def blob(length: int) -> str:
    return (
        f"decode(repeat('78', {length}), 'hex')"
        if connection.vendor == "postgresql"
        else f"zeroblob({length})"
    )


def over(days: float, rows: int) -> tuple[str, str]:
    """(id, seconds from now) of rows spread over the last days: an id begins with its time."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    span = int(days * 86_400_000)
    start, step = first_id(now_ms - span), (span << 22) // rows
    return f"({start} + i * {step})", f"(i * {span / 1000 / rows:.6f} - {span / 1000})"


def log_times(rows: int) -> tuple[str, str]:
    return over(LOG_DAYS, rows)


def recent_times(rows: int) -> tuple[str, str]:
    return over(1, rows)


def owner(customers: list[int]) -> str:
    first, last = customers[1], customers[-1]
    return f"CASE WHEN {noise(1, 2)} = 0 THEN {customers[0]} ELSE {first} + {noise(2, last - first + 1)} END"


def message_values(rows: int, customers: list[int], times: tuple[str, str]) -> dict[str, str]:
    sender = f"'u' || {noise(3, 2000)} || '@acme.example'"
    return {
        "id": times[0], "customer_id": owner(customers), "received_at": moment(times[1]), "sender": sender,
        "sender_domain": "'acme.example'", "header_from": sender, "subject": "'Order number ' || i",
        "message_id": f"'<' || {noise(4, 1_000_000_000)} || '.' || i || '@acme.example>'",
        "size_bytes": "4096", "recipient_count": "1",
        "category": f"CASE WHEN {noise(5, 100)} = 0 THEN 'suspect' ELSE 'clean' END",
    }  # fmt: skip


def recipient_values(
    rows: int, customers: list[int], times: tuple[str, str], more: dict[str, str]
) -> dict[str, str]:
    domain = more.get("domain", f"'d' || {noise(6, DOMAINS)} || '.example'")
    return {
        "id": times[0], "message_id": times[0], "customer_id": owner(customers), "domain": domain,
        "address": f"'r' || {noise(7, rows)} || '@' || {domain}", "pool": "'good'",
        "expires_at": moment(f"{times[1]} + 432000"),
    } | more  # fmt: skip


def attempt_values(rows: int, times: tuple[str, str]) -> dict[str, str]:
    return {
        "message_id": times[0], "recipient": times[0], "at": moment(times[1]), "state": "'delivered'",
        "stage": "'data_end'", "code": "250", "text": "'2.0.0 Ok: queued as Q' || i",
    }  # fmt: skip


SETTLED = {
    "state": "'delivered'",
    "code": "250",
    "text": "'2.0.0 Ok: queued as Q' || i",
    "reason": "'delivered'",
}


def waiting(seconds: str) -> dict[str, str]:
    return {
        "next_attempt_at": moment(seconds),
        "attempts": "3",
        "code": "451",
        "text": "'4.3.2 come back later'",
    }


def due(rows: int) -> dict[str, str]:
    """Due since minutes, in the order of the rows."""
    return waiting(f"i * {3000.0 / rows:.9f} - 3600")


def behind(rows: int, usual: str, last: str) -> str:
    return f"CASE WHEN i > {rows - BEHIND} THEN {last} ELSE {usual} END"


QUEUES: dict[str, Callable[[int, list[int]], dict[str, str]]] = {
    "deferred": lambda rows, _: waiting(f"7200 + {noise(8, 30_000)}"),
    "few due": lambda rows, _: waiting(behind(rows, f"7200 + {noise(8, 30_000)}", "-60")),
    "all due": lambda rows, _: due(rows),
    "other pool": lambda rows, _: due(rows) | {"pool": behind(rows, "'bad'", "'good'")},
    "customer not wanted": lambda rows, customers: due(rows)
    | {"customer_id": behind(rows, str(customers[0]), str(customers[1]))},
    "full destination": lambda rows, _: due(rows) | {"domain": behind(rows, f"'{FULL}'", "'free.example'")},
    "held": lambda rows, _: waiting(behind(rows, f"7200 + {noise(8, 30_000)}", "-60"))
    | {"state": behind(rows, "'held'", "'queued'")},
}  # fmt: skip


def insert(model: Any, values: dict[str, str], rows: int) -> None:
    """Columns without an expression get the field's default."""
    fields = [
        field for field in model._meta.concrete_fields if field.column in values or field.column != "id"
    ]
    columns = ", ".join(f'"{field.column}"' for field in fields)
    chosen = ", ".join(values.get(field.column) or literal(field) for field in fields)
    numbers = f"SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}"  # noqa: S608
    if connection.vendor == "postgresql":
        numbers = f"SELECT i::bigint FROM generate_series(1, {rows}) i"  # noqa: S608
    sql = (
        f"WITH RECURSIVE n(i) AS ({numbers})"  # noqa: S608
        f' INSERT INTO "{model._meta.db_table}" ({columns}) SELECT {chosen} FROM n'
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)


def literal(field: Any) -> str:
    value = field.get_default()
    if value is None:
        return "NULL"
    if isinstance(value, list | dict):
        return f"'{json.dumps(value)}'" + ("::jsonb" if connection.vendor == "postgresql" else "")
    if isinstance(value, bool):
        return str(value).upper()
    return repr(value) if isinstance(value, int | float) else f"'{value}'"


# ------------------------------------------------------------------------------------------------- claims


def claims(number: str) -> dict[str, Any]:
    """Committed claims as the relay makes them, one after the other; of the processor's time the mean."""
    claimer, times, found = claimer_of(), [], []
    claimer()  # the first one connects
    used = processor_ms()
    for _ in range(int(number)):
        begun = time.perf_counter()
        with writing():
            found.append(len(claimer()))
        times.append((time.perf_counter() - begun) * 1000)
    return {
        "processor_ms": round((processor_ms() - used) / len(times), 1), "p50_ms": round(percentile(times, 0.5), 1),
        "p99_ms": round(percentile(times, 0.99), 1), "found": sum(found),
    }  # fmt: skip


def processor_ms() -> float:
    """Of this process, and of PostgreSQL's for it."""
    pids = [os.getpid()]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pids.append(cursor.fetchone()[0])
    return cpu_ms(pids)


def claimer_of() -> Callable[[], list[int]]:
    """It has enough of ACME and of one destination, and goes on where it was, as the scheduler does."""
    acme, after = Customer.objects.get(slug="acme").pk, None

    def claim() -> list[int]:
        nonlocal after
        request = store.ClaimRequest(OWNER, POOLS, datetime.now(UTC), 200, (acme,), (FULL,), after)
        claimed = store.claim([request])[0]
        after = claimed.passed
        return claimed.ids

    return claim


# ------------------------------------------------------------------------------------------------- everything else


def operations() -> dict[str, Callable[[], Any]]:
    now = datetime.now(UTC)
    some = random.Random(1).sample(list(Recipient.objects.values_list("id", flat=True)[:100_000]), 200)
    names = [to_text(one) for one in some]
    return {
        "claim": claimer_of(),
        "renew 200 leases": lambda: store.renew_leases([(OWNER, some, now)]),
        "release leases": lambda: store.release_leases([(OWNER, now)]),
        "postpone a domain": lambda: store.postpone_domain([("good", "d7.example", now, now + timedelta(minutes=5))]),
        "resume held": lambda: store.resume_held([now]),
        "held and over": lambda: store.due_held(now, 200),
        "load 200": lambda: store.load(some),
        "gauges": lambda: store.read_gauges(now),
        "known spool files": lambda: store.known_spool_files(names),
    }  # fmt: skip


def steps() -> dict[str, Any]:
    """Best of three; rolled back, so that each meets the same rows."""
    return {name: round(min(rolled_back(work) for _ in range(3)), 1) for name, work in operations().items()}


def rolled_back(work: Callable[[], Any]) -> float:
    with transaction.atomic():
        begun = time.perf_counter()
        work()
        took = (time.perf_counter() - begun) * 1000
        transaction.set_rollback(True)
    return took


def plans() -> dict[str, list[str]]:
    work = operations() | {"retention, choosing": choose_old, "retention, deleting": delete_old}
    return {name: explained(function) for name, function in work.items()}


def choose_old() -> list[int]:
    span = next(iter(retention.spans(datetime.now(UTC))))
    return list(
        retention.settled_messages(span).order_by("pk").values_list("pk", flat=True)[: retention.BATCH]
    )


def delete_old() -> None:
    span = next(iter(retention.spans(datetime.now(UTC))))
    retention.settled_messages(span).filter(pk__in=choose_old()).only("pk").delete()


def explained(work: Callable[[], Any]) -> list[str]:
    asked: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not sql.startswith(("SAVEPOINT", "RELEASE")):
            asked.append((sql, params[0] if many else params))
        return execute(sql, params, many, context)

    with transaction.atomic():
        with connection.execute_wrapper(note):
            work()
        lines = [line for sql, params in asked for line in plan(sql, params)]
        transaction.set_rollback(True)
    return list(dict.fromkeys(lines))


def plan(sql: str, params: Any) -> Iterator[str]:
    explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{explain} {sql}", params)
        for row in cursor.fetchall():
            yield str(row[-1])


def clean_up() -> dict[str, Any]:
    """The nightly run. A transaction's length is taken from outside: choosing, deleting and committing together."""
    longest, last = 0.0, time.perf_counter()

    def pause(took_s: float) -> None:
        nonlocal longest, last
        longest = max(longest, time.perf_counter() - last)
        retention.rest(took_s)
        last = time.perf_counter()

    begun = time.monotonic()
    sweep = retention.Sweep(pause=pause)
    retention.sweep_all(sweep, datetime.now(UTC))
    return {
        "rows": dict(sweep.gone), "seconds": round(time.monotonic() - begun, 1), "longest_ms": round(longest * 1000, 1)
    }  # fmt: skip


COMMANDS: dict[str, Callable[..., Any]] = {
    "fill": fill,
    "claims": claims,
    "steps": steps,
    "plans": plans,
    "clean_up": clean_up,
}

if __name__ == "__main__":
    print(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])))
