"""Fills PostgreSQL with a long message log and times every filter of the searches on it.

    .venv/bin/python -m bench.message_search [--rows 10000000] [--plans] [--only WORD]

Half of the log is one customer's, three tenths ten others', the rest a thousand small ones', over 30 days. Prints one
JSON object: per search the best and worst of five runs in milliseconds (the first one counts: its pages may come from
the disk), the least processor time (ours and the server's), how many hours it went through when its time was up
before the whole was searched, and with --plans the plan of its slowest query. PostgreSQL
is started for it in a temporary directory, or DATABASE_URL names one, which is filled only when it is empty.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests import services

DAYS = 30
RUNS = 5
BEGIN = datetime.now(UTC) - timedelta(days=DAYS)
MIDDLE = BEGIN.date() + timedelta(days=DAYS // 2)
BIG = "acme.example"

# Of the page and of the API; without "range" it is the last 24 hours, as for them.
MONTH: dict[str, Any] = {"range": "30d"}
SEARCHES: dict[str, dict[str, Any]] = {
    "newest": {},
    "newest of 30 days": MONTH,
    "one day in the middle": {"range": "custom", "start": MIDDLE, "end": MIDDLE},
    "sender, frequent": MONTH | {"sender": f"shop@{BIG}"},
    "sender, rare": MONTH | {"sender": f"u4711@{BIG}"},
    "sender that never sent": MONTH | {"sender": f"nobody@{BIG}"},
    "sender domain": MONTH | {"sender": BIG},
    "sender domain that never sent": MONTH | {"sender": "nowhere.example"},
    "sender's local part, rare": MONTH | {"sender": "u4711@"},
    "recipient, frequent": MONTH | {"recipient": "box1@big0.example"},
    "recipient, rare": MONTH | {"recipient": "r4711@d711.example"},
    "recipient that never was": MONTH | {"recipient": "nobody@nowhere.example"},
    "recipient domain, frequent": MONTH | {"recipient": "big0.example"},
    "recipient domain, rare": MONTH | {"recipient": "d711.example"},
    "subject, frequent": MONTH | {"q": "Invoice"},
    "subject, rare": MONTH | {"q": "number 4711777"},
    "subject that never was": MONTH | {"q": "zebra crossing"},
    "subject that never was, a day": {"q": "zebra crossing"},
    "id": {"id": "<4711777@acme.example>"},
    "id that never was": {"id": "<nobody@acme.example>"},
    "delivered": MONTH | {"status": "delivered"},
    "bounced": MONTH | {"status": "bounced"},
    "still open": MONTH | {"status": "open"},
    "cancelled, rare": MONTH | {"status": "cancelled"},
    "clean": MONTH | {"category": "clean"},
    "spam": MONTH | {"category": "spam"},
    "suspect or spam": MONTH | {"category": "bad"},
    "gateway, frequent": MONTH | {"gateway": "mta01"},
    "gateway, rare": MONTH | {"gateway": "mta09"},
    "gateway never used": MONTH | {"gateway": "mta10"},
    "reply code": MONTH | {"reply": "550"},
    "reply code that never was": MONTH | {"reply": "557"},
    "enhanced code": MONTH | {"reply": "5.7.26"},
    "reply, frequent": MONTH | {"reply": "unknown"},
    "reply, rare": MONTH | {"reply": "lookup of 4711"},
    "reply of a delivery, rare": MONTH | {"reply": "as Q4711777"},
    "reply that never was": MONTH | {"reply": "zebra crossing"},
    "spam that bounced": MONTH | {"category": "spam", "status": "bounced"},
    "rare sender, delivered": MONTH | {"sender": f"u4711@{BIG}", "status": "delivered"},
    "rare sender, bounced": MONTH | {"sender": f"u4711@{BIG}", "status": "bounced"},
    "frequent sender to a rare recipient": MONTH | {"sender": f"shop@{BIG}", "recipient": "r4711@d711.example"},
    "rare sender to a frequent domain": MONTH | {"sender": f"u4711@{BIG}", "recipient": "big0.example"},
    "bounced at a frequent domain": MONTH | {"status": "bounced", "recipient": "big0.example"},
    "bounced by a reply": MONTH | {"status": "bounced", "reply": "mailbox full"},
    "subject and recipient domain": MONTH | {"q": "Invoice", "recipient": "d711.example"},
    "subject and bounced": MONTH | {"q": "Invoice", "status": "bounced"},
    "spam by a gateway": MONTH | {"category": "spam", "gateway": "mta03"},
    "everything": MONTH | {
        "q": "Invoice", "sender": BIG, "recipient": "big0.example", "status": "bounced", "category": "clean",
        "gateway": "mta01", "reply": "unknown",
    },
}  # fmt: skip
SUPPORT = {  # term, and where if not everywhere
    "support, address": ("r4711@d711.example",),
    "support, frequent address": ("box1@big0.example",),
    "support, address that never was": ("nobody@nowhere.example",),
    "support, recipient domain": ("d711.example", "recipient"),
    "support, frequent recipient domain": ("big0.example", "recipient"),
    "support, domain": ("d711.example",),
    "support, frequent domain": ("big0.example",),
    "support, IP address": ("192.0.2.77",),
    "support, IP address that never was": ("192.0.2.250",),
    "support, Message-ID": ("<4711777@acme.example>",),
    "support, reply, frequent": ("mailbox full",),
    "support, reply, rare": ("lookup of 4711",),
    "support, reply that never was": ("zebra crossing",),
}
SEARCHED_FURTHER = ("support, domain", "support, IP address that never was", "support, reply that never was")
GATEWAYS = {
    "mta01": "good",
    "mta02": "good",
    "mta03": "bad",
    "mta04": "bad",
    "mta09": "good",
    "mta10": "good",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--plans", action="store_true")
    parser.add_argument("--only", default="", help="searches whose name holds this word")
    options = parser.parse_args()
    with ExitStack() as stack:
        if "DATABASE_URL" not in os.environ:
            started = stack.enter_context(services.running())
            os.environ["DATABASE_URL"] = services.start_postgres(started).extra["url"]
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
        import django

        django.setup()
        print(json.dumps(measure(options), indent=1))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    from django.core.management import call_command
    from django.db import connection

    from gateway.models import Customer, Message

    call_command("migrate", verbosity=0)
    begun = time.perf_counter()
    if not Message.objects.exists():
        fill(options.rows)
    found: dict[str, Any] = {"filled_s": round(time.perf_counter() - begun), "mib": sizes_mib()}
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
    customer = Customer.objects.get(slug="c0")
    for name, ask in questions(customer).items():
        if options.only in name:
            found[name] = timed(ask, plans=options.plans)
    return found


# ------------------------------------------------------------------------------------------------- a log of 30 days


def fill(rows: int) -> None:
    """A message with one recipient each. Indexes are made afterwards: that is ten times as fast."""
    from django.db import connection

    from gateway.models import Message, Recipient

    customers, gateways = people(), ways()
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        cursor.execute("SET maintenance_work_mem = '1GB'")
        for model, values in (
            (Message, message_values(rows, customers)),
            (Recipient, recipient_values(rows, customers, gateways)),
        ):
            definitions = drop_indexes(cursor, model._meta.db_table)
            cursor.execute(insert_sql(model, values, rows))
            for definition in definitions:
                cursor.execute(definition)
        cursor.execute("VACUUM ANALYZE")


def people() -> list[int]:
    from gateway.models import Customer

    made = [Customer(slug=f"c{number}", name=f"Customer {number}") for number in range(1011)]
    return [customer.pk for customer in Customer.objects.bulk_create(made)]


def ways() -> dict[str, int]:
    from gateway.models import Gateway

    made = [Gateway(name=name, pool=pool, hostname=f"{name}.smg.example") for name, pool in GATEWAYS.items()]
    return {gateway.name: gateway.pk for gateway in Gateway.objects.bulk_create(made)}


def drop_indexes(cursor: Any, table: str) -> list[str]:
    """Drop all but the primary key's; returns the statements that make them again."""
    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s AND indexname NOT LIKE '%%_pkey'",
        [table],
    )
    found = cursor.fetchall()
    for name, _definition in found:
        cursor.execute(f'DROP INDEX "{name}"')
    return [definition for _name, definition in found]


