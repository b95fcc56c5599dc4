"""Steady load for as long as one likes on a real relay; fails when memory, files, threads or the queue grow.

    .venv/bin/python -m bench.soak [--minutes 30] [--rate 50] [--postgres] [--json FILE]

A thousand different messages in turn (700 octets to 60 KB). Of a hundred, three have a sender who is refused, five a
recipient who does not exist (a report goes back) and ten one who is deferred once or more often. A sample is taken
every half minute; the first fifth of the time is for warming up and counts for nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bench.crash import OPEN
from bench.rig import cpu_ms, pss_mib, rss_mib, tree_of
from bench.wire import NextHop, PlainClient, Refused, letter, text_of
from tests import services
from tests.dns_server import DnsServer
from tests.relay_harness import Relays, RunningRelay, relay_for

VARIETY = 1000
SENDERS = 5
A_SESSION = 50  # messages
SAMPLE_S = 30.0
WARM = 0.2  # of the time
# What the line through the samples may rise over the whole measured time.
MAY_GROW = {"rss_mib": 6.0, "pss_mib": 12.0, "fds": 10.0, "threads": 2.0, "queue": 50.0}


class ForgetfulHop(NextHop):
    """Takes recipients whose address begins with 'later' every second time only, by chance."""

    def _answer(self, verb: bytes, line: bytes) -> bytes:
        if verb == b"RCPT" and b"<later" in line and random.random() < 0.5:
            return b"451 4.3.2 come back later\r\n"
        return super()._answer(verb, line)


@dataclass(frozen=True)
class Sample:
    minute: float
    rss_mib: float  # of the largest process
    pss_mib: float  # of all
    fds: int
    threads: int
    queue: int
    accepted: int
    cpu_s: float


class SteadyLoad:
    """Threads that send at a fixed rate together, however slow the answers are."""

    def __init__(self, port: int, per_s: float) -> None:
        self.accepted: set[int] = set()
        self.answers: Counter[str] = Counter()
        self._port = port
        self._pause_s = SENDERS / per_s
        self._texts = [
            text_of(random.Random(seed).choice((700, 2000, 4000, 15_000, 60_000)), seed)
            for seed in range(VARIETY)
        ]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(first,)) for first in range(SENDERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        due, left = time.monotonic(), 0
        client: PlainClient | None = None
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due, number, left = due + self._pause_s, number + SENDERS, left - 1
            try:
                if client is None or left <= 0:
                    if client:
                        client.close()
                    client, left = PlainClient(self._port), A_SESSION
                self._send(client, number)
            except Refused as error:
                self.answers[str(error.code)] += 1
                left = 0
            except OSError as error:
                self.answers[type(error).__name__] += 1
                left = 0
        if client:
            client.close()

    def _send(self, client: PlainClient, number: int) -> None:
        sender, recipient = envelope(number)
        message = letter(number, self._texts[number % VARIETY], sender)
        client.send(message, recipient, sender)
        self.answers["250"] += 1
        self.accepted.add(number)


def envelope(number: int) -> tuple[str, str]:
    """Sender and recipient of a message, by its number."""
    place = number % 100
    sender = "web@stranger.example" if place < 3 else "web@acme.example"
    if 3 <= place < 8:
        return sender, f"nobody{number % 17}@partner.example"
    name = "later" if 8 <= place < 18 else "someone"
    return sender, f"{name}{number % 300}@partner.example"


def sample(relay: RunningRelay, load: SteadyLoad, minute: float) -> Sample:
    pids = tree_of(relay.process.pid) if relay.process else []
    return Sample(
        round(minute, 2), round(max(map(rss_mib, pids)), 1), round(pss_mib(pids), 1),
        sum(_entries(pid, "fd") for pid in pids), sum(_entries(pid, "task") for pid in pids),
        relay.query(OPEN)[0][0], len(load.accepted), round(cpu_ms(pids) / 1000, 1),
    )  # fmt: skip


def _entries(pid: int, name: str) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/{name}").iterdir())
    except OSError:
        return 0


def growth(samples: list[Sample]) -> dict[str, dict[str, float]]:
    """First, last and slope (an hour) of every figure after the warming up, and what that is over the time."""
    warm = [item for item in samples if item.minute >= WARM * samples[-1].minute]
    minutes = [item.minute for item in warm]
    found = {}
    for name, allowed in MAY_GROW.items():
        values = [float(getattr(item, name)) for item in warm]
        slope = statistics.linear_regression(minutes, values).slope
        found[name] = {
            "first": values[0], "last": values[-1], "an_hour": round(slope * 60, 2),
            "grown": round(slope * (minutes[-1] - minutes[0]), 2), "allowed": allowed,
        }  # fmt: skip
    return found


@contextlib.contextmanager
def stage(*, postgres: bool) -> Iterator[tuple[RunningRelay, NextHop]]:
    """A running relay with clamd and a next hop that defers and bounces."""
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smg-soak-")))
        daemons = stack.enter_context(services.running())
        if postgres:
            os.environ["DATABASE_URL"] = services.start_postgres(daemons).extra["url"]
            stack.callback(os.environ.pop, "DATABASE_URL", None)
        clamd = services.start_clamd(daemons)
        dns = stack.enter_context(DnsServer())
        dns.mail_domain("acme.example")
        hop = stack.enter_context(ForgetfulHop())
        relays = Relays(base)
        stack.callback(relays.stop_all)
        relay = relays.make(
            dns.endpoint, hop.port, hop.port,
            SMG_CLAMD=clamd.extra["socket"], SMG_RETRY_SCHEDULE="1,1,2",
        )  # fmt: skip
        relay.apply(relay_for())
        relay.start()
        yield relay, hop


def soak(relay: RunningRelay, hop: NextHop, minutes: float, per_s: float) -> dict[str, Any]:
    samples: list[Sample] = []
    begun = time.monotonic()
    with SteadyLoad(relay.port, per_s) as load:
        for number in range(int(minutes * 60 / SAMPLE_S) + 1):
            time.sleep(max(0.0, begun + number * SAMPLE_S - time.monotonic()))
            samples.append(sample(relay, load, (time.monotonic() - begun) / 60))
            print(" ".join(f"{name}={value}" for name, value in asdict(samples[-1]).items()), flush=True)
    relay.wait_for(OPEN, 0, timeout_s=120)
    bounced = {number for number in load.accepted if envelope(number)[1].startswith("nobody")}
    return {
        "minutes": minutes, "per_s": per_s, "answers": dict(load.answers), "accepted": len(load.accepted),
        "delivered": len(load.accepted & hop.book.copies.keys()), "bounced": len(bounced),
        "reports": hop.book.reports, "lost": len(load.accepted - bounced - hop.book.copies.keys()),
        "twice": sum(copies > 1 for copies in hop.book.copies.values()), "damaged": len(hop.book.damaged),
        "growth": growth(samples), "samples": [asdict(item) for item in samples],
    }  # fmt: skip


def complaints(result: dict[str, Any]) -> list[str]:
    """What grew, was lost or damaged; empty when all is well."""
    grown = [
        f"{name} grew by {item['grown']} (allowed {item['allowed']})"
        for name, item in result["growth"].items()
        if item["grown"] > item["allowed"]
    ]
    return grown + [f"{result[name]} {name}" for name in ("lost", "damaged") if result[name]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=50.0, help="messages a second")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.minutes < 2:
        parser.error("--minutes: at least 2, or there are too few samples to tell growth")
    with stage(postgres=options.postgres) as (relay, hop):
        result = soak(relay, hop, options.minutes, options.rate)
    for name, item in result["growth"].items():
        print(
            f"{name:8} {item['first']:8.1f} -> {item['last']:8.1f}  {item['an_hour']:+8.2f} an hour,"
            f" {item['grown']:+.2f} in this time"
        )
    print({name: value for name, value in result.items() if name not in ("growth", "samples")})
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    if problems := complaints(result):
        raise SystemExit("; ".join(problems))


if __name__ == "__main__":
    main()
