"""How well and how dearly mail is judged, on labelled mail: the embedded scorer and the real engines side by side.

    python bench/spam.py --corpus ham.mbox.xz spam.mbox.xz            the shipped tables on this mail
    python bench/spam.py --corpus ... --cv                            trained anew for each fold, whole sources left out
    python bench/spam.py --corpus ... --cv --engines rspamd,spamassassin+bayes [--sample 400]
                                            engines (spam_engines.ENGINES) and ours on the same left-out mail

    python bench/spam.py --corpus ... --cost                          CPU of one judgement, about 4 and about 50 KiB

Prints AUC, spam caught at 0.1, 0.5 and 1 % false positives, result at the default threshold, CPU per message, and the
same per source (list archives are one source). Engines are started here on loopback, without DNS rules, and ended.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from operator import lt
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gateway.rules.spam import Thresholds
from gateway.spam import score
from gateway.spam.corpus import Sample, samples

if TYPE_CHECKING:
    from gateway.spam.train import Row

RATES = (0.001, 0.005, 0.01)


@dataclass(frozen=True, slots=True)
class Judged:
    """One message's value by one judge; `fold` is the source for the table."""

    fold: str
    is_spam: bool
    value: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What is printed for one set of judged messages."""

    ham: int
    spam: int
    auc: float
    recalls: tuple[float, ...]
    false_positives: float
    caught: float


def figures(judged: Sequence[Judged], threshold: float) -> Figures | None:
    """Figures of a set; None when it lacks ham or spam."""
    ham = sorted((each.value for each in judged if not each.is_spam), reverse=True)
    spam = [each.value for each in judged if each.is_spam]
    if not ham or not spam:
        return None
    limits = [ham[int(rate * len(ham))] for rate in RATES]
    return Figures(
        len(ham),
        len(spam),
        auc(ham, spam),
        tuple(share(spam, partial(lt, limit)) for limit in limits),
        share(ham, lambda value: value >= threshold),
        share(spam, lambda value: value >= threshold),
    )


def share(values: Sequence[float], test: Callable[[float], bool]) -> float:
    return sum(map(test, values)) / len(values)


def auc(ham: Sequence[float], spam: Sequence[float]) -> float:
    """Chance that a spam scores above a ham, ties half."""
    marked = sorted([(value, 0) for value in ham] + [(value, 1) for value in spam])
    total = at = 0.0
    place = 0
    while place < len(marked):
        end = place
        while end < len(marked) and marked[end][0] == marked[place][0]:
            end += 1
        here = sum(label for _, label in marked[place:end])
        total += here * (at + (end - place - here) / 2)
        at += end - place - here
        place = end
    return total / (len(ham) * len(spam))


def table(title: str, judged: Sequence[Judged], threshold: float, each_ms: float | None) -> None:
    """Print one judge's figures, all and per source."""
    spent = "" if each_ms is None else f", {each_ms:.2f} ms CPU per message"
    print(f"\n{title}{spent}")
    rates = "".join(f"{'@' + format(rate, '.1%'):>8}" for rate in RATES)
    print(f"{'source':<14}{'ham':>7}{'spam':>7}{'AUC':>8}{rates}   at threshold {threshold:g}: FP, caught")
    folds = []
    for name in ("all", *sorted({each.fold for each in judged})):
        chosen = judged if name == "all" else [each for each in judged if each.fold == name]
        found = figures(chosen, threshold)
        if found is None:
            false = share([each.value for each in chosen], lambda value: value >= threshold)
            print(f"{name:<14}{len(chosen):>7} messages of one kind, {false:.2%} at or above the threshold")
            continue
        line(name, found)
        folds += [found] if name != "all" else []
    if len(folds) > 1:
        line("mean of them", mean_of(folds))


def line(name: str, found: Figures) -> None:
    recalls = "".join(f"{each:>8.1%}" for each in found.recalls)
    at_threshold = f"{found.false_positives:>14.2%} {found.caught:>8.1%}"
    print(f"{name:<14}{found.ham:>7}{found.spam:>7}{found.auc:>8.4f}{recalls}   {at_threshold}", flush=True)


def mean_of(folds: Sequence[Figures]) -> Figures:
    """Every source counts the same, however much mail it has."""
    count = len(folds)
    return Figures(
        sum(each.ham for each in folds),
        sum(each.spam for each in folds),
        sum(each.auc for each in folds) / count,
        tuple(sum(rates) / count for rates in zip(*(each.recalls for each in folds), strict=True)),
        sum(each.false_positives for each in folds) / count,
        sum(each.caught for each in folds) / count,
    )


def fold_of(source: str) -> str:
    """Lists are one source in the tables."""
    return "lists" if source.startswith("list-") else source.partition(":")[0]


def by_shipped(corpus: Iterable[Sample]) -> tuple[list[Judged], float]:
    """Every message by the shipped tables, and the CPU time of one in ms."""
    score(b"")
    judged: list[Judged] = []
    spent = 0.0
    for sample in corpus:
        started = time.process_time()
        value = score(sample.raw).value
        spent += time.process_time() - started
        judged.append(Judged(fold_of(sample.source), sample.is_spam, value))
    return judged, 1000 * spent / max(len(judged), 1)


SIZES = {"about 4 KiB": (3_700, 4_700, 300), "about 50 KiB": (43_000, 64_000, 100)}
"""Octets from and below, and how many messages at most."""


