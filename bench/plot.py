"""The results of `bench.relay` as a picture: a group of bars for each run, a bar for each server.

.venv/bin/python -m bench.plot result.json > result.svg
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

COLOURS = ("#1f6feb", "#8250df", "#1a7f37", "#9a6700", "#cf222e", "#57606a")
LABEL_PX, BAR_PX, GAP_PX, WIDTH_PX = 260, 14, 14, 900


def svg(results: Sequence[dict[str, Any]]) -> str:
    """Bars of delivered messages a second; each group has a scale of its own, for 10 MiB is a hundredth of 4 KiB."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        if result["delivered_per_s"]:
            groups.setdefault(_title(result), []).append(result)
    names = list(dict.fromkeys(result["server"] for result in results))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    parts, top = [], GAP_PX
    for title, group in groups.items():
        parts.append(_text(LABEL_PX - 10, top + BAR_PX - 3, title, anchor="end"))
        most = max(result["delivered_per_s"] for result in group)
        for result in group:
            parts.append(_bar(top, result, most, colours[result["server"]]))
            top += BAR_PX
        top += GAP_PX
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_PX}" height="{top}" font-family="sans-serif"'
        f' font-size="11" role="img" aria-label="Messages a second by server">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{"".join(parts)}</svg>\n'
    )


def _title(result: dict[str, Any]) -> str:
    way = result["way"].replace("+AUTH", "")
    return f"{result['size'] // 1024} KiB, {way}, {result['sessions']} sessions"


def _bar(top: int, result: dict[str, Any], most: float, colour: str) -> str:
    rate = result["delivered_per_s"]
    width = (WIDTH_PX - LABEL_PX - 220) * rate / most
    label = f"{result['server']}: {rate:,.0f}/s, {result['cpu_total_ms']:.1f} ms"
    return (
        f'<rect x="{LABEL_PX}" y="{top}" width="{width:.1f}" height="{BAR_PX - 2}" fill="{colour}"/>'
        f"{_text(LABEL_PX + width + 6, top + BAR_PX - 4, label)}"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>\n'


if __name__ == "__main__":
    sys.stdout.write(svg(json.loads(Path(sys.argv[1]).read_text())["results"]))
