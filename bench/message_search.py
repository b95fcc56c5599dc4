"""Fills PostgreSQL with a long message log and times every filter of the portal's search on it.

    .venv/bin/python -m bench.message_search [--rows 10000000] [--plans]

One customer has sent two thirds of it over 30 days. Prints one JSON object: per search the best and worst of five runs
in milliseconds and, with --plans, the plan of its slowest query. PostgreSQL is started for it in a temporary directory.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests import services

DAYS = 30
SEARCHES: dict[str, dict[str, Any]] = {
    "newest": {},
    "newest of 30 days": {"range": "30d"},
    "sender": {"range": "30d", "sender": "shop7@acme.example"},
    "sender that never sent": {"range": "30d", "sender": "nobody@acme.example"},
    "recipient": {"range": "30d", "recipient": "r4711@d11.example"},
    "recipient that never was": {"range": "30d", "recipient": "nobody@nowhere.example"},
    "recipient domain": {"range": "30d", "recipient": "d11.example"},
    "bounced": {"range": "30d", "status": "bounced"},
    "still open": {"range": "30d", "status": "open"},
    "spam": {"range": "30d", "category": "spam"},
    "subject, a day": {"range": "24h", "q": "number 4711"},
    "reply, a day": {"range": "24h", "reply": "unknown"},
    "Message-ID": {"id": "<4711@acme.example>"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--plans", action="store_true")
    options = parser.parse_args()
    with services.running() as started:
        os.environ["DATABASE_URL"] = services.start_postgres(started).extra["url"]
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
        import django

        django.setup()
        print(json.dumps(measure(options.rows, plans=options.plans), indent=1))


def measure(rows: int, *, plans: bool) -> dict[str, Any]:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    begun = time.perf_counter()
    customer = fill(rows)
    filled_s = round(time.perf_counter() - begun)
    found = {name: timed(customer, wanted, plans=plans) for name, wanted in SEARCHES.items()}
    return {"rows": rows, "filled_s": filled_s, "searches": found}


def fill(rows: int) -> Any:
    """Messages with one recipient each, spread over the days; returns the customer who sent most of them."""
    from django.db import connection

    from gateway.models import Customer, Message, Recipient
    from gateway.rules.ids import first_id

    acme = Customer.objects.create(slug="acme", name="ACME")
    other = Customer.objects.create(slug="globex", name="Globex")
    start = first_id(int((datetime.now(UTC) - timedelta(days=DAYS)).timestamp() * 1000))
    step = ((DAYS * 86_400_000) << 22) // rows
    owner = f"CASE WHEN i % 3 = 0 THEN {other.pk} ELSE {acme.pk} END"
    shared = {
        "customer_id": owner,
        "at": f"to_timestamp({time.time()}) - ({rows} - i) * interval '{DAYS * 86400 / rows} s'",
    }
    messages = {
        "id": f"{start} + i * {step}::bigint", "customer_id": owner, "received_at": shared["at"],
        "sender": "'shop' || i % 50 || '@acme.example'", "sender_domain": "'acme.example'", "size_bytes": "4096",
        "subject": "'Order number ' || i", "message_id": "'<' || i || '@acme.example>'", "recipient_count": "1",
        "category": "CASE WHEN i % 200 = 1 THEN 'spam' ELSE 'clean' END",
    }  # fmt: skip
    recipients = {
        "id": f"{start} + i * {step}::bigint + 1", "message_id": f"{start} + i * {step}::bigint", "customer_id": owner,
        "address": "'r' || i % 90000 || '@d' || i % 700 || '.example'", "domain": "'d' || i % 700 || '.example'",
        "state": "CASE WHEN i % 97 = 1 THEN 'bounced' WHEN i % 100003 = 1 THEN 'queued' ELSE 'delivered' END",
        "pool": "'good'", "expires_at": shared["at"], "code": "CASE WHEN i % 97 = 1 THEN 550 ELSE 250 END",
        "text": "CASE WHEN i % 97 = 1 THEN 'User unknown' ELSE 'Ok' END",
    }  # fmt: skip
    with connection.cursor() as cursor:
        for model, values in ((Message, messages), (Recipient, recipients)):
            cursor.execute(insert_sql(model, values, rows))
        cursor.execute("VACUUM ANALYZE")
    return acme


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


def timed(customer: Any, wanted: dict[str, Any], *, plans: bool) -> dict[str, Any]:
    from django.db import connection, reset_queries
    from django.test.utils import override_settings

    from portal.customer.message_search import search

    runs = []
    with override_settings(DEBUG=True):  # so that the queries are kept
        for _ in range(5):
            reset_queries()
            begun = time.perf_counter()
            page = search(customer, wanted)
            runs.append((time.perf_counter() - begun) * 1000)
        slowest = max(connection.queries, key=lambda query: float(query["time"]))["sql"]
    told: dict[str, Any] = {
        "rows": len(page.rows),
        "best_ms": round(min(runs), 1),
        "worst_ms": round(max(runs), 1),
    }
    return told | {"plan": plan(slowest)} if plans else told


def plan(sql: str) -> list[str]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN ANALYZE {sql}")
        return [row[0] for row in cursor.fetchall()]


if __name__ == "__main__":
    main()
