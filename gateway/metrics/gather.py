"""Gathers the metrics page: every process's numbers from the database, the node's own state, and the slow gauges."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gateway import store
from gateway.config import Config
from gateway.metrics.page import CONTENT_TYPE, Counted, page
from gateway.metrics.server import Answer
from gateway.rules.gauges import Gauge
from gateway.rules.policy import Snapshot
from gateway.snapshot import SnapshotSource

SEEN = timedelta(seconds=30)  # a process that was silent for longer has gone
SLOW_EVERY_S = 30.0  # how often the queue is counted at most


class Gatherer:
    """One per node, in the process that has the listener."""

    def __init__(
        self, config: Config, node: str, source: SnapshotSource, utc_now: Callable[[], datetime]
    ) -> None:
        self._config = config
        self._node = node
        self._source = source
        self._utc_now = utc_now
        self._slow: list[Gauge] = []
        self._slow_at = float("-inf")

    async def page(self) -> Answer:
        """Raises DatabaseError when the database is away: a scrape that fails is seen, an old one is not."""
        rows = await asyncio.to_thread(store.apart, store.numbers_of, self._node, self._utc_now() - SEEN)
        counted = [Counted(slot, numbers) for slot, numbers in rows]
        gauges = [*self._own(rows), *await self._of_database()]
        return Answer(200, page(counted, gauges), CONTENT_TYPE)

    async def _of_database(self) -> list[Gauge]:
        if time.monotonic() - self._slow_at > SLOW_EVERY_S:
            self._slow = await asyncio.to_thread(store.apart, store.read_gauges, self._utc_now())
            self._slow_at = time.monotonic()
        return self._slow

    def _own(self, rows: list[tuple[str, dict[str, Any]]]) -> Iterator[Gauge]:
        yield from _usable(self._source.current)
        yield from _parts(rows)
        yield from _connections(rows)
        if self._source.loaded_at is not None:
            age = (self._utc_now() - self._source.loaded_at).total_seconds()
            yield Gauge(
                "smg_snapshot_age_seconds", "Since the policy was last found to be the current one", age
            )
        yield Gauge(
            "smg_spool_free_bytes", "Free where bodies are kept", shutil.disk_usage(self._place()).free
        )
        yield Gauge("smg_processes", "Relay processes of this node that live", len(rows))

    def _place(self) -> Path:
        """Where the disk would fill up; the spool's directory is made with its first file."""
        spool = self._config.spool_dir
        return spool if spool is not None and spool.exists() else self._config.var_dir


def _usable(snapshot: Snapshot) -> Iterator[Gauge]:
    for gateway in snapshot.gateways.values():
        labels = {"gateway": gateway.name, "pool": gateway.pool.value}
        yield Gauge(
            "smg_gateway_usable", "1 unless the gateway is drained", float(not gateway.drained), labels
        )


def _parts(rows: list[tuple[str, dict[str, Any]]]) -> Iterator[Gauge]:
    """A part is up when every process of the node says so; one that is not configured does not appear."""
    states: dict[str, bool] = {}
    for _slot, numbers in rows:
        for part, is_up in numbers.get("parts", {}).items():
            states[part] = states.get(part, True) and bool(is_up)
    for part, is_up in sorted(states.items()):
        yield Gauge("smg_part_up", "1 while the part answers", float(is_up), {"part": part})


def _connections(rows: list[tuple[str, dict[str, Any]]]) -> Iterator[Gauge]:
    for slot, numbers in rows:
        for listener, counts in numbers.get("listeners", {}).items():
            labels = {"listener": listener, "process": slot}
            yield Gauge("smg_open_connections", "Clients that are connected", counts["open"], labels)
