"""Kills the relay under load, again and again, and counts what became of every message that got its 250.

    .venv/bin/python -m bench.crash [--rounds 20] [--postgres] [--drills clamd,dns,disk,database] [--seed N]

Numbered messages come from several clients at once. In each round, at a random moment, the whole tree or one process of
it is killed with SIGKILL, and the next hop has its moods. At the end all is let settle and counted: every accepted
message must have arrived, been reported to its sender or be held. A drill takes a part away while the load goes on
(scanner, name server, space on the disk, database) and looks at the replies meanwhile.

Prints one JSON object; exit code 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bench.wire import NextHop, PlainClient, Refused, letter, text_of
from tests import services
from tests.dns_server import DnsServer
from tests.relay_harness import Relays, RunningRelay, decoded, relay_for

CLIENTS = 6
PAUSE_S = 0.005  # of a client between two messages
BIG_EVERY = 25  # every 25th message is too big for a database row
UNKNOWN_EVERY = 40  # and so often the recipient does not exist
SIZES = (700, 2500, 6000)
BIG = 150_000
SETTLE_S = 200.0
DOUBLES_PER_KILL = 5
DISK_MB = 160  # of the small disk: to be filled by the drill, not by the log of the rounds before it
DISK_MB_PER_ROUND = 4
BACK_S = 10.0  # the promise: service is back within
STATES = (
    "SELECT m.subject, r.state, r.ndr IS NOT NULL FROM gateway_recipient r"
    " JOIN gateway_message m ON m.id = r.message_id WHERE m.kind = 'customer'"
)
WHY = (
    "SELECT text, remote_host, attempts, lease_owner, next_attempt_at, count(*) FROM gateway_recipient"
    " WHERE state = 'queued' GROUP BY 1, 2, 3, 4, 5 ORDER BY 6 DESC LIMIT 5"
)
OPEN = "SELECT count(*) FROM gateway_recipient WHERE state = 'queued'"


@dataclass
class Ledger:
    """What the clients were told."""

    accepted: dict[int, float] = field(default_factory=dict)  # number -> when
    unclear: set[int] = field(default_factory=set)  # the connection broke before an answer to the dot
    codes: Counter[int] = field(default_factory=Counter)  # of refusals
    permanent: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: int = 0

    def number(self) -> int:
        with self._lock:
            self._next += 1
            return self._next

    def refused(self, error: Refused) -> None:
        self.codes[error.code] += 1
        if error.code >= 500:
            self.permanent.append(str(error))


class Load:
    """Clients that send one message after the other until told to stop."""

    def __init__(self, port: int, clients: int = CLIENTS, pause_s: float = PAUSE_S) -> None:
        self.ledger = Ledger()
        self._port = port
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._session()
            except Refused as error:
                self.ledger.refused(error)
            except OSError:
                pass  # it is being killed all the time
            self._stop.wait(0.05)

    def _session(self) -> None:
        client = PlainClient(self._port)
        try:
            for _ in range(50):
                if self._stop.is_set():
                    return
                self._one(client)
                self._stop.wait(self._pause_s)
        finally:
            client.close()

    def _one(self, client: PlainClient) -> None:
        number = self.ledger.number()
        size = BIG if number % BIG_EVERY == 0 else SIZES[number % len(SIZES)]
        recipient = "nobody@partner.example" if number % UNKNOWN_EVERY == 0 else "someone@partner.example"
        message = letter(number, text_of(size, number % 7))
        client.envelope("web@acme.example", recipient)
        self.ledger.unclear.add(number)
        try:
            client.ask(message + b".\r\n")
        except Refused:
            self.ledger.unclear.discard(number)
            raise
        self.ledger.accepted[number] = time.monotonic()
        self.ledger.unclear.discard(number)


@dataclass
class Theatre:
    """Everything that takes part."""

    relay: RunningRelay
    hop: NextHop
    load: Load
    dns: DnsServer
    dice: random.Random
    daemons: services.Services
    clamd: services.Daemon | None = None
    postgres: services.Daemon | None = None
    recoveries: dict[str, list[float]] = field(default_factory=dict)

    # ---- killing

    def round(self, kinds: tuple[str, ...], moods: tuple[str, ...]) -> None:
        self.hop.set_mood(self.dice.choice(moods))
        time.sleep(self.dice.uniform(0.2, 1.5))
        kind = self.dice.choice(kinds)
        killed_at = time.monotonic()
        if kind == "tree":
            self.relay.kill()
            self.relay.start()
        else:
            self._kill_one()
        self.note(kind, self.back_after(killed_at))
        self.hop.set_mood("ok")
        time.sleep(self.dice.uniform(0.1, 0.6))

    def _kill_one(self) -> None:
        victims = children(self.relay.process.pid if self.relay.process else 0)
        if victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.dice.choice(victims), signal.SIGKILL)

    def back_after(self, since: float, timeout_s: float = 60.0) -> float:
        """Seconds until a message that was accepted later than `since`, all processes being there."""
        end = time.monotonic() + timeout_s
        wanted = int(self.relay.env["SMG_RELAY_PROCESSES"])
        while time.monotonic() < end:
            pid = self.relay.process.pid if self.relay.process else 0
            last = max(self.load.ledger.accepted.copy().values(), default=0.0)
            if last > since and len(children(pid)) >= wanted:
                return time.monotonic() - since
            time.sleep(0.02)
        return timeout_s

    def note(self, kind: str, seconds: float) -> None:
        self.recoveries.setdefault(kind, []).append(round(seconds, 2))

    # ---- drills: a part goes away and comes back

    def drill(self, name: str) -> dict[str, int]:
        """Returns the reply codes of the time without the part; 250 stands for what was accepted meanwhile."""
        away, back = DRILLS[name]
        away(self)
        time.sleep(1.0)  # what is under way may still end well
        before, accepted = Counter(self.load.ledger.codes), len(self.load.ledger.accepted)
        time.sleep(4.0)
        codes = {str(code): number for code, number in (self.load.ledger.codes - before).items()}
        codes["250"] = len(self.load.ledger.accepted) - accepted
        back(self)
        self.note(name, self.back_after(time.monotonic()))
        return codes

    # ---- settling and counting

    def settle(self, timeout_s: float = SETTLE_S) -> None:
        self.load.stop()
        self.hop.set_mood("ok")
        end = time.monotonic() + timeout_s
        while self.relay.query(OPEN)[0][0] and time.monotonic() < end:
            time.sleep(0.2)

    def verdict(self) -> dict[str, Any]:
        ledger, book = self.load.ledger, self.hop.book
        ends = {int(subject[3:]): (state, told) for subject, state, told in self.relay.query(STATES)}
        lost = [number for number in ledger.accepted if not self._is_accounted(number, ends)]
        doubles = sum(copies - 1 for copies in book.copies.values())
        return {
            "accepted": len(ledger.accepted),
            "unclear": len(ledger.unclear),
            "delivered": sum(number in book.copies for number in ledger.accepted),
            "reported": sum(ends.get(number, ("", False))[0] == "bounced" for number in ledger.accepted),
            "held": sum(ends.get(number, ("", False))[0] == "held" for number in ledger.accepted),
            "lost": len(lost),
            "lost_numbers": lost[:10],
            "damaged": len(book.damaged),
            "duplicates": doubles,
            "duplicate_share": round(doubles / max(1, len(ledger.accepted)), 5),
            "reports_arrived": book.reports,
            "still_queued": self.relay.query(OPEN)[0][0],
            "queued_because": self.relay.query(WHY),
            "workers": [
                _work_of(numbers) for (numbers,) in self.relay.query("SELECT numbers FROM gateway_worker")
            ],
            "refusals": {str(code): number for code, number in sorted(ledger.codes.items())},
            "permanent_refusals": ledger.permanent[:5],
            "back_after_s": {kind: _spread(values) for kind, values in self.recoveries.items()},
        }

    def _is_accounted(self, number: int, ends: dict[int, tuple[str, bool]]) -> bool:
        state, told = ends.get(number, ("", False))
        return (number in self.hop.book.copies and state == "delivered") or (
            (state == "bounced" and told) or state == "held"
        )


def _work_of(numbers: Any) -> dict[str, Any]:
    found: dict[str, Any] = decoded(numbers)
    return {name: found.get(name) for name in ("waiting", "running", "lanes", "closed_lanes")}


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"times": len(ordered), "median": ordered[len(ordered) // 2], "worst": ordered[-1]}


def broken_promises(verdict: dict[str, Any]) -> list[str]:
    """What a run must never show, in words."""
    found = [
        f"{name}: {verdict[name]}"
        for name in ("lost", "damaged", "still_queued", "permanent_refusals")
        if verdict[name]
    ]
    # A kill doubles what was on its way between the next hop's 250 and our commit; a short run has few others beside.
    if verdict["duplicates"] > max(verdict["accepted"] * 0.01, verdict["rounds"] * DOUBLES_PER_KILL):
        found.append(f"duplicates: {verdict['duplicates']} ({verdict['duplicate_share']:.2%})")
    slow = {
        kind: spread["worst"] for kind, spread in verdict["back_after_s"].items() if spread["worst"] > BACK_S
    }
    return found + [f"back only after {seconds} s ({kind})" for kind, seconds in slow.items()]


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


# ---- the drills


def _scanner_away(theatre: Theatre) -> None:
    assert theatre.clamd is not None
    theatre.clamd.stop(signal.SIGKILL)


def _scanner_back(theatre: Theatre) -> None:
    clamd = theatre.clamd
    assert clamd is not None
    theatre.clamd = theatre.daemons.start(
        "clamd",
        list(clamd.process.args),
        clamd.directory,
        port=clamd.port,  # type: ignore[call-overload, arg-type]
    )


def _dns_away(theatre: Theatre) -> None:
    theatre.dns.fail("acme.example", "servfail")


def _dns_back(theatre: Theatre) -> None:
    theatre.dns.remove("acme.example", "NONE")
    theatre.dns._failures.clear()


def _disk_full(theatre: Theatre) -> None:
    with contextlib.suppress(OSError), (theatre.relay.directory / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(b"\0" * 65536)


def _disk_free(theatre: Theatre) -> None:
    (theatre.relay.directory / "filler").unlink()


def _database_away(theatre: Theatre) -> None:
    assert theatre.postgres is not None
    theatre.postgres.stop(signal.SIGQUIT)  # at once, as after a crash


def _database_back(theatre: Theatre) -> None:
    old = theatre.postgres
    assert old is not None
    theatre.postgres = theatre.daemons.start(
        "postgres",
        list(old.process.args),
        old.directory,
        port=old.port,
        ready=services._pg_ready,  # type: ignore[call-overload, arg-type]
    )


DRILLS = {
    "clamd": (_scanner_away, _scanner_back),
    "dns": (_dns_away, _dns_back),
    "disk": (_disk_full, _disk_free),
    "database": (_database_away, _database_back),
}


# ---- setting up


@contextlib.contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own for the relay's files (root only)."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@contextlib.contextmanager
def prepared(
    drills: tuple[str, ...],
    *,
    postgres: bool,
    seed: int,
    disk_mb: int,
    pause_s: float = PAUSE_S,
    **settings: str,
) -> Iterator[Theatre]:
    """A running relay under load with all that the drills need."""
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smg-crash-")))
        if "disk" in drills:
            base = stack.enter_context(small_disk(base / "small", disk_mb))
        daemons = stack.enter_context(services.running())
        database = services.start_postgres(daemons) if postgres else None
        if database:
            os.environ["DATABASE_URL"] = database.extra["url"]
            stack.callback(os.environ.pop, "DATABASE_URL", None)
        clamd = services.start_clamd(daemons) if "clamd" in drills else None
        if clamd:
            settings["SMG_CLAMD"] = f"tcp:{clamd.endpoint}"
        dns = DnsServer().start()
        stack.callback(dns.stop)
        dns.add("acme.example", "MX", "10 mx.acme.example.", ttl=1 if "dns" in drills else 60)
        dns.add("mx.acme.example", "A", "127.0.0.1")
        hop = stack.enter_context(NextHop())
        relays = Relays(base)
        stack.callback(relays.stop_all)
        relay = relays.make(
            dns.endpoint, hop.port, hop.port,
            SMG_RETRY_SCHEDULE="1,1,2", SMG_MAX_CONNECTIONS_PER_ADDRESS="200", **settings,
        )  # fmt: skip
        relay.apply(relay_for())
        relay.start()
        load = stack.enter_context(Load(relay.port, pause_s=pause_s))
        yield Theatre(relay, hop, load, dns, random.Random(seed), daemons, clamd, database)


def run(
    rounds: int,
    *,
    drills: tuple[str, ...] = (),
    postgres: bool = False,
    seed: int = 0,
    settle_s: float = SETTLE_S,
    kinds: tuple[str, ...] = ("tree", "one", "one"),
    moods: tuple[str, ...] = ("ok", "defer", "away"),
    pause_s: float = PAUSE_S,
) -> dict[str, Any]:
    """The whole; returns the verdict."""
    disk_mb = DISK_MB + DISK_MB_PER_ROUND * rounds
    with prepared(drills, postgres=postgres, seed=seed, disk_mb=disk_mb, pause_s=pause_s) as theatre:
        time.sleep(0.5)
        for number in range(rounds):
            theatre.round(kinds, moods)
            print(
                f"round {number + 1}/{rounds}: {len(theatre.load.ledger.accepted)} accepted", file=sys.stderr
            )
        codes = {name: theatre.drill(name) for name in drills}
        theatre.settle(settle_s)
        verdict = theatre.verdict() | {"rounds": rounds, "database": "postgresql" if postgres else "sqlite"}
        verdict["codes_in_drills"] = codes
        verdict["log_tail"] = theatre.relay.log[-200_000:] if broken_promises(verdict) else ""
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--drills", default="", help="clamd, dns, disk (root), database (with --postgres)")
    parser.add_argument("--settle", type=float, default=SETTLE_S)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    drills = tuple(name for name in options.drills.split(",") if name)
    verdict = run(
        options.rounds, drills=drills, postgres=options.postgres, seed=options.seed, settle_s=options.settle
    )
    broken = broken_promises(verdict)
    print(json.dumps(verdict | {"seed": options.seed, "broken": broken}, indent=1, default=str))
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
