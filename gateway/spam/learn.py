"""Local learning: what one installation counted in its own decided mail, beside the shipped tables.

Pure and exact: counts only ever grow by `add` and shrink by `remove`, so that undoing a decision leaves no trace. The
counts give a naive Bayes opinion of their own; how much it counts grows with the number of messages learned on the
smaller side. Words of every language count here: the opinion rests on this installation's mail alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import log
from types import MappingProxyType

from gateway.spam.features import Features
from gateway.spam.words import WORD_BITS

STRONGEST = 60
"""Features that give the opinion: those whose log-odds are farthest from zero."""
HALF_TRUST = 20.0
"""Messages learned at which the local opinion has half its full weight."""
FULL_WEIGHT = 1.6
"""z for each unit of mean log-odds at full trust (shipped models: one standard deviation of ham is about 1)."""
SMOOTHING = 10
"""Messages that each side is assumed to have had before the first was learned."""
MAX_OPINION = 4.0

Counts = Mapping[int, tuple[int, int]]


class LocalError(ValueError):
    """An export that cannot be read, or an undo of something never learned."""


@dataclass(frozen=True, slots=True)
class LocalCounts:
    """`ham` and `spam` messages learned; `features`: id -> (in how many ham, in how many spam)."""

    ham: int = 0
    spam: int = 0
    features: Counts = field(default_factory=lambda: MappingProxyType({}))


def local_ids(features: Features) -> Iterator[int]:
    """All ids of a message in one space: words as they are, structure above them."""
    yield from features.subject
    yield from features.body
    for _, ids in features.structure:
        for number in ids:
            yield number | 1 << WORD_BITS


def changes(features: Features, is_spam: bool, sign: int = 1) -> dict[int, tuple[int, int]]:
    """What learning (sign 1) or undoing (sign -1) one message adds to the counts: id -> (ham, spam)."""
    step = (0, sign) if is_spam else (sign, 0)
    return dict.fromkeys(local_ids(features), step)


def add(counts: LocalCounts, features: Features, is_spam: bool) -> LocalCounts:
    """Counts with one more message."""
    return _moved(counts, features, is_spam, 1)


def remove(counts: LocalCounts, features: Features, is_spam: bool) -> LocalCounts:
    """Exact inverse of `add`; LocalError when that message cannot have been learned."""
    return _moved(counts, features, is_spam, -1)


def _moved(counts: LocalCounts, features: Features, is_spam: bool, sign: int) -> LocalCounts:
    ham, spam = counts.ham + (0 if is_spam else sign), counts.spam + (sign if is_spam else 0)
    table = dict(counts.features)
    for number, (more_ham, more_spam) in changes(features, is_spam, sign).items():
        old_ham, old_spam = table.pop(number, (0, 0))
        new = (old_ham + more_ham, old_spam + more_spam)
        if min(new) < 0:
            raise LocalError("this message was not learned")
        if any(new):
            table[number] = new
    if min(ham, spam) < 0:
        raise LocalError("this message was not learned")
    return LocalCounts(ham, spam, MappingProxyType(table))


def opinion(counts: LocalCounts, features: Features) -> float:
    """Local part of z: 0 without counts, positive towards spam; trust grows with what was learned."""
    total = counts.ham + counts.spam
    if not total:
        return 0.0
    odds = sorted(_log_odds(counts, local_ids(features)), key=abs)[-STRONGEST:]
    if not odds:
        return 0.0
    mean = sum(odds) / max(len(odds), STRONGEST // 2)
    trust = total / (total + HALF_TRUST)
    return FULL_WEIGHT * trust * max(-MAX_OPINION, min(MAX_OPINION, mean))


def _log_odds(counts: LocalCounts, numbers: Iterable[int]) -> Iterator[float]:
    """Smoothed log P(feature | spam) / P(feature | ham). A feature seen on one side alone never speaks for the other:
    with ten thousand ham and no spam learned, a rare ham word would else look like spam."""
    base = log((counts.ham + SMOOTHING) / (counts.spam + SMOOTHING))
    for number in numbers:
        found = counts.features.get(number)
        if found is not None:
            ham, spam = found
            odds = log((spam + 1) / (ham + 1)) + base
            yield min(odds, 0.0) if not spam else max(odds, 0.0) if not ham else odds


def export(counts: LocalCounts) -> str:
    """The counts as JSON: {"ham", "spam", "features": {id: [ham, spam]}}, ids ascending."""
    rows = {str(number): list(counts.features[number]) for number in sorted(counts.features)}
    return json.dumps({"version": 1, "ham": counts.ham, "spam": counts.spam, "features": rows})


def restore(text: str) -> LocalCounts:
    """Inverse of `export`; LocalError for anything else."""
    try:
        data = json.loads(text)
        if data["version"] != 1:
            raise LocalError("unknown version of local counts")
        table = {int(number): (int(ham), int(spam)) for number, (ham, spam) in data["features"].items()}
        counts = LocalCounts(int(data["ham"]), int(data["spam"]), MappingProxyType(table))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LocalError("not an export of local counts") from error
    if min(counts.ham, counts.spam, *(min(pair) for pair in table.values()), 0) < 0:
        raise LocalError("counts below zero")
    return counts


TOTAL = -1
"""Id of the stored row that counts the messages themselves."""


def counts_of(rows: Iterable[tuple[int, int, int]]) -> LocalCounts:
    """Counts from stored rows (id, ham, spam); the row TOTAL holds the numbers of messages."""
    table = {number: (ham, spam) for number, ham, spam in rows}
    ham, spam = table.pop(TOTAL, (0, 0))
    return LocalCounts(ham, spam, MappingProxyType(table))
