"""The page /metrics: what all relay processes of this node have counted, and what is so just now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.metrics import BUCKETS_S, COUNTERS, HISTOGRAMS
from gateway.rules.gauges import Gauge

PROCESS = "process"  # the label that tells the processes of a node apart; it is the same after a restart
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Counted:
    """What one process says of itself in its heartbeat (Worker.numbers)."""

    process: str
    numbers: Mapping[str, Any]


def page(processes: Sequence[Counted], gauges: Iterable[Gauge]) -> bytes:
    """Prometheus's text format. What an older or newer version counted and this one does not know is left out."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families([*_counters(processes), *_histograms(processes), *_gauges(gauges)]))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _counters(processes: Sequence[Counted]) -> list[Metric]:
    families = {
        name: CounterMetricFamily(name, about, labels=[*labels, PROCESS])
        for name, (labels, about) in COUNTERS.items()
    }
    for one, name, labels, value in _samples(processes, "counters", COUNTERS):
        families[name].add_metric([*labels, one.process], value)
    connections = CounterMetricFamily(
        "smg_connections", "Connections of clients", labels=["listener", "outcome", PROCESS]
    )
    for one in processes:
        for listener, counts in one.numbers.get("listeners", {}).items():
            for outcome in ("accepted", "refused"):
                connections.add_metric([listener, outcome, one.process], counts[outcome])
    return [*families.values(), connections]


def _histograms(processes: Sequence[Counted]) -> list[Metric]:
    families = {
        name: HistogramMetricFamily(name, about, labels=[*labels, PROCESS])
        for name, (labels, about) in HISTOGRAMS.items()
    }
    for one, name, labels, cells in _samples(processes, "histograms", HISTOGRAMS):
        if len(cells) == len(BUCKETS_S) + 2:
            families[name].add_metric([*labels, one.process], _cumulative(cells[:-1]), cells[-1])
    return list(families.values())


def _samples(
    processes: Sequence[Counted], kind: str, known: Mapping[str, tuple[tuple[str, ...], str]]
) -> Iterator[tuple[Counted, str, list[str], Any]]:
    for one in processes:
        for name, labels, value in one.numbers.get("meters", {}).get(kind, []):
            if name in known and len(labels) == len(known[name][0]):
                yield one, name, labels, value


def _cumulative(counts: Sequence[float]) -> list[tuple[str, float]]:
    """Prometheus wants each bucket to hold the ones below it, too."""
    bounds = [*map(str, BUCKETS_S), "+Inf"]
    total, buckets = 0.0, []
    for bound, count in zip(bounds, counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets


def _gauges(gauges: Iterable[Gauge]) -> list[Metric]:
    families: dict[str, GaugeMetricFamily] = {}
    for gauge in gauges:
        family = families.setdefault(
            gauge.name, GaugeMetricFamily(gauge.name, gauge.help, labels=list(gauge.labels))
        )
        family.add_metric(list(gauge.labels.values()), gauge.value)
    return list(families.values())
