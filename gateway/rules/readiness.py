"""What /healthz and /readyz of a relay node answer: whether it lives, and whether it can take mail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

OK, DEGRADED, DOWN = "ok", "degraded", "down"
PULSE_S = 1.0  # how often a process says that its event loop turns
HUNG_S = 30.0  # longer than it ever stands still; a start in between counts as silence, too
SILENT_S = 15.0  # heartbeats in the database come every two seconds
# Without these every message gets a 451; without the others mail flows all the same.
NEEDED = frozenset({"database", "antivirus", "disk"})
NOT_CONFIGURED = "not configured"


def hung(ages_s: Sequence[float]) -> list[int]:
    """The indexes of the processes whose last pulse is too old."""
    return [index for index, age_s in enumerate(ages_s) if age_s > HUNG_S]


def readiness(written_s: float, degraded: Mapping[str, str]) -> dict[str, Any]:
    """The answer of /readyz. `written_s`: since the database took something from us; `degraded`: {part: what is wrong}.

    {"status": "ok" | "degraded" | "down", "components": {part: {"status": ..., "text": ...}}}; down: no mail is taken.
    """
    wrong = dict(degraded)
    if written_s > SILENT_S:
        wrong["database"] = f"took nothing for {written_s:.0f} s"
    components: dict[str, dict[str, str]] = {"database": {"status": OK}}
    for part, text in sorted(wrong.items()):
        is_down = part in NEEDED and text != NOT_CONFIGURED
        components[part] = {"status": DOWN if is_down else DEGRADED, "text": text}
    return {"status": _worst(one["status"] for one in components.values()), "components": components}


def _worst(states: Iterable[str]) -> str:
    return max(states, key=(OK, DEGRADED, DOWN).index)
