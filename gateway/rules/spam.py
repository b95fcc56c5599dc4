"""Scores, categories and thresholds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which score (0..100) a message is suspect, and from which spam. Suspect and spam leave by Bad."""

    suspect: float = 40.0
    spam: float = 75.0
