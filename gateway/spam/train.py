"""Making the table file from labelled mail. Development only: needs numpy and scipy (requirements-dev.txt).

Deterministic: no random numbers, fixed order, one result for one corpus. Three models (see `score`) are fitted with
weights: both classes evenly, each source by the root of its size, ham with HTML more (there is too little of it).
Scales and calibration come from folds that leave whole sources out, so the score of a kind of mail never seen in
training is what the knots speak of; and because such kinds differ, the threshold is set by how much they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import minimize

from gateway.spam.corpus import Sample
from gateway.spam.features import Features, extract
from gateway.spam.ordinary_mail import ordinary_mails
from gateway.spam.score import MIN_WORDS, contributions
from gateway.spam.tables import STRUCTURE_BITS, STRUCTURE_MASK, dump, parse
from gateway.spam.words import WORD_BITS

Array = Any  # numpy arrays and scipy matrices carry no useful static types here

L2 = 20.0
STRUCTURE_L2 = 8.0
WORD_SCALE = 6.0
STRUCTURE_SCALE = 8.0
HTML_HAM_WEIGHT = 3.0
ORDINARY_WEIGHT = 6.0
MIN_DOCUMENTS = 6
MIN_LANGUAGE_HAM = 200
WRITTEN = "written"
TRUST = {
    "HTML": 0.6,
    "LAYOUT": 0.6,
    "CHARSET": 0.6,
    "MESSAGE_ID": 0.6,
    "SENDER_ADDRESS": 0.6,
    "PICTURES": 0.6,
    "MAIL_PROGRAM": 0.6,
    "TEXT_SHAPE": 0.6,
    "SUBJECT": 0.6,
}
"""Symbols whose features tell sources apart as much as spam: their weights are held down harder (1 = as the rest)."""
BELIEF = {
    "BRAND_MISMATCH": 2.0,
    "ADDRESS_IN_NAME": 1.5,
    "LINK_TEXT_DIFFERS": 0.8,
    "LINK_DISGUISED": 0.8,
    "LINK_TO_ADDRESS": 1.5,
    "LINK_HOSTING": 1.0,
    "LINK_SHORTENER": 0.8,
    "RECIPIENT_NAMED": 1.0,
    "FORM_IN_MAIL": 1.0,
    "RISKY_ATTACHMENT": 1.0,
    "DISGUISED_TEXT": 1.5,
    "EXTORTION": 2.0,
    "COIN_ADDRESS": 1.5,
    "PARCEL": 1.2,
    "CREDENTIALS": 0.8,
    "LOTTERY": 0.8,
    "ADVANCE_FEE": 0.8,
    "PILLS": 1.0,
    "ADULT": 1.0,
    "GAMBLING": 1.0,
    "REPLY_ELSEWHERE": 0.8,
    "URGENCY": 0.6,
    "GENERIC_GREETING": 0.6,
    "SHARED_FILE": 0.6,
    "IMAGE_ONLY": 0.6,
    "COLD_SALES": 0.5,
    "LOAN": 0.5,
}
"""What is held of a symbol before any mail is seen (weight towards spam): phishing of today is rare in the public
corpora, and a sign without examples would else count nothing."""
BELOW = ((0.5, 5.0), (0.8, 12.0), (0.95, 20.0))
"""Share of a left-out source's ham below, and the score given there (z: the mean over sources)."""
RARE = 0.999
SPREADS = 0.5
THRESHOLD = 40.0
"""The score given so many spreads between sources above the mean of what RARE of a source's ham stays below."""
ABOVE = ((50.0, 0.25), (75.0, 0.75), (100.0, 2.0))
"""Higher scores: how far above the threshold, in steps from 20 to it."""
MIN_FOLD_HAM = 100
"""With fewer, such quantiles say nothing about a source."""


@dataclass(frozen=True, slots=True)
class Row:
    """One training message as features."""

    source: str
    is_spam: bool
    features: Features


@dataclass(frozen=True, slots=True)
class Data:
    """All rows as matrices, each row divided by the root of its number of features; `trust` by structure column;
    `folds` names what is left out together; `worded` are in a language whose words count, `written` by hand."""

    words: Array
    structure: Array
    trust: Array
    belief: Array
    is_spam: Array
    sources: Array
    folds: Array
    with_html: Array
    worded: Array
    written: Array


@dataclass(frozen=True, slots=True)
class Models:
    """Fitted weights, not yet standardised."""

    lr: Array
    lr_bias: float
    nb: Array
    structure: Array
    structure_bias: float


