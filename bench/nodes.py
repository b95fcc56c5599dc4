"""What a second and a third node add on one PostgreSQL, and what a message costs it.

    .venv/bin/python -m bench.nodes [--messages 3000] [--nodes 1,2,3] [--groups 1,5,20,100] [--json FILE]

nodes   so many relays of one process each, on this machine, share a database and the load: messages/s, and processor
        time, transactions and WAL a message. With few cores the rate says nothing about nodes on machines of their
        own; what PostgreSQL needs for a message does.
groups  the same rows without a relay: so many messages are accepted in one transaction and settled in another. Under
        load a relay makes larger groups, and this is what PostgreSQL then needs for each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import uvloop

from bench.million import SIZE, load
from bench.relay import House, durable_postgres, house
from bench.rig import cpu_ms, need, tree_of
from tests import services
from tests.relay_harness import Relays, RunningRelay, relay_for
from tests.services import free_port


def made(shared: House, number: int) -> list[RunningRelay]:
    """Relays on one database. Their gateway hands over to a next hop, so that each of them may send by it."""
    relays = Relays(Path(tempfile.mkdtemp(prefix="nodes-", dir=shared.base)))
    first = relays.make(
        shared.dns.endpoint, shared.sink.port, shared.sink.port, SMG_CLAMD=shared.clamd.extra["socket"],
        SMG_RELAY_PROCESSES="1", SMG_MAX_CONNECTIONS_PER_ADDRESS="1000",
    )  # fmt: skip
    first.apply(relay_for())
    return [first, *(beside(first, place) for place in range(1, number))]


def beside(first: RunningRelay, place: int) -> RunningRelay:
    directory, port = first.directory.with_name(f"beside{place}"), free_port()
    directory.mkdir()
    env = {**first.env, "SMG_VAR_DIR": str(directory), "SMG_SMTP_LISTEN": f"127.0.0.1:{port}"}
    return replace(first, directory=directory, env=env, port=port, logs=[])


def spread(ports: list[int], messages: int) -> None:
    async def all_of_it() -> None:
        await asyncio.gather(*(load(port, messages // len(ports)) for port in ports))

    uvloop.run(all_of_it())


def measure(shared: House, postgres: services.Daemon, number: int, messages: int) -> dict[str, Any]:
    nodes = made(shared, number)
    try:
        for node in nodes:
            node.start()
        ports = [node.port for node in nodes]
        spread(ports, 300)  # warm
        time.sleep(1)
        before = used_ms(nodes, postgres)
        counted, sunk, begun = counters(nodes[0]), shared.sink.count, time.monotonic()
        spread(ports, messages)
        whole = shared.sink.wait_for(sunk + messages // number * number, 300)
        seconds = time.monotonic() - begun
        time.sleep(1)
        after = counters(nodes[0])
        used = {part: ms - before[part] for part, ms in used_ms(nodes, postgres).items()}
    finally:
        for node in nodes:
            node.kill()
    return {
        "nodes": number, "all arrived": whole, "per_s": round(messages / seconds, 1),
        **{f"{part}_ms": round(ms / messages, 2) for part, ms in used.items()},
        **{name: round((after[name] - counted[name]) / messages, 2) for name in after},
    }  # fmt: skip


def used_ms(nodes: list[RunningRelay], postgres: services.Daemon) -> dict[str, float]:
    relays = [pid for node in nodes if node.process for pid in tree_of(node.process.pid)]
    return {"relays": cpu_ms(relays), "postgres": cpu_ms(tree_of(postgres.process.pid))}


def counters(relay: RunningRelay) -> dict[str, float]:
    """Of the database: transactions, and KiB of WAL."""
    with psycopg.connect(relay.env["DATABASE_URL"]) as connection:
        commits, wal = connection.execute(
            "SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),"
            " pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
        ).fetchone() or (0, 0)
    return {"transactions": float(commits), "wal_kib": float(wal) / 1024}


# ------------------------------------------------------------------------------------------------- without a relay


def grouped(postgres: services.Daemon, url: str, sizes: list[int], messages: int) -> list[dict[str, Any]]:
    os.environ |= {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    import django

    django.setup()
    from django.db import connection

    found = []
    for size in sizes:
        group(size, 1)  # connects
        used, begun = cpu_ms(tree_of(postgres.process.pid)), time.monotonic()
        for _ in range(messages // size):
            group(size, 1)
        seconds = time.monotonic() - begun
        took = cpu_ms(tree_of(postgres.process.pid)) - used
        count = messages // size * size
        found.append(
            {"group": size, "postgres_ms": round(took / count, 3), "per_s": round(count / seconds, 1)}
        )
    connection.close()
    return found


_ids = iter(range(1 << 40, 1 << 50, 2))


def group(size: int, customer_id: int) -> None:
    """So many messages are accepted, leased, and delivered."""
    from django.db import transaction

    from gateway import store

    ids = [next(_ids) for _ in range(size)]
    with transaction.atomic():
        store.insert_messages([message(one, customer_id) for one in ids])
    with transaction.atomic():
        store.settle([delivered(one, customer_id) for one in ids])


def message(identity: int, customer_id: int) -> Any:
    from gateway import store

    now, domain = datetime.now(UTC), f"d{identity % 4999}.example"
    return store.NewMessage(
        message={
            "id": identity, "kind": "customer", "customer_id": customer_id, "received_at": now, "client_ip": None,
            "sender": "web@acme.example", "sender_domain": "acme.example", "header_from": "web@acme.example",
            "subject": f"no-{identity}", "message_id": f"<{identity * 2654435761 % 10**9}@acme.example>",
            "size_bytes": SIZE, "recipient_count": 1, "category": "clean",
        },
        recipients=[
            {
                "id": identity + 1, "message_id": identity, "customer_id": customer_id, "pool": "good",
                "domain": domain, "address": f"r{identity * 40503 % 1_000_003}@{domain}", "lease_owner": "bench",
                "next_attempt_at": now + store.LEASE, "expires_at": now + timedelta(days=5),
            }
        ],
        content=os.urandom(SIZE),
    )  # fmt: skip


def delivered(identity: int, customer_id: int) -> Any:
    from gateway import store
    from gateway.rules.types import Outcome, Reply, Stage, State

    reply = Reply(250, "2.0.0", "Ok: queued as 4cFzYq0Zx1z9rxD")
    outcome = Outcome(identity + 1, State.DELIVERED, reply, Stage.DOT, datetime.now(UTC), reason="delivered")
    return store.Settlement(identity, customer_id, "acme.example", [outcome])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--nodes", default="1,2,3")
    parser.add_argument("--groups", default="1,5,20,100")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if missing := need("smtp-sink", "clamd", "postgres"):
        raise SystemExit(missing)
    results: dict[str, Any] = {"load_average": os.getloadavg(), "nodes": [], "groups": []}
    with ExitStack() as stack:
        shared = stack.enter_context(house())
        postgres = stack.enter_context(durable_postgres(shared.daemons))
        for number in map(int, filter(None, options.nodes.split(","))):
            results["nodes"].append(measure(shared, postgres, number, options.messages))
            print(results["nodes"][-1], flush=True)
        sizes = list(map(int, filter(None, options.groups.split(","))))
        if sizes:
            url = made(shared, 1)[0].env["DATABASE_URL"]
            results["groups"] = grouped(postgres, url, sizes, options.messages)
            print(*results["groups"], sep="\n")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
