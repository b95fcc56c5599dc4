"""The shipped weights: three tables of signed octets and a small JSON head in one file.

File: magic, length of the head (4 octets, big-endian), head, then `words` (2^18), `structure` and `alone` (2^13 each:
beside words, and where words do not count). The head holds the scale of one step of each table, the constants, what
each symbol amounts to in ordinary mail, and the two calibrations (knots of `z` and score), with and without words.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from gateway.spam.words import WORD_BITS

MAGIC = b"SMGTAB2\n"
STRUCTURE_BITS = 13
STRUCTURE_MASK = (1 << STRUCTURE_BITS) - 1
SHIPPED = Path(__file__).with_name("data") / "tables.bin"

Knots = tuple[tuple[float, float], ...]


class TablesError(ValueError):
    """The file is no table file, cut short, or of another version."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Weights ready for use. The tables are views of int8; one step of each is worth `*_step` of z."""

    words: memoryview
    structure: memoryview
    alone: memoryview
    words_step: float
    structure_step: float
    alone_step: float
    constant: float
    alone_constant: float
    knots: Knots
    alone_knots: Knots
    usual: dict[str, float]
    alone_usual: dict[str, float]
    languages: frozenset[str]
    about: str


def value_of(z: float, knots: Knots) -> float:
    """Score of `z`: linear between the knots (ascending in both), flat outside."""
    at = bisect_right(knots, (z, float("inf")))
    if at == 0:
        return knots[0][1]
    if at == len(knots):
        return knots[-1][1]
    (z0, v0), (z1, v1) = knots[at - 1], knots[at]
    return v0 + (v1 - v0) * (z - z0) / (z1 - z0)


@cache
def shipped() -> Tables:
    """The tables of the package, read once."""
    return load(SHIPPED)


def load(path: Path) -> Tables:
    """Read a table file; TablesError names what is wrong with it."""
    try:
        return parse(path.read_bytes())
    except TablesError as error:
        raise TablesError(f"{path.name}: {error}") from error


def parse(data: bytes) -> Tables:
    """Tables from a file's octets."""
    if not data.startswith(MAGIC):
        raise TablesError("not a table file")
    start = len(MAGIC) + 4
    end = start + int.from_bytes(data[len(MAGIC) : start], "big")
    size = (1 << WORD_BITS) + (2 << STRUCTURE_BITS)
    if len(data) != end + size:
        raise TablesError(f"{len(data)} octets, {end + size} expected")
    try:
        head = json.loads(data[start:end])
        return _tables(head, memoryview(data)[end:].cast("b"))
    except (ValueError, KeyError, TypeError) as error:
        raise TablesError(f"broken head ({error})") from error


def _tables(head: dict[str, Any], weights: memoryview) -> Tables:
    words, small = 1 << WORD_BITS, 1 << STRUCTURE_BITS
    return Tables(
        words=weights[:words],
        structure=weights[words : words + small],
        alone=weights[words + small :],
        words_step=float(head["words_step"]),
        structure_step=float(head["structure_step"]),
        alone_step=float(head["alone_step"]),
        constant=float(head["constant"]),
        alone_constant=float(head["alone_constant"]),
        knots=_knots(head["knots"]),
        alone_knots=_knots(head["alone_knots"]),
        usual={str(name): float(part) for name, part in head["usual"].items()},
        alone_usual={str(name): float(part) for name, part in head["alone_usual"].items()},
        languages=frozenset(head["languages"]),
        about=str(head["about"]),
    )


def _knots(pairs: list[list[float]]) -> Knots:
    knots = tuple((float(z), float(value)) for z, value in pairs)
    if len(knots) < 2 or any(a >= b for (a, _), (b, _) in pairwise(knots)):
        raise ValueError("knots must ascend")
    return knots


def dump(head: dict[str, Any], words: bytes, structure: bytes, alone: bytes) -> bytes:
    """The file's octets; the same arguments give the same octets."""
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode("ascii")
    return b"".join((MAGIC, len(text).to_bytes(4, "big"), text, words, structure, alone))