def rows_of(corpus: Iterable[Sample]) -> list[Row]:
    """Features of a corpus."""
    return [Row(sample.source, sample.is_spam, extract(sample.raw)) for sample in corpus]


def ordinary_rows() -> list[Row]:
    """The hand-written ordinary mail."""
    return [Row(WRITTEN, False, extract(raw)) for raw in ordinary_mails()]


def fold_of(source: str) -> str:
    """Sources that belong together: `sa-public:spam-2` -> `sa-public`; lists are dealt out by `list_folds`."""
    return source.partition(":")[0]


def list_folds(rows: Sequence[Row | Sample], count: int = 3) -> dict[str, str]:
    """Mailing lists to `count` folds so that each gets a share of the spam: largest first to the smallest fold."""
    spam: dict[str, int] = {}
    for row in rows:
        if row.source.startswith("list-"):
            spam[row.source] = spam.get(row.source, 0) + row.is_spam
    filled = [0] * count
    dealt: dict[str, str] = {}
    for source in sorted(spam, key=lambda name: (-spam[name], name)):
        at = filled.index(min(filled))
        filled[at] += spam[source] + 10
        dealt[source] = f"lists-{at + 1}"
    return dealt


def assemble(rows: Sequence[Row]) -> Data:
    """Matrices of the rows."""
    dealt = list_folds(rows)
    trust = column_trust(rows)
    languages = languages_of([row for row in rows if row.source != WRITTEN])
    return Data(
        _matrix([[*row.features.subject, *row.features.body] for row in rows], np.ones(1 << WORD_BITS)),
        _matrix([_structure_ids(row.features) for row in rows], trust),
        trust,
        column_belief(rows),
        np.array([row.is_spam for row in rows]),
        np.array([row.source for row in rows]),
        np.array([dealt.get(row.source, fold_of(row.source)) for row in rows]),
        np.array([any(name == "HTML" for name, _ in row.features.structure) for row in rows]),
        np.array([worded(row.features, languages) for row in rows]),
        np.array([row.source == WRITTEN for row in rows]),
    )


def column_trust(rows: Sequence[Row]) -> Array:
    """TRUST of the symbol behind each column of the structure matrix (the largest where two share a column)."""
    trust = np.zeros(1 << STRUCTURE_BITS)
    for row in rows:
        for name, numbers in row.features.structure:
            for number in numbers:
                at = number & STRUCTURE_MASK
                trust[at] = max(trust[at], TRUST.get(name, 1.0))
    return trust


def column_belief(rows: Sequence[Row]) -> Array:
    """BELIEF of the symbol behind each column, 0 for columns that no row has."""
    belief = np.zeros(1 << STRUCTURE_BITS)
    for row in rows:
        for name, numbers in row.features.structure:
            if name in BELIEF:
                belief[[number & STRUCTURE_MASK for number in numbers]] = BELIEF[name]
    return belief


def _structure_ids(features: Features) -> list[int]:
    return [number & STRUCTURE_MASK for _, ids in features.structure for number in ids]


def _matrix(lists: list[list[int]], values: Array) -> Array:
    """Rows of `values` at the listed columns, each row divided by the root of its length."""
    lengths = np.array([len(ids) for ids in lists])
    ends = np.concatenate([[0], np.cumsum(lengths)])
    flat = np.fromiter((number for ids in lists for number in ids), dtype=np.int32, count=int(ends[-1]))
    cells = values[flat] / np.sqrt(np.repeat(lengths, lengths))
    matrix = sparse.csr_matrix((cells, flat, ends), shape=(len(lists), len(values)))
    matrix.sum_duplicates()
    return matrix


def sample_weights(data: Data, chosen: Array) -> Array:
    """Weights of the chosen rows: classes even, sources by the root of their size, ham with HTML more."""
    weights = np.zeros(len(data.is_spam))
    for label in (False, True):
        rows = chosen & (data.is_spam == label)
        names, counts = np.unique(data.sources[rows], return_counts=True)
        by_source = dict(zip(names, counts, strict=True))
        weights[rows] = [by_source[name] ** -0.5 for name in data.sources[rows]]
        if not label:
            found = np.where(data.with_html[rows], HTML_HAM_WEIGHT, 1.0)
            weights[rows] *= np.where(data.written[rows], ORDINARY_WEIGHT, found)
        weights[rows] *= len(weights) / 2 / weights[rows].sum()
    return weights


