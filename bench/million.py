"""Cost must not grow: the same work with an empty database, a million rows in the log, a million waiting recipients.

    .venv/bin/python -m bench.million [--rows 1000000] [--only sqlite,postgres] [--parts rate,claims,steps,retention]
                                      [--messages 3000] [--rounds 3] [--plans] [--json FILE]

rate       messages/s and processor time a message, whole way, with random recipients and Message-IDs; the databases
           take turns, so that what else runs on the machine meets all of them
claims     time of one claim (200 recipients) for several kinds of a queue of so many, see bench/million_inside.py
steps      the other statements about the queue; --plans: how the database does all of them
retention  the nightly run beside full load: rate and DATA -> 250 without and with it, the longest transaction
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from bench.ingress import Client
from bench.load import SENDER
from bench.relay import House, durable_postgres, house
from bench.rig import cpu_ms, need, percentile, tree_of
from bench.wire import letter, text_of
from gateway.sign import generate_key
from tests.relay_harness import ROOT, Relays, RunningRelay, relay_for

SIZE = 4096
SESSIONS = 20
STATES = {"empty": "", "log": "log", "deferred": "deferred"}
QUEUES = ("deferred", "few due", "all due", "other pool", "customer not wanted", "full destination", "held")
CLAIMS = 60


@dataclass
class Bench:
    """One kind of database: relays are made on it, each with its own."""

    name: str
    shared: House
    relays: Relays
    options: argparse.Namespace
    postgres: int = 0  # its process
    results: dict[str, Any] = field(default_factory=dict)

    def made(self, kind: str) -> RunningRelay:
        relay = self.relays.make(
            self.shared.dns.endpoint, self.shared.sink.port, self.shared.sink.port,
            SMG_CLAMD=self.shared.clamd.extra["socket"], SMG_MAX_CONNECTIONS_PER_ADDRESS="1000",
        )  # fmt: skip
        key = relay.directory / "dkim.pem"
        key.write_bytes(generate_key()[0])
        names = f'domain = "acme.example"\nselector = "s1"\nprivate_key_file = "{key}"\n'
        relay.apply(f"{relay_for()}[[customers.dkim_keys]]\n{names}")
        if kind:
            print(
                f"{self.name}: {kind} filled in {inside(relay, 'fill', kind, str(self.options.rows))['seconds']} s"
            )
        return relay

    def pids(self, relay: RunningRelay) -> list[int]:
        pids = tree_of(relay.process.pid) if relay.process else []
        return pids + (tree_of(self.postgres) if self.postgres else [])


def inside(relay: RunningRelay, *arguments: str) -> Any:
    """The answer of a command that runs in the relay's environment."""
    command = [sys.executable, "-m", "bench.million_inside", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=relay.env, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


# ------------------------------------------------------------------------------------------------- load


async def load(port: int, messages: int) -> list[float]:
    """Seconds from the dot to the 250 of each message, over kept connections, as fast as it goes."""
    text, times, left = text_of(SIZE - 300, 3), [], iter(range(messages))

    async def worker() -> None:
        client = Client(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))
        await client.ask(b"")
        await client.ask(b"EHLO client.acme.example\r\n")
        times.extend([await send(client, text) for _ in left])
        client.writer.close()

    await asyncio.gather(*(worker() for _ in range(SESSIONS)))
    return times


async def send(client: Client, text: bytes) -> float:
    number = random.getrandbits(40)
    recipient = f"r{number % 1_000_003}@d{number % 4999}.example"
    for line in (f"MAIL FROM:<{SENDER}>\r\n", f"RCPT TO:<{recipient}>\r\n", "DATA\r\n"):
        await client.ask(line.encode())
    started = time.perf_counter()
    await client.ask(letter(number, text) + b".\r\n")
    return time.perf_counter() - started


@dataclass
class Run:
    per_s: float
    cpu_ms: float  # of the relay and of PostgreSQL, a message
    p99_ms: float
    max_ms: float