def cost(corpus: Sequence[Sample]) -> None:
    """Print CPU time of one judgement (process time, the least of three) for two sizes of mail."""
    score(b"")
    for name, (least, below, most) in SIZES.items():
        chosen = [sample.raw for sample in corpus if least <= len(sample.raw) < below]
        chosen = chosen[:: max(1, len(chosen) // most)][:most]
        spent = sorted(min(cpu_ms(raw) for _ in range(3)) for raw in chosen)
        if spent:
            middle, nine_of_ten = spent[len(spent) // 2], spent[len(spent) * 9 // 10]
            print(
                f"{name}: {len(spent)} messages, median {middle:.2f} ms, mean {sum(spent) / len(spent):.2f} ms, "
                f"nine of ten within {nine_of_ten:.2f} ms, at most {spent[-1]:.2f} ms"
            )


def cpu_ms(raw: bytes) -> float:
    started = time.process_time()
    score(raw)
    return 1000 * (time.process_time() - started)


def by_folds(corpus: Sequence[Sample]) -> list[Judged]:
    """Every message by tables that were trained without any mail of its fold: the whole training with its calibration,
    once for each fold. Features are taken once; folds are trained beside each other, one to a core."""
    folds = folds_of(corpus)
    judged: list[Judged | None] = [None] * len(corpus)
    with ProcessPoolExecutor() as pool:
        rows = list(pool.map(row_of, corpus, chunksize=200))
        jobs = [pool.submit(judged_fold, rows, folds, fold) for fold in sorted(set(folds))]
        for job in jobs:
            for position, each in job.result():
                judged[position] = each
    return [each for each in judged if each is not None]


def folds_of(corpus: Sequence[Sample]) -> list[str]:
    """The fold of each message: sources that are left out together."""
    from gateway.spam.train import fold_of as source_fold
    from gateway.spam.train import list_folds

    dealt = list_folds(corpus)
    return [dealt.get(sample.source, source_fold(sample.source)) for sample in corpus]


def row_of(sample: Sample) -> Row:
    """Features of one message, for the training."""
    from gateway.spam.train import rows_of

    return rows_of([sample])[0]


def judged_fold(rows: Sequence[Row], folds: Sequence[str], fold: str) -> list[tuple[int, Judged]]:
    """The mail of one fold, by its position, by tables that never saw it."""
    from gateway.spam.score import judge_features
    from gateway.spam.tables import parse
    from gateway.spam.train import train_rows

    seen = [row for row, name in zip(rows, folds, strict=True) if name != fold]
    tables = parse(train_rows(seen, lambda _: None))
    print(f"trained without {fold}", file=sys.stderr, flush=True)
    return [
        (position, Judged(fold, row.is_spam, judge_features(row.features, tables, None, None, ()).value))
        for position, (row, name) in enumerate(zip(rows, folds, strict=True))
        if name == fold
    ]


def sampled(corpus: Sequence[Sample], most: int) -> list[int]:
    """Positions of at most `most` ham and `most` spam of each fold (0: all), always the same ones."""
    kinds: dict[tuple[str, bool], list[int]] = {}
    for position, (sample, fold) in enumerate(zip(corpus, folds_of(corpus), strict=True)):
        kinds.setdefault((fold, sample.is_spam), []).append(position)
    chance = random.Random(4)
    return [
        position
        for kind in sorted(kinds)
        for position in sorted(chance.sample(kinds[kind], min(most or len(corpus), len(kinds[kind]))))
    ]


def by_engine(name: str, corpus: Sequence[Sample], chosen: Sequence[int]) -> None:
    """Print what one engine says of the chosen mail; with Bayes it has learned the other folds."""
    from bench.spam_engines import ENGINES, Fold

    names = folds_of(corpus)
    folds = [
        Fold(
            fold,
            [sample for sample, each in zip(corpus, names, strict=True) if each == fold],
            [corpus[position] for position in chosen if names[position] == fold],
        )
        for fold in sorted(set(names))
    ]
    found, mark, each_ms = asyncio.run(ENGINES[name](folds))
    judged = [(fold.name, sample.is_spam) for fold in folds for sample in fold.judged]
    rows = [Judged(fold, is_spam, value) for (fold, is_spam), value in zip(judged, found, strict=True)]
    table(name, rows, mark, each_ms)


def files_of(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted([*path.glob("ham*"), *path.glob("spam*")]) if path.is_dir() else [path]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--corpus",
        nargs="+",
        type=Path,
        required=True,
        help="ham*/spam* files (mbox, .xz) or folders of them",
    )
    parser.add_argument("--cv", action="store_true", help="train anew for each fold (needs numpy and scipy)")
    parser.add_argument("--engines", default="", help="names of spam_engines.ENGINES, with commas between")
    parser.add_argument(
        "--sample", type=int, default=0, help="ham and spam of each source for the engines (0: all)"
    )
    parser.add_argument("--cost", action="store_true", help="measure CPU only")
    options = parser.parse_args()
    corpus = list(samples(list(files_of(options.corpus))))
    if options.cost:
        cost(corpus)
        return
    threshold = Thresholds().suspect
    judged, each_ms = by_shipped(corpus)
    table("embedded, shipped tables", judged, threshold, each_ms)
    chosen = sampled(corpus, options.sample) if options.engines else []
    if options.cv:
        judged = by_folds(corpus)
        table("embedded, each source judged by tables that never saw it", judged, threshold, None)
        if chosen:
            same = [judged[position] for position in chosen]
            table("embedded, the same, of the mail that the engines judge", same, threshold, None)
    for name in filter(None, options.engines.split(",")):
        by_engine(name, corpus, chosen)


if __name__ == "__main__":
    main()