def fit(data: Data, chosen: Array) -> Models:
    """The three models from the chosen rows."""
    weights = sample_weights(data, chosen)
    both = sparse.hstack([data.words * WORD_SCALE, data.structure * WORD_SCALE]).tocsr()
    at_first = np.concatenate([np.zeros(data.words.shape[1]), data.belief])
    lr, lr_bias = logistic(both[chosen], data.is_spam[chosen], weights[chosen], L2, at_first)
    rare = np.asarray(both[chosen].getnnz(axis=0)).ravel() < MIN_DOCUMENTS
    lr[rare] = at_first[rare]
    alone = data.structure * STRUCTURE_SCALE
    structure, bias = logistic(
        alone[chosen], data.is_spam[chosen], weights[chosen], STRUCTURE_L2, data.belief
    )
    return Models(
        lr, lr_bias, log_odds(data.words[chosen], data.is_spam[chosen], weights[chosen]), structure, bias
    )


def logistic(matrix: Array, is_spam: Array, weights: Array, l2: float, belief: Array) -> tuple[Array, float]:
    """Weights and bias of a logistic regression (L-BFGS) whose weights are drawn to `belief`, not to 0."""
    signs = np.where(is_spam, 1.0, -1.0)
    transposed = matrix.T.tocsr()
    size = matrix.shape[1]

    def loss(point: Array) -> tuple[float, Array]:
        margins = signs * (matrix @ point[:size] + point[size])
        pull = -signs * weights / (1.0 + np.exp(np.clip(margins, -50, 50)))
        inner = point[:size] - belief
        value = weights @ np.logaddexp(0.0, -margins) + l2 / 2 * inner @ inner
        return float(value), np.append(transposed @ pull + l2 * inner, pull.sum())

    found = minimize(
        loss, np.append(belief, 0.0), jac=True, method="L-BFGS-B", options={"maxiter": 200, "maxcor": 8}
    )
    return found.x[:size], float(found.x[size])


def log_odds(words: Array, is_spam: Array, weights: Array) -> Array:
    """Weighted log-odds of each word, 0 for words in fewer than MIN_DOCUMENTS messages."""
    sides = []
    for side in (is_spam, ~is_spam):
        counts = np.asarray((words[side] > 0).T @ weights[side]).ravel()
        sides.append(np.log((counts + 1.0) / (weights[side].sum() + 2.0)))
    odds = sides[0] - sides[1]
    odds[np.asarray(words.getnnz(axis=0)).ravel() < MIN_DOCUMENTS] = 0.0
    return odds


@dataclass(frozen=True, slots=True)
class Outputs:
    """What each model says of some rows: words part and structure part of `lr`, `nb`, `structure`."""

    lr: Array
    nb: Array
    structure: Array


def outputs(models: Models, data: Data, rows: Array) -> Outputs:
    """Outputs of the models for the given rows."""
    size = 1 << WORD_BITS
    words = data.words[rows] @ models.lr[:size] * WORD_SCALE
    structure = data.structure[rows] @ models.lr[size:] * WORD_SCALE
    alone = data.structure[rows] @ models.structure * STRUCTURE_SCALE
    return Outputs(
        words + structure + models.lr_bias,
        data.words[rows] @ models.nb,
        alone + models.structure_bias,
    )


def left_out(data: Data, say: Callable[[str], None]) -> Outputs:
    """Outputs for every real row by models that saw nothing of its fold (zeros for the hand-written ones)."""
    count = len(data.is_spam)
    whole = Outputs(np.zeros(count), np.zeros(count), np.zeros(count))
    for fold in sorted(set(data.folds[~data.written])):
        rows = data.folds == fold
        found = outputs(fit(data, ~rows), data, rows)
        whole.lr[rows], whole.nb[rows], whole.structure[rows] = found.lr, found.nb, found.structure
        say(f"fold {fold}: {int(rows.sum())} messages left out")
    return whole


def train(corpus: Iterable[Sample], say: Callable[[str], None]) -> bytes:
    """The table file's octets for a corpus."""
    return train_rows(rows_of(corpus), say)


def train_rows(real: Sequence[Row], say: Callable[[str], None]) -> bytes:
    """The table file's octets for rows; ValueError without both ham and spam."""
    if len({row.is_spam for row in real}) < 2:
        raise ValueError("ham and spam are both needed")
    say(f"{len(real)} messages read")
    data = assemble([*real, *ordinary_rows()])
    seen = ~data.written
    unseen = left_out(data, say)
    unseen = Outputs(unseen.lr[seen], unseen.nb[seen], unseen.structure[seen])
    models = fit(data, np.ones(len(seen), dtype=bool))
    head, *tables = _quantised(models, unseen, data, languages_of(real))
    return dump(_centred(head, tables, real), *tables)