def noise(salt: int, below: int) -> str:
    """A number that looks random and is the same for the same row, in both tables."""
    return f"(abs(hashint8(i * 16 + {salt})::bigint) %% {below})".replace("%%", "%")


def owner(customers: list[int]) -> str:
    """One in two of the first customer, three in ten of the next ten, the rest of the small ones."""
    first = customers[0]
    return (
        f"CASE WHEN {noise(1, 10)} < 5 THEN {first} WHEN {noise(1, 10)} < 8 THEN {first + 1} + {noise(2, 10)}"
        f" ELSE {first + 11} + {noise(2, 1000)} END"
    )


def timeline(rows: int) -> tuple[str, str]:
    """SQL of (message id, time) of row i."""
    from gateway.rules.ids import id_at

    start = id_at(BEGIN)
    step = ((DAYS * 86_400_000) << 22) // rows
    return (
        f"{start} + i * {step}::bigint",
        f"'{BEGIN.isoformat()}'::timestamptz + i * interval '{DAYS * 86400 / rows} s'",
    )


def message_values(rows: int, customers: list[int]) -> dict[str, str]:
    ids, at = timeline(rows)
    local = f"CASE WHEN {noise(3, 10)} < 6 THEN 'shop' ELSE 'u' || {noise(4, 20_000)} END"
    return {
        "id": ids, "customer_id": owner(customers), "received_at": at, "size_bytes": "4096", "recipient_count": "1",
        "sender": f"{local} || '@{BIG}'", "sender_domain": f"'{BIG}'", "header_from": f"{local} || '@{BIG}'",
        "subject": f"(ARRAY['Order', 'Invoice', 'Your parcel', 'Re: meeting', 'Newsletter'])[1 + {noise(5, 5)}]"
        " || ' number ' || i",
        "message_id": "'<' || i || '@acme.example>'", "client_ip": f"('192.0.2.' || {noise(6, 200)})::inet",
        "category": f"CASE WHEN {noise(7, 1000)} < 3 THEN 'spam' WHEN {noise(7, 1000)} < 10 THEN 'suspect'"
        " ELSE 'clean' END",
        "symbols": """'[["SPF_OK", -1.0], ["FROM_DOMAIN_KNOWN", -2.0]]'::jsonb""",
    }  # fmt: skip


