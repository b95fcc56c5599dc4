"""One relay process: everything assembled, started, kept going and stopped in order.

Each process does all of it: it listens (the port is shared), checks, commits and delivers what it accepted, and picks
up deferred mail as far as it has room. Processes know of each other only through the database.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import maintenance, memory, pipeline, store
from gateway.admission import Admission
from gateway.check import Checker
from gateway.clock import JUMP_S, SteadyClock
from gateway.config import Config
from gateway.crypto import credential_key_from_settings
from gateway.db import Database, writer_lock
from gateway.deliver import Deliverer
from gateway.demo import demo_zone
from gateway.dns import Resolver
from gateway.fuse import Fuse
from gateway.gatekeeper import RelayGatekeeper
from gateway.judgement import SpamJudge
from gateway.limits import RateLimiter
from gateway.metrics import Meters
from gateway.metrics.gather import Gatherer
from gateway.metrics.health import Health
from gateway.metrics.server import MetricsServer, serve_metrics
from gateway.ndr_mail import NdrMail
from gateway.outbound.session import Deadlines, Opener
from gateway.pulse import Pulse
from gateway.queue import MailQueue
from gateway.reception import Reception
from gateway.report import Reporter
from gateway.route import Router
from gateway.rules.gateways import sendable_here
from gateway.rules.ids import IdMaker
from gateway.rules.liveness import Watch
from gateway.rules.policy import Snapshot
from gateway.rules.readiness import NOT_CONFIGURED, PULSE_S
from gateway.rules.route_types import TlsObservation
from gateway.scanners import clamd
from gateway.scheduler import Scheduler
from gateway.sign import Signer
from gateway.smtp.server import Listener, Servers, serve
from gateway.snapshot import SnapshotSource
from gateway.tls.contexts import TlsContexts
from gateway.tls.mta_sts import StsPolicies

log = logging.getLogger(__name__)

POLICY_S = 1.0
HEARTBEAT_S = 2.0
TLS_S = 5.0
RENEW_S = 60.0
PROBE_S = 10.0
MAINTENANCE_S = 20.0
DANE_TEST_S = 3600.0
FUSE_S = 0.5
PATROL_S = 30.0
SPOOL_S = 3600.0
MEMORY_S = 30.0
DRAIN_S = 4.0
FINISH_S = 4.0
CANCEL_AGAIN_S = 0.2
MAX_SLOT = 960  # see control/mail.py, which takes what is above
SLOT_TRIES = 20
INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO of the kernel


class NoPolicyError(RuntimeError):
    """The policy cannot be read, so there is nothing to judge mail by; the master tries again."""


@dataclass(slots=True)
class Parts:
    """What a process is made of."""

    database: Database
    source: SnapshotSource
    resolver: Resolver
    queue: MailQueue
    scheduler: Scheduler
    router: Router
    deliverer: Deliverer
    judge: SpamJudge
    gatekeeper: RelayGatekeeper
    reporter: Reporter
    fuse: Fuse
    scanner: clamd.Scanner | None


class Relay:
    """`start`, then `stop`; `index` 0 also does the house-keeping of its node."""

    def __init__(
        self,
        config: Config,
        *,
        index: int = 0,
        listeners: list[Listener] | None = None,
        clock: SteadyClock | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self.config = config
        self._clock = clock or SteadyClock()
        utc_now = self._utc_now = self._clock.utc_now
        self._index = index
        self._listeners = listeners
        self._node = node_name()
        self._pulse = pulse or Pulse(index + 1)
        self._health = Health(self._pulse, lambda: self._degraded)
        self.owner = f"{self._node}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._started_at = utc_now()
        self._watch = Watch(self.owner, self._node, _is_alive)
        self._tasks: list[asyncio.Task[None]] = []
        self._degraded: dict[str, str] = {}
        self._sendable: tuple[Snapshot | None, set[int]] = (None, set())
        self.servers: Servers | None = None
        self.parts: Parts | None = None
        self._ids = IdMaker(0)
        self._slot = 0
        self._tls: list[TlsObservation] = []  # not yet counted
        self._meters = Meters()
        self._metrics: MetricsServer | None = None
        self._admission = Admission.from_config(config, time.monotonic)

    # ---- start

    async def start(self) -> None:
        """Take a place among the relay processes, read the policy, listen. Raises ConfigError, DatabaseError,
        NoPolicyError."""
        database = Database(writer_lock(self.config.var_dir))
        database.start()
        source = SnapshotSource(database)
        dead = self._watch.dead(await database.read(store.beats), time.monotonic())
        await database.write(store.bury, (dead, self._utc_now()))
        await source.refresh(self._utc_now())
        if source.loaded_at is None:  # or every client would be a stranger to us: 530, which is for good
            raise NoPolicyError(source.stale_reason)
        self._slot = await self._take_slot(database)
        self._ids = IdMaker(self._slot)
        self.parts = self._assemble(database, source)
        reception = Reception(self.config, self.parts.gatekeeper, self._ids, utc_now=self._utc_now)
        self.servers = await serve(
            self.config,
            self.parts.gatekeeper,
            ids=self._ids,
            listeners=self._listeners,
            reception=reception,
        )
        if self._index == 0:
            gatherer = Gatherer(self.config, self._node, source, self._utc_now)
            self._metrics = await serve_metrics(
                self.config,
                {"/metrics": gatherer.page, "/healthz": self._health.live, "/readyz": self._health.ready},
            )
        self._run_forever()
        log.info("relay ready", extra={"owner": self.owner, "addresses": self.servers.addresses})

    def _assemble(self, database: Database, source: SnapshotSource) -> Parts:
        config = self.config
        resolver = Resolver(config.nameservers, static=demo_zone() if config.demo else None)
        queue = MailQueue(database, config, self.owner, self._ids)
        deadlines = Deadlines(transaction=config.transaction_timeout_s)
        opener = Opener(TlsContexts(config.ca_file), self._utc_now, deadlines)
        deliverer = Deliverer(opener, on_tls=self._tls.append)
        router = Router(resolver, config, StsPolicies.from_config(config, resolver, self._utc_now))
        judge = SpamJudge(config, database)
        limiter = RateLimiter(database)
        fuse = self._fuse(database)
        scanner = clamd.scanner(config.clamd)
        writer = NdrMail(config, queue.load_body, self._ids)
        reporter = Reporter(
            database, config, writer, queue.forget, utc_now=self._utc_now, meters=self._meters
        )
        scheduler = Scheduler(
            database,
            lambda *attempt: pipeline.send(way, *attempt),
            lambda: source.current,
            self._ours,
            owner=self.owner,
            processes=config.relay_processes,
            utc_now=self._utc_now,
            monotonic=time.monotonic,
        )
        way = pipeline.Way(
            checker=Checker(resolver, limiter, scanner, judge, fuse.notable),
            queue=queue,
            outbox=scheduler,
            router=router,
            signer=Signer(queue.load_body, config.hostname),
            deliverer=deliverer,
            reporter=reporter,
            limiter=limiter,
            meters=self._meters,
        )
        gatekeeper = RelayGatekeeper(
            way, database, source, credential_key_from_settings(), self._utc_now, fuse, self._admission
        )
        return Parts(
            database, source, resolver, queue, scheduler, router, deliverer, judge, gatekeeper, reporter, fuse,
            scanner,
        )  # fmt: skip

    def _fuse(self, database: Database) -> Fuse:
        return Fuse(
            database,
            utc_now=self._utc_now,
            monotonic=time.monotonic,
            limits=self.config.fuse,
            on_blow=self._refresh_policy,
        )

    async def _take_slot(self, database: Database) -> int:
        """A number that no other running process has; it goes into the ids this one makes."""
        for _ in range(SLOT_TRIES):
            taken = await database.read(store.slots)
            slot = next(slot for slot in range(MAX_SLOT) if slot not in taken)
            if await database.write(store.take_slot, self._heartbeat(slot)):
                return slot
        raise RuntimeError("no free number for this relay process")

    def _ours(self) -> set[int]:
        """The gateways this node may send by: found anew when the policy has changed, and with every probe, since an
        address may come up after us, or go away."""
        if self.parts is None:
            return set()
        snapshot = self.parts.source.current
        if self._sendable[0] is not snapshot:
            names = self.config.gateways
            found = {
                gateway.id
                for gateway in snapshot.gateways.values()
                if sendable_here(
                    gateway, names, [ip for ip in (gateway.source_ip, gateway.source_ip6) if _is_ours(ip)]
                )
            }
            self._sendable = (snapshot, found)
        return self._sendable[1]

    # ---- keep going

    def _run_forever(self) -> None:
        parts = self.parts
        if parts is None:
            return
        self._tasks = [
            asyncio.ensure_future(parts.scheduler.run()),
            asyncio.ensure_future(_every(PULSE_S, self._show_life)),
            asyncio.ensure_future(_every(POLICY_S, self._refresh_policy)),
            asyncio.ensure_future(_every(HEARTBEAT_S, self._beat)),
            asyncio.ensure_future(_every(RENEW_S, parts.scheduler.renew)),
            asyncio.ensure_future(_every(PROBE_S, self._probe)),
            asyncio.ensure_future(_every(DANE_TEST_S, parts.router.self_test)),
            asyncio.ensure_future(_every(TLS_S, self._count_tls)),
            asyncio.ensure_future(_every(FUSE_S, parts.fuse.look)),
            asyncio.ensure_future(_every(MEMORY_S, _give_memory_back)),
        ]
        if self._index == 0:
            self._tasks.append(asyncio.ensure_future(_every(MAINTENANCE_S, self._keep_house)))
            self._tasks.append(asyncio.ensure_future(_every(PATROL_S, parts.fuse.patrol)))
            self._tasks.append(asyncio.ensure_future(_every(SPOOL_S, self._clean_spool)))

    async def _show_life(self) -> None:
        self._pulse.beat(self._index)

    async def _refresh_policy(self) -> None:
        if self.parts is not None:
            await self.parts.source.refresh(self._utc_now())
            if self.parts.source.stale_reason:
                self._meters.count("smg_snapshot_reload_failures")
            await self.parts.judge.refresh()

    async def _beat(self) -> None:
        if self.parts is None:
            return
        database = self.parts.database
        dead = self._watch.dead(await database.read(store.beats), time.monotonic())
        if not await database.write(store.beat, (self._heartbeat(self._slot), dead)):
            log.error("others took this process for dead: it starts again, as nothing it leased is its own")
            os.kill(os.getpid(), signal.SIGTERM)
        self._health.written()
        if dead:
            self._meters.count("smg_leases_taken_over", by=len(dead))
            log.warning("took over from silent processes", extra={"owners": dead})

    async def _count_tls(self) -> None:
        """What deliveries saw of encryption: for the daily reports (RFC 8460) and the rules in shadow mode."""
        seen, self._tls[:] = list(self._tls), []
        if seen and self.parts is not None:
            await self.parts.database.write(store.note_tls, seen)

    async def _probe(self) -> None:
        self._sendable = (None, set())
        self._degraded = await self._find_degraded()

    async def _find_degraded(self) -> dict[str, str]:
        """What this process cannot use just now: {part: what is wrong}."""
        found: dict[str, str] = {}
        if not self.config.clamd:
            found["antivirus"] = NOT_CONFIGURED
        for endpoint in self.config.clamd:
            try:
                await clamd.ping(endpoint)
            except clamd.ScannerDown as error:
                found["antivirus"] = str(error)
        if abs(self._clock.behind_s) > JUMP_S:
            found["clock"] = f"the system's clock has jumped by {self._clock.behind_s:.0f} s"
        if self._admission.is_full:
            found["disk"] = "no space left for new mail"
        if self.parts is not None:
            found.update({f"spam:{name}": "does not answer" for name in self.parts.judge.degraded})
            if self.parts.source.stale_reason:
                found["policy"] = self.parts.source.stale_reason
        return found

    async def _keep_house(self) -> None:
        if self.parts is not None:
            await maintenance.keep_house(
                self.parts.database, self.parts.reporter, self.parts.source.current, self._utc_now()
            )

    async def _clean_spool(self) -> None:
        if self.parts is not None:
            await maintenance.clean_spool(self.config, self.parts.database)

    def _heartbeat(self, slot: int) -> dict[str, Any]:
        return {
            "owner": self.owner,
            "node": self._node,
            "pid": os.getpid(),
            "slot": slot,
            "gateways": sorted(self._ours()),
            "started_at": self._started_at,
            "seen_at": self._utc_now(),
            "degraded": self._degraded,
            "numbers": self._numbers(),
        }

    def _numbers(self) -> dict[str, Any]:
        if self.parts is None or self.servers is None:
            return {}
        database = self.parts.database
        return {
            **self.parts.scheduler.numbers,
            "connections": self.servers.connections,
            "listeners": self.servers.counters(),
            "meters": self._meters.as_json(),
            "parts": self._parts_up(),
            "commits": database.batches,
            "commit_works": database.works,
            "policy_version": self.parts.source.current.version,
        }

    def _parts_up(self) -> dict[str, bool]:
        """The outside parts that are configured, and whether they answered last time."""
        configured = {
            "antivirus": bool(self.config.clamd),
            "spam:rspamd": bool(self.config.rspamd),
            "spam:spamassassin": self.config.spamd is not None,
            "policy": True,
        }
        return {part: part not in self._degraded for part, is_set in configured.items() if is_set}

    # ---- stop

    async def stop(self) -> None:
        """Refuse new connections, finish what is under way, give leases back. Bounded to about ten seconds."""
        parts, servers = self.parts, self.servers
        if parts is None:
            return
        if self._metrics is not None:
            self._metrics.close()
        if servers is not None:
            await servers.drain(DRAIN_S)
        await parts.scheduler.stop(FINISH_S)
        await end_all(self._tasks)
        await parts.gatekeeper.drain()
        parts.deliverer.close()
        if parts.scanner is not None:
            parts.scanner.close()
        await parts.database.write(store.bury, ([self.owner], self._utc_now()))
        await asyncio.to_thread(parts.database.stop)
        log.info("relay stopped", extra={"owner": self.owner})


async def end_all(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel until all have ended. asyncio.wait_for before Python 3.12, which dnspython uses, loses a cancellation that
    meets the answer it waits for, and periodic work would then go on for ever."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)  # what they ended with is nobody's business now


async def _give_memory_back() -> None:
    memory.give_back()


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Call `work` again and again; a failure is logged and does not end it."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("periodic work failed", extra={"work": getattr(work, "__name__", str(work))})
        await asyncio.sleep(seconds)


def node_name() -> str:
    """The machine's name; in a container with the number of its PID namespace: two containers of one machine (host
    network, at an update) must not look for each other's processes by number."""
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    name = socket.gethostname()
    return name if namespace == INITIAL_PID_NAMESPACE else f"{name}/{namespace}"


def _is_alive(pid: int) -> bool:
    """Whether another process has this number."""
    if pid == os.getpid():  # in a container numbers come back: another one had it before us
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_ours(ip: str) -> bool:
    """Whether an address is this machine's: one can bind to it."""
    if not ip:
        return False
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError:
            return False
    return True