def _centred(head: dict[str, Any], tables: Sequence[bytes], rows: Sequence[Row]) -> dict[str, Any]:
    """The head with the mean part of each symbol over ham moved into the constants: BASE is then the score of an
    ordinary mail, and a share says how far the mail departs from that."""
    plain = parse(dump(head, *tables))
    ham = [row.features for row in rows if not row.is_spam]
    for by_words, usual, constant in ((True, "usual", "constant"), (False, "alone_usual", "alone_constant")):
        sums: dict[str, float] = {}
        for features in ham:
            for name, part in contributions(features, plain, None, by_words).items():
                sums[name] = sums.get(name, 0.0) + part
        head[usual] = {name: total / len(ham) for name, total in sums.items()}
        head[constant] += sum(head[usual].values())
    return head


def worded(features: Features, languages: Collection[str]) -> bool:
    """`score.words_count` before there are tables."""
    return features.language in languages and len(features.body) + len(features.subject) >= MIN_WORDS


def languages_of(rows: Sequence[Row]) -> list[str]:
    """Languages whose words may count: those with enough ham."""
    counts: dict[str, int] = {}
    for row in rows:
        if not row.is_spam:
            counts[row.features.language] = counts.get(row.features.language, 0) + 1
    return sorted(name for name, count in counts.items() if count >= MIN_LANGUAGE_HAM and name != "xx")


def _quantised(
    models: Models, unseen: Outputs, data: Data, languages: list[str]
) -> tuple[dict[str, Any], *tuple[bytes, ...]]:
    """Head and tables. All models are brought to one spread, so their sum is a sum of z-scores; all
    are linear, so those that look at the same features become one table."""
    parts = (unseen.lr, unseen.nb, unseen.structure)
    (lr_spread, nb_spread, alone_spread), (lr_mean, nb_mean, alone_mean) = (
        [float(f(p)) for p in parts] for f in (np.std, np.mean)
    )
    z_alone = (unseen.structure - alone_mean) / alone_spread
    z = (unseen.lr - lr_mean) / lr_spread + (unseen.nb - nb_mean) / nb_spread + z_alone
    size = 1 << WORD_BITS
    alone_weights = models.structure * data.trust * STRUCTURE_SCALE / alone_spread
    words, words_step = _int8(models.lr[:size] * WORD_SCALE / lr_spread + models.nb / nb_spread)
    structure, structure_step = _int8(models.lr[size:] * data.trust * WORD_SCALE / lr_spread + alone_weights)
    alone, alone_step = _int8(alone_weights)
    alone_constant = (models.structure_bias - alone_mean) / alone_spread
    head = {
        "words_step": words_step,
        "structure_step": structure_step,
        "alone_step": alone_step,
        "constant": (models.lr_bias - lr_mean) / lr_spread - nb_mean / nb_spread + alone_constant,
        "alone_constant": alone_constant,
        "knots": knots_of(z, data, data.worded),
        "alone_knots": knots_of(z_alone, data, ~data.written),
        "usual": {},
        "alone_usual": {},
        "languages": languages,
        "about": f"{int((~data.is_spam).sum())} ham, {int(data.is_spam.sum())} spam",
    }
    return head, words, structure, alone


def _int8(weights: Array) -> tuple[bytes, float]:
    step = float(np.quantile(np.abs(weights[weights != 0]), 0.99997)) / 127 or 1.0
    return np.clip(np.rint(weights / step), -127, 127).astype(np.int8).tobytes(), step


def knots_of(z: Array, data: Data, chosen: Array) -> list[list[float]]:
    """(z, score) pairs from the chosen ham of left-out sources; every source counts the same."""
    real = ~data.written
    ham = (chosen & ~data.is_spam)[real]
    if not ham.any():  # no language has enough ham for its words to count: nothing will ask these knots
        ham = ~data.is_spam[real]
    sources = [z[ham & (data.folds[real] == fold)] for fold in sorted(set(data.folds[real]))]
    sources = [values for values in sources if len(values) >= MIN_FOLD_HAM] or [z[ham]]
    knots = [[float(z[ham].min()), 0.0]]
    for share, value in BELOW:
        _ascend(knots, float(np.mean([np.quantile(values, share) for values in sources])), value)
    rare = [float(np.quantile(values, RARE)) for values in sources]
    start = knots[-1][0]
    _ascend(knots, float(np.mean(rare) + SPREADS * np.std(rare)), THRESHOLD)
    threshold = knots[-1][0]
    for value, steps in ABOVE:
        _ascend(knots, threshold + steps * (threshold - start), value)
    return knots


def _ascend(knots: list[list[float]], at: float, value: float) -> None:
    knots.append([max(at, knots[-1][0] + 0.01), value])