def recipient_values(rows: int, customers: list[int], gateways: dict[str, int]) -> dict[str, str]:
    ids, at = timeline(rows)
    fate, kind = noise(8, 1_000_000), noise(9, 10)
    rare = noise(10, 5000)
    domain = f"CASE WHEN {kind} < 5 THEN 'big' || {noise(10, 4)} ELSE 'd' || {rare} END || '.example'"
    local = (
        f"CASE WHEN {kind} < 1 THEN 'box' || {noise(11, 10)} WHEN {kind} < 5 THEN 'r' || {noise(11, 400_000)}"
        f" ELSE 'r' || {rare} + 4000 END"
    )
    refused = (
        "(ARRAY['5.1.1 User unknown', '5.2.2 mailbox full', '5.7.26 not authenticated', '5.4.4 lookup of ' || i"
        f" || ' failed'])[1 + {noise(12, 4)}]"
    )
    bounced = f"{fate} < 30000"
    bad = f"{noise(7, 1000)} < 10"
    good_way = (
        f"CASE WHEN {fate} = 777777 THEN {gateways['mta09']} WHEN i % 2 = 0 THEN {gateways['mta01']}"
        f" ELSE {gateways['mta02']} END"
    )
    return {
        "id": f"{ids} + 1", "message_id": ids, "customer_id": owner(customers), "expires_at": at, "settled_at": at,
        "address": f"{local} || '@' || {domain}", "domain": domain,
        "state": f"CASE WHEN {bounced} THEN 'bounced' WHEN {fate} < 30010 THEN 'queued' WHEN {fate} < 30012 THEN 'held'"
        f" WHEN {fate} < 30400 THEN 'expired' WHEN {fate} < 30401 THEN 'cancelled' ELSE 'delivered' END",
        "pool": f"CASE WHEN {bad} THEN 'bad' ELSE 'good' END",
        "gateway_id": f"CASE WHEN {bad} THEN {gateways['mta03']} ELSE {good_way} END",
        "remote_host": f"'mx.' || {domain}", "code": f"CASE WHEN {bounced} THEN 550 ELSE 250 END",
        "enhanced": f"CASE WHEN {bounced} THEN split_part({refused}, ' ', 1) ELSE '2.0.0' END",
        "text": f"CASE WHEN {bounced} THEN {refused} ELSE '2.0.0 Ok: queued as Q' || i END",
    }  # fmt: skip


