"""Ours beside Postfix, whole way, in one run: accepted, checked, signed, on the disk, delivered to the same smtp-sink.

    .venv/bin/python -m bench.relay [--quick] [--only ours,postfix,...] [--sizes 4096,...] [--json FILE] [--plot FILE]

Servers: `ours` (clamd, embedded scorer, DKIM RSA-2048, durable commit), `ours-rspamd` (the same Rspamd beside the
scorer), `ours-rspamd-alone` (instead of it), `ours-postgres`, `postfix` (plain: checks nothing, signs nothing),
`pipeline` (Postfix with clamav-milter and Rspamd, which signs) and `haraka` (with clamd, the same Rspamd and DKIM; its
queue is not synced to the disk). The same clamd for all, one next hop, everything on loopback and on the same disk.
Postfix needs root, Haraka Node.js; what is missing is left out. Prints tables and ratios, and writes JSON and a
picture (SVG).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import haraka, peers
from bench.load import Measured, as_json, latency, message_file, secured, throughput
from bench.peers import Server
from bench.plot import svg
from bench.rig import Sink, need
from gateway.sign import generate_key
from tests import services
from tests.dns_server import DnsServer
from tests.relay_harness import Relays, relay_for

SIZES = (4096, 51_200, 1_048_576, 10_485_760)
MESSAGES = {4096: 6000, 51_200: 2400, 1_048_576: 200, 10_485_760: 20}
PACE = 150.0
ALL = ("ours", "ours-rspamd", "ours-rspamd-alone", "ours-postgres", "postfix", "pipeline", "haraka")
UNAVAILABLE = {"postfix": peers.unavailable, "pipeline": peers.unavailable, "haraka": haraka.unavailable}


@dataclass
class House:
    """What all servers share."""

    base: Path
    daemons: services.Services
    clamd: services.Daemon
    sink: Sink
    dns: DnsServer
    relays: Relays | None = None
    rspamd: services.Daemon | None = None

    def signing_rspamd(self) -> services.Daemon:
        self.rspamd = self.rspamd or peers.rspamd_milter(self.daemons, self.dns.endpoint)
        return self.rspamd


@contextlib.contextmanager
def house() -> Iterator[House]:
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smg-bench-")))
        base.chmod(0o755)
        daemons = stack.enter_context(services.running())
        clamd = services.start_clamd(daemons)
        sink = stack.enter_context(Sink())
        dns = DnsServer().start()
        stack.callback(dns.stop)
        dns.mail_domain("acme.example")
        yield House(base, daemons, clamd, sink, dns)


@contextlib.contextmanager
def ours(shared: House, name: str, **settings: str) -> Iterator[Server]:
    """Our relay with two processes and everything on."""
    relays = Relays(shared.base / name)
    pem, _record = generate_key()
    key = shared.base / f"{name}.pem"
    key.write_bytes(pem)
    names = f'domain = "acme.example"\nselector = "s1"\nprivate_key_file = "{key}"\n'
    try:
        relay = relays.make(
            shared.dns.endpoint, shared.sink.port, shared.sink.port,
            SMG_CLAMD=shared.clamd.extra["socket"], SMG_MAX_CONNECTIONS_PER_ADDRESS="1000", **settings,
        )  # fmt: skip
        relay.apply(f"{relay_for()}[[customers.dkim_keys]]\n{names}")
        relay.start()
        assert relay.process is not None
        yield Server(name, relay.port, {"relay": relay.process.pid, "clamd": shared.clamd.process.pid})
    finally:
        relays.stop_all()


@contextlib.contextmanager
def durable_postgres(daemons: services.Services) -> Iterator[services.Daemon]:
    """PostgreSQL with fsync, as in production; relays that are made meanwhile are on it."""
    database = services.start_postgres(daemons)
    database.stop()
    command = [part.replace("=off", "=on") for part in database.process.args]  # type: ignore[union-attr]
    again = daemons.start(
        "postgres", command, database.directory, port=database.port, ready=services._pg_ready
    )
    os.environ["DATABASE_URL"] = database.extra["url"]
    try:
        yield again
    finally:
        del os.environ["DATABASE_URL"]


@contextlib.contextmanager
def ours_on_postgres(shared: House) -> Iterator[Server]:
    with durable_postgres(shared.daemons) as database, ours(shared, "ours-postgres") as server:
        server.parts["postgres"] = database.process.pid
        yield server


@contextlib.contextmanager
def ours_with_rspamd(shared: House, name: str, combination: str) -> Iterator[Server]:
    rspamd = shared.signing_rspamd()
    settings = {"SMG_RSPAMD": rspamd.extra["url"], "SMG_SPAM_COMBINATION": combination}
    with ours(shared, name, **settings) as server:
        server.parts["rspamd"] = rspamd.process.pid
        yield server


@contextlib.contextmanager
def pipeline(shared: House) -> Iterator[Server]:
    milter, rspamd = peers.clamav_milter(shared.daemons, shared.clamd), shared.signing_rspamd()
    with peers.postfix(
        shared.daemons,
        shared.sink.port,
        milters=(Path(milter.extra["socket"]), Path(rspamd.extra["socket"])),
        name="pipeline",
    ) as server:
        server.parts |= {"clamav-milter": milter.process.pid, "rspamd": rspamd.process.pid}
        server.parts |= {"clamd": shared.clamd.process.pid}
        yield server


SERVERS: dict[str, Callable[[House], contextlib.AbstractContextManager[Server]]] = {
    "ours": lambda shared: ours(shared, "ours"),
    "ours-rspamd": lambda shared: ours_with_rspamd(shared, "ours-rspamd", "max"),
    "ours-rspamd-alone": lambda shared: ours_with_rspamd(shared, "ours-rspamd-alone", "engines"),
    "ours-postgres": ours_on_postgres,
    "postfix": lambda shared: peers.postfix(shared.daemons, shared.sink.port, name="postfix"),
    "pipeline": pipeline,
    "haraka": lambda shared: haraka.haraka(
        shared.daemons, shared.sink.port, shared.clamd, shared.signing_rspamd()
    ),
}


def measure(
    shared: House, server: Server, sizes: tuple[int, ...], share: float, *, login: bool
) -> list[Measured]:
    """All runs of one server; `share` shortens them."""
    results = []

    def note(result: Measured) -> None:
        results.append(result)
        print(_line(result), flush=True)

    def count(size: int) -> int:
        return max(8, int(MESSAGES[size] * share))

    def burst(size: int, messages: int, sessions: int = 20, **how: Any) -> Measured:
        file = files[size]
        return throughput(server, shared.sink, file, size=size, sessions=sessions, messages=messages, **how)

    files = {size: message_file(shared.base, size) for size in sizes}
    small = sizes[0]
    number = count(small)
    burst(small, 200)  # warm
    for size in sizes:
        note(burst(size, count(size)))
    note(burst(small, number // 4, sessions=1))
    note(burst(small, number, sessions=200))
    note(burst(small, number // 6, recipients=50))
    note(burst(small, number // 2, keep_alive=False))
    for keep_alive in (True, False):
        note(
            secured(
                server, shared.sink, size=small, sessions=20, messages=number // 3, keep_alive=keep_alive,
                login=login,
            )
        )  # fmt: skip
    note(latency(server, size=small, per_s=PACE, seconds=20 * share + 2))
    time.sleep(1)
    return results


def _line(result: Measured) -> str:
    cpu = " ".join(f"{part} {ms:.2f}" for part, ms in result.cpu_ms.items())
    missing = f"  MISSING {result.incomplete}" if result.incomplete else ""
    return (
        f"{result.server:14} {result.way:26} {result.size // 1024:6} KiB {result.sessions:3} sessions"
        f" {result.accepted_per_s:8.1f} {result.delivered_per_s:8.1f}/s  cpu {result.cpu_total_ms:7.2f} ms ({cpu})"
        f"  p50 {result.p50_ms:.1f} p99 {result.p99_ms:.1f} ms  {result.rss_mib or ''}{missing}"
    )


def ratios(results: list[Measured]) -> list[str]:
    """Ours over each peer, for every run that both did."""
    found = {(item.server, item.way.replace("+AUTH", ""), item.size, item.sessions): item for item in results}
    lines = []
    for (server, way, size, sessions), mine in found.items():
        if server != "ours" or not mine.delivered_per_s:
            continue
        for peer in UNAVAILABLE:
            other = found.get((peer, way, size, sessions))
            if other and other.delivered_per_s:
                lines.append(
                    f"ours / {peer:8} {way:24} {size // 1024:6} KiB {sessions:3} sessions:"
                    f" rate x{mine.delivered_per_s / other.delivered_per_s:.2f},"
                    f" cpu x{mine.cpu_total_ms / other.cpu_total_ms:.2f}"
                )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a sixth of the messages, 4 and 50 KiB only")
    parser.add_argument("--only", default=",".join(ALL))
    parser.add_argument("--sizes", default="")
    parser.add_argument("--share", type=float, default=1.0, help="of the usual number of messages")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="messages a second of each server and run, as SVG")
    options = parser.parse_args()
    sizes = tuple(map(int, options.sizes.split(","))) if options.sizes else SIZES[: 2 if options.quick else 4]
    share = options.share / 6 if options.quick else options.share
    wanted = [name for name in options.only.split(",") if name]
    missing = need("smtp-source", "smtp-sink", "clamd")
    if missing:
        raise SystemExit(missing)
    logging.getLogger("asyncio").setLevel(
        logging.CRITICAL
    )  # the name server's clients are cut off at the end
    results: list[Measured] = []
    with house() as shared:
        for name in wanted:
            reason = UNAVAILABLE[name]() if name in UNAVAILABLE else ""
            if reason:
                print(f"{name}: left out ({reason})")
                continue
            with SERVERS[name](shared) as server:
                results += measure(shared, server, sizes, share, login=name.startswith("ours"))
    print("\n".join(ratios(results)))
    if options.json:
        options.json.write_text(json.dumps(report(results), indent=1))
    if options.plot:
        options.plot.write_text(svg([as_json(result) for result in results]))


def report(results: list[Measured]) -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
        "results": [as_json(result) for result in results],
    }


if __name__ == "__main__":
    main()
