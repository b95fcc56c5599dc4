"""From features to a score with named shares.

z is a sum of contributions, one of each symbol: logistic regression over words and structure, naive Bayes over words
(in one table: both are linear), logistic regression over structure alone, local learning. Because z is a plain sum,
taking a symbol away is exact, and the way from "nothing known" to the score can be shared out among the symbols
without a rest.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import sqrt
from operator import itemgetter

from gateway.rules.spam import LEAST_SHARE, Score, Symbol, Thresholds, category_of, ordered
from gateway.spam.features import Features, extract, pack, unpack
from gateway.spam.kinds import kind_of
from gateway.spam.learn import LocalCounts, opinion
from gateway.spam.tables import STRUCTURE_MASK, Tables, shipped, value_of

ENGINE = "embedded"
MIN_WORDS = 8
"""With fewer distinct words the text says too little: structure alone."""
ALONE_SCALE = 0.4
"""One model instead of three: its z spans less, and so must what is added to it."""
_NOTHING: frozenset[str] = frozenset()


def score(
    raw: bytes,
    *,
    sender: str = "",
    recipients: Sequence[str] = (),
    tables: Tables | None = None,
    local: LocalCounts | None = None,
    thresholds: Thresholds | None = None,
    without: Collection[str] = _NOTHING,
) -> Score:
    """Judge one message from its bytes. Never raises, pure, same bytes same score; `without`: symbols not to count."""
    return judge_features(extract(raw, sender, recipients), tables, local, thresholds, without)


def rescore(
    features: bytes,
    thresholds: Thresholds | None = None,
    *,
    tables: Tables | None = None,
    local: LocalCounts | None = None,
    without: Collection[str] = _NOTHING,
) -> Score:
    """The score that `score` would give now for the message of a stored vector; FeaturesError for other bytes."""
    return judge_features(unpack(features), tables, local, thresholds, without)


def judge_features(
    features: Features,
    tables: Tables | None,
    local: LocalCounts | None,
    thresholds: Thresholds | None,
    without: Collection[str],
) -> Score:
    """Score of features; the one place where the pieces come together."""
    tables = tables or shipped()
    thresholds = thresholds or Thresholds()
    if features.gtube and "GTUBE" not in without:
        return _finished(100.0, [Symbol("GTUBE", 100.0)], features, thresholds)
    by_words = words_count(features, tables)
    parts = contributions(features, tables, local, by_words)
    for name in without:
        parts.pop(name, None)
    base, knots = (tables.constant, tables.knots) if by_words else (tables.alone_constant, tables.alone_knots)
    value, start = value_of(base + sum(parts.values()), knots), value_of(base, knots)
    symbols = _shares(parts, value - start)
    rest = value - sum(symbol.share for symbol in symbols)
    return _finished(value, [Symbol("BASE", rest), *symbols], features, thresholds)


def words_count(features: Features, tables: Tables) -> bool:
    """Whether the word tables may speak: a trained language and enough words."""
    return features.language in tables.languages and len(features.body) + len(features.subject) >= MIN_WORDS


def contributions(
    features: Features, tables: Tables, local: LocalCounts | None, by_words: bool
) -> dict[str, float]:
    """Symbol -> its part of z beyond what it is in ordinary mail (the mean over ham, stored with the tables)."""
    parts = _structure_parts(features, tables, by_words)
    if by_words:
        parts["WORDING"], parts["SUBJECT_WORDING"] = _word_parts(features, tables)
    for name, usual in (tables.usual if by_words else tables.alone_usual).items():
        parts[name] = parts.get(name, 0.0) - usual
    if local is not None and (part := opinion(local, features)):
        parts["LOCAL_LEARNING"] = part if by_words else part * ALONE_SCALE
    return parts


def _structure_parts(features: Features, tables: Tables, by_words: bool) -> dict[str, float]:
    count = sum(len(ids) for _, ids in features.structure) or 1
    table, step = (tables.structure, tables.structure_step) if by_words else (tables.alone, tables.alone_step)
    step /= sqrt(count)
    return {
        name: step * sum([table[number & STRUCTURE_MASK] for number in ids])
        for name, ids in features.structure
    }


def _word_parts(features: Features, tables: Tables) -> tuple[float, float]:
    """Parts of body and subject."""
    step = tables.words_step / sqrt(len(features.body) + len(features.subject))
    return step * _sum_at(tables.words, features.body), step * _sum_at(tables.words, features.subject)


def _sum_at(table: memoryview, ids: tuple[int, ...]) -> int:
    """All at once: half the time of one by one."""
    return sum(itemgetter(*ids)(table)) if len(ids) > 1 else sum(table[number] for number in ids)


def _shares(parts: dict[str, float], points: float) -> list[Symbol]:
    """`points` shared out in proportion to the parts of z (they may be of both signs); crumbs stay with BASE."""
    total = sum(parts.values())
    if not total:
        return []
    step = points / total
    return [Symbol(name, part * step) for name, part in parts.items() if abs(part * step) >= LEAST_SHARE]


def _finished(value: float, symbols: list[Symbol], features: Features, thresholds: Thresholds) -> Score:
    category = category_of(value, thresholds)
    kind = kind_of(features, symbols) if category != "clean" else None
    return Score(value, category, kind, tuple(ordered(symbols)), ENGINE, (), pack(features))