def insert_sql(model: Any, values: dict[str, str], rows: int) -> str:
    """INSERT ... SELECT over a series; columns without an expression get the field's default."""
    expressions = {
        field.column: values.get(field.column) or literal(field) for field in model._meta.concrete_fields
    }
    columns = ", ".join(f'"{column}"' for column in expressions)
    chosen = ", ".join(expressions.values())
    return (
        f'INSERT INTO "{model._meta.db_table}" ({columns}) SELECT {chosen} FROM generate_series(1, {rows}) i'  # noqa: S608
    )


def literal(field: Any) -> str:
    value = field.get_default()
    if value is None:
        return "NULL"
    if isinstance(value, list | dict):
        return f"'{json.dumps(value)}'::jsonb"
    return repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else f"'{value}'"


def sizes_mib() -> dict[str, int]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_relation_size(oid) >> 20 FROM pg_class WHERE relkind IN ('r', 'i')"
            " AND (relname ~ '^gateway_(message|recipient)' OR relname ~ '^(message|recipient)_')"
            " AND pg_relation_size(oid) > 1 << 20 ORDER BY 2 DESC"
        )
        return dict(cursor.fetchall())


# ----------------------------------------------------------------------------------------------------- the searches


def questions(customer: Any) -> dict[str, Callable[[], Any]]:
    """Name -> a function that asks for a page."""
    from gateway.models import Gateway
    from gateway.rules.ids import id_at
    from portal.customer.message_search import search
    from portal.support import messages as support

    ways = {gateway.name: gateway for gateway in Gateway.objects.all()}

    def of_customer(wanted: dict[str, Any]) -> Any:
        return search(customer, wanted | {"gateway": ways.get(wanted.get("gateway", ""))})

    def older(wanted: dict[str, Any]) -> Any:
        return search(customer, wanted, cursor=cursors[str(wanted)])

    def of_support(asked: tuple[str, ...], cursor: str = "") -> Any:
        return support.search(support.question(*asked), timedelta(days=DAYS), cursor)

    middle = str(id_at(datetime.now(UTC) - timedelta(days=1)))
    cursors = {str(wanted): search(customer, wanted).next_cursor for wanted in (MONTH, SEARCHES["bounced"])}
    return (
        {name: lambda wanted=wanted: of_customer(wanted) for name, wanted in SEARCHES.items()}
        | {"next page": lambda: older(MONTH), "next page of bounced": lambda: older(SEARCHES["bounced"])}
        | {name: lambda asked=asked: of_support(asked) for name, asked in SUPPORT.items()}
        | {
            f"{name}, further back": lambda asked=SUPPORT[name]: of_support(asked, middle)
            for name in SEARCHED_FURTHER
        }
    )


def timed(ask: Callable[[], Any], *, plans: bool) -> dict[str, Any]:
    from django.db import connection, reset_queries
    from django.test.utils import override_settings

    runs = []
    with override_settings(DEBUG=True):  # so that the queries are kept
        for _ in range(RUNS):
            reset_queries()
            begun, used = time.perf_counter(), cpu_ms()
            page = ask()
            runs.append(((time.perf_counter() - begun) * 1000, cpu_ms() - used))
        queries = list(connection.queries)
    waits, cpus = zip(*runs, strict=True)
    told: dict[str, Any] = {
        "rows": len(page.rows), "queries": len(queries), "best_ms": round(min(waits), 1),
        "worst_ms": round(max(waits), 1), "cpu_ms": round(min(cpus), 1),
    }  # fmt: skip
    if page.searched_to:
        told["hours"] = round((datetime.now(UTC) - page.searched_to) / timedelta(hours=1), 1)
    if plans:
        told["plan"] = plan(max(queries, key=lambda query: float(query["time"]))["sql"])
    return told


def cpu_ms() -> float:
    """Processor time of this process and of its server process, which must be on this machine."""
    from django.db import connection

    pid = connection.connection.info.backend_pid
    server_ns = Path(f"/proc/{pid}/schedstat").read_text().split()[0]
    return time.process_time() * 1000 + int(server_ns) / 1e6


def plan(sql: str) -> list[str]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN ANALYZE {sql}")
        return [row[0] for row in cursor.fetchall()]


if __name__ == "__main__":
    main()
