"""Stacked bar charts, computed here and drawn by a template: no script, no inline style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.functional import Promise

Text = str | Promise
WIDTH, HEIGHT = 720, 190
LEFT, BOTTOM, TOP = 38, 24, 8


@dataclass(frozen=True, slots=True)
class Series:
    label: Text
    css: str  # series-a ... series-d
    values: Sequence[int]


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    css: str
    title: str


@dataclass(frozen=True, slots=True)
class BarChart:
    """`labels` one per column; every `label_step`-th is written below. All series have as many values as labels."""

    title: Text
    labels: Sequence[str]
    series: Sequence[Series]
    label_step: int = 1

    @property
    def top_value(self) -> int:
        totals = [sum(series.values[column] for series in self.series) for column in range(len(self.labels))]
        return _round_up(max(totals, default=0))

    @property
    def is_empty(self) -> bool:
        return not any(any(series.values) for series in self.series)

    @property
    def bars(self) -> list[Bar]:
        pitch = (WIDTH - LEFT) / max(len(self.labels), 1)
        return [bar for column in range(len(self.labels)) for bar in self._column(column, pitch)]

    def _column(self, column: int, pitch: float) -> list[Bar]:
        bars: list[Bar] = []
        bottom = float(HEIGHT - BOTTOM)
        for series in self.series:
            value = series.values[column]
            if not value:
                continue
            height = value / self.top_value * (HEIGHT - BOTTOM - TOP)
            bottom -= height
            title = f"{self.labels[column]}: {value} {series.label}"
            bars.append(
                Bar(
                    round(LEFT + column * pitch + pitch * 0.14, 1),
                    round(bottom, 1),
                    round(pitch * 0.72, 1),
                    round(height, 1),
                    series.css,
                    title,
                )
            )
        return bars

    @property
    def lines(self) -> list[tuple[float, int]]:
        """(y, value) of the horizontal lines."""
        usable = HEIGHT - BOTTOM - TOP
        steps = 4 if self.top_value >= 4 else max(self.top_value, 1)
        return [
            (round(HEIGHT - BOTTOM - usable * step / steps, 1), self.top_value * step // steps)
            for step in range(steps + 1)
        ]

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """(x, label) below the columns."""
        pitch = (WIDTH - LEFT) / max(len(self.labels), 1)
        return [
            (round(LEFT + (column + 0.5) * pitch, 1), label)
            for column, label in enumerate(self.labels)
            if column % self.label_step == 0
        ]

    @property
    def rows(self) -> list[tuple[str, list[int]]]:
        return [
            (label, [series.values[column] for series in self.series])
            for column, label in enumerate(self.labels)
        ]


STEPS = (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10)  # each reads well when an axis is cut into four


def _round_up(value: int) -> int:
    """The next number that reads well on an axis with four steps."""
    if value <= 4:
        return max(value, 1)
    if value <= 12:
        return 8 if value <= 8 else 12
    magnitude: int = 10 ** (len(str(value)) - 1)
    return next(
        int(step * magnitude)
        for step in STEPS
        if step * magnitude >= value and int(step * magnitude) % 4 == 0
    )