def run(bench: Bench, relay: RunningRelay, messages: int) -> Run:
    """From the first message to the last delivery."""
    sink, pids = bench.shared.sink, bench.pids(relay)
    before, used, begun = sink.count, cpu_ms(pids), time.monotonic()
    times = uvloop.run(load(relay.port, messages))
    if not sink.wait_for(before + messages, 300):
        print(f"{before + messages - sink.count} messages did not arrive", file=sys.stderr)
    seconds = time.monotonic() - begun
    time.sleep(0.3)  # the last settlements
    return Run(
        messages / seconds, (cpu_ms(pids) - used) / messages, percentile(times, 0.99) * 1000, max(times) * 1000
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- the parts


def measure_rate(bench: Bench) -> None:
    relays = {state: bench.made(kind) for state, kind in STATES.items()}
    runs: dict[str, list[Run]] = {state: [] for state in STATES}
    for _ in range(bench.options.rounds):
        for state, relay in relays.items():
            relay.start()
            run(bench, relay, 300)  # warm
            runs[state].append(run(bench, relay, bench.options.messages))
            relay.stop()
    empty = median(runs["empty"])
    for state, found in runs.items():
        middle = median(found)
        print(
            f"{bench.name}: {state:9} {middle.per_s:6.0f}/s (x{middle.per_s / empty.per_s:.2f})"
            f"  cpu {middle.cpu_ms:.2f} ms (x{middle.cpu_ms / empty.cpu_ms:.2f})  p99 {middle.p99_ms:.0f} ms"
        )
    bench.results["rate"] = {state: [vars(one) for one in found] for state, found in runs.items()}


def median(runs: list[Run]) -> Run:
    return Run(*(statistics.median(getattr(one, name) for one in runs) for name in vars(runs[0])))


def measure_claims(bench: Bench) -> None:
    bench.results["claims"] = {}
    for kind in bench.options.queues.split(","):
        found = inside(bench.made(kind), "claims", str(CLAIMS))
        bench.results["claims"][kind] = found
        print(f"{bench.name}: {kind:20} {found}", flush=True)


def measure_steps(bench: Bench) -> None:
    for kind in ("log", "deferred", "held"):
        relay = bench.made(kind)
        found = inside(relay, "steps")
        bench.results[f"steps, {kind}"] = found
        print(f"{bench.name}: {kind:9} {found}", flush=True)
        if bench.options.plans:
            for name, lines in inside(relay, "plans").items():
                print(f"  {name}", *lines, sep="\n    ")


def measure_retention(bench: Bench) -> None:
    relay = bench.made("log")
    relay.start()
    run(bench, relay, 300)
    alone = run(bench, relay, bench.options.messages)
    command = [sys.executable, "-m", "bench.million_inside", "clean_up"]
    with subprocess.Popen(command, cwd=ROOT, env=relay.env, stdout=subprocess.PIPE) as cleaning:
        time.sleep(2)  # its start
        beside = run(bench, relay, bench.options.messages)
        still = cleaning.poll() is None
        told = json.loads(cleaning.communicate()[0])
    relay.stop()
    bench.results["retention"] = {
        "alone": vars(alone), "beside": vars(beside), "whole run beside": still, "cleaning": told
    }  # fmt: skip
    for name, one in (("alone", alone), ("beside it", beside)):
        print(f"{bench.name}: {name:9} {one.per_s:.0f}/s, p99 {one.p99_ms:.0f} ms, worst {one.max_ms:.0f} ms")
    print(f"{bench.name}: {told}{'' if still else ' (it ended before the load did)'}", flush=True)


PARTS = {
    "rate": measure_rate,
    "claims": measure_claims,
    "steps": measure_steps,
    "retention": measure_retention,
}


@contextlib.contextmanager
def on(name: str, shared: House, options: argparse.Namespace) -> Iterator[Bench]:
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(durable_postgres(shared.daemons)) if name == "postgres" else None
        relays = Relays(shared.base / name)
        stack.callback(relays.stop_all)
        yield Bench(name, shared, relays, options, postgres.process.pid if postgres else 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", default="sqlite,postgres")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--queues", default=",".join(QUEUES), help="of which claims are measured")
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plans", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if missing := need("smtp-sink", "clamd"):
        raise SystemExit(missing)
    results: dict[str, Any] = {"load_average": os.getloadavg(), "rows": options.rows}
    with house() as shared:
        for name in options.only.split(","):
            with on(name, shared, options) as bench:
                for part in options.parts.split(","):
                    PARTS[part](bench)
                results[name] = bench.results
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
