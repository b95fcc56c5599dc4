"""A number that goes up and down, on its way to the metrics page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Gauge:
    """One sample; all of the same name have the same label names."""

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
