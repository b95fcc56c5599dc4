"""Numbers for Prometheus. Each relay process counts for itself; one of them shows everybody's (`gateway.metrics.page`).

Counting is a dictionary entry, so that it may stand on a message's way. What was counted travels with the heartbeat
into the process's Worker row: a process that dies takes at most five seconds of counts with it.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, TypeVar

from gateway.rules.policy import GatewayPolicy
from gateway.rules.types import Outcome, Refused, State, Verdict

Result = TypeVar("Result")

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# name -> (label names, help); a counter's sample gets `_total` behind its name
COUNTERS: dict[str, tuple[tuple[str, ...], str]] = {
    "smg_messages_accepted": (("category",), "Messages that got their 250"),
    "smg_refusals": (("stage", "reason"), "Commands and messages that were not accepted"),
    "smg_temporary_failures": (("reason",), "Mail put off with 451 for trouble of our own"),
    "smg_auth_failures": ((), "SMTP log-ins with a wrong name or secret"),
    "smg_deliveries": (("gateway", "pool", "outcome"), "Recipients of attempts, by what became of them"),
    "smg_ndrs": ((), "Reports to senders"),
    "smg_leases_taken_over": ((), "Processes that fell silent and whose mail this one took over"),
    "smg_snapshot_reload_failures": ((), "Attempts to read the policy that failed"),
}
HISTOGRAMS: dict[str, tuple[tuple[str, ...], str]] = {
    "smg_step_seconds": (("step",), "Time of one step for one message or attempt"),
    "smg_data_to_250_seconds": ((), "From the end of DATA to the 250"),
}
OWN_TROUBLE = frozenset(
    {"scanner", "dns", "queue", "disk", "internal"}
)  # reasons that are nobody's fault but ours
OUTCOMES = {State.QUEUED: "deferred"}  # the others are called by their own names


class Meters:
    """One process's counts since its start."""

    def __init__(self) -> None:
        # From zero on: Prometheus does not see the first event of a counter that comes into being with it.
        self._counters: dict[tuple[str, ...], int] = {
            (name,): 0 for name, (labels, _about) in COUNTERS.items() if not labels
        } | {("smg_temporary_failures", reason): 0 for reason in OWN_TROUBLE}
        self._histograms: dict[
            tuple[str, ...], list[float]
        ] = {}  # counts per bucket, one beyond, then the sum

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        key = (name, *labels)
        self._counters[key] = self._counters.get(key, 0) + by

    def observe(self, name: str, *labels: str, seconds: float) -> None:
        key = (name, *labels)
        cells = self._histograms.get(key)
        if cells is None:
            cells = self._histograms[key] = [0.0] * (len(BUCKETS_S) + 2)
        cells[bisect_left(BUCKETS_S, seconds)] += 1
        cells[-1] += seconds

    async def timed(self, step: str, work: Awaitable[Result]) -> Result:
        """Await a step and note how long it took, whether it came to an end or not."""
        started = time.perf_counter()
        try:
            return await work
        finally:
            self.observe("smg_step_seconds", step, seconds=time.perf_counter() - started)

    # ---- what happens to mail

    def checked(self, verdict: Verdict) -> None:
        """The checks of one message; their times are in the trace."""
        for entry in verdict.trace:
            self.observe("smg_step_seconds", f"check.{entry.step}", seconds=entry.ms / 1000)
        if verdict.refused is not None:
            self.refused("data", verdict.refused)

    def refused(self, stage: str, refused: Refused) -> None:
        self.count("smg_refusals", stage, refused.reason)
        permanent = refused.reply.is_permanent
        if refused.reason in OWN_TROUBLE and not permanent:
            self.count("smg_temporary_failures", refused.reason)
        if stage == "auth" and permanent:
            self.count("smg_auth_failures")

    def sent(self, gateway: GatewayPolicy, outcomes: Iterable[Outcome]) -> None:
        """What became of an attempt's recipients."""
        for outcome in outcomes:
            word = OUTCOMES.get(outcome.state, outcome.state.value)
            self.count("smg_deliveries", gateway.name, gateway.pool.value, word)

    # ---- on their way to the page

    def as_json(self) -> dict[str, Any]:
        """{"counters": [[name, labels, value]], "histograms": [[name, labels, cells]]}: what `page` reads."""
        return {
            "counters": [[name, labels, value] for (name, *labels), value in self._counters.items()],
            "histograms": [
                [name, labels, _rounded(cells)] for (name, *labels), cells in self._histograms.items()
            ],
        }


def _rounded(cells: Sequence[float]) -> list[float]:
    """Whole counts stay whole numbers in the JSON, and the sum keeps microseconds."""
    return [*map(int, cells[:-1]), round(cells[-1], 6)]
