"""One check of 1,000 targets x 50 lists against rbldnsd: questions a second, CPU, memory.

    .venv/bin/python -m bench.blacklist [--targets 1000] [--lists 50] [--polite]

Prints one JSON line. Without --polite the lists' rates are lifted: the real check lasts as long as politeness wants
(1,000 targets at 5 a second = 200 s, all lists side by side). Nothing leaves this machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blacklist.probe.check import check, dns_asker
from blacklist.probe.pace import Pace
from blacklist.probe.worker import Found, ListPlan, Question
from blacklist.rules.providers import Cells, build_spec
from blacklist.rules.types import Kind, Status
from gateway.config import Endpoint

HEAD = "$SOA 60 ns.bench. root.ns.bench. 0 600 300 86400 60\n$NS 3600 ns.bench.\n$TTL 60\n127.0.0.2 :127.0.0.2:test\n"
LISTED_EVERY = 100  # one target in a hundred is on each list


def address(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@contextmanager
def rbldnsd(lists: int, targets: int) -> Iterator[Endpoint]:
    binary = shutil.which("rbldnsd") or "/usr/sbin/rbldnsd"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="smg-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        hits = "".join(f"{address(number)} :127.0.0.2:bench\n" for number in range(0, targets, LISTED_EVERY))
        (directory / "zone").write_text(HEAD + hits)
        zones = [f"l{number}.bench:ip4set:zone" for number in range(lists)]
        process = subprocess.Popen([binary, "-n", "-b", f"127.0.0.1/{port}", "-w", name, "-c", "0", *zones])
        try:
            time.sleep(1.5)
            yield Endpoint("127.0.0.1", port)
        finally:
            process.terminate()
            process.wait()


def plans(lists: int, targets: int) -> list[ListPlan]:
    questions = tuple(Question(number, Kind.IP4, (address(number),)) for number in range(targets))
    made = []
    for number in range(lists):
        cells = Cells(
            f"l{number}",
            "bench",
            f"l{number}.bench",
            "ip4",
            "127.0.0.2=listed",
            "",
            "minor",
            "codes",
            "",
            "",
            "",
        )
        made.append(ListPlan(number, build_spec(cells), questions))
    return made


def measure(options: argparse.Namespace) -> dict[str, float | int]:
    pace = Pace() if options.polite else Pace(faster=1e6)
    counts: Counter[Status] = Counter()
    with rbldnsd(options.lists, options.targets) as server:
        work = plans(options.lists, options.targets)
        begun, cpu = time.perf_counter(), time.process_time()
        for event in check(work, dns_asker([server]), pace):
            if isinstance(event, Found):
                counts[event.verdict.status] += 1
        wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    asked = sum(counts.values())
    expected = options.lists * len(range(0, options.targets, LISTED_EVERY))
    return {
        "questions": asked,
        "wall_s": round(wall_s, 2),
        "per_second": round(asked / wall_s),
        "cpu_us_per_question": round(cpu_s / asked * 1e6, 1),
        "max_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "listed": counts[Status.LISTED],
        "listed_expected": expected,
        "unknown": asked - counts[Status.LISTED] - counts[Status.NOT_LISTED],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--lists", type=int, default=50)
    parser.add_argument("--polite", action="store_true", help="with the lists' real rates")
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
