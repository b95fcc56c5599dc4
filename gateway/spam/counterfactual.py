"""The smallest set of symbols that would have to go for a mail to leave by Good.

z is a sum of one part for each symbol, so taking away the largest parts first gives a set than which no smaller one
exists. BASE is no reason and stays.
"""

from __future__ import annotations

from gateway.rules.spam import Thresholds
from gateway.spam.learn import LocalCounts
from gateway.spam.score import rescore
from gateway.spam.tables import Tables


def smallest_flip(
    features: bytes,
    thresholds: Thresholds | None = None,
    *,
    tables: Tables | None = None,
    local: LocalCounts | None = None,
) -> tuple[str, ...]:
    """Names whose removal (`rescore(..., without=names)`) makes the mail clean, fewest first choice; () when it is
    clean already or when even without every speaking symbol it would not be."""
    thresholds = thresholds or Thresholds()
    found = rescore(features, thresholds, tables=tables, local=local)
    gone: list[str] = []
    reasons = [symbol.name for symbol in found.symbols if symbol.share > 0 and symbol.name != "BASE"]
    for name in reasons:
        if found.category == "clean":
            break
        gone.append(name)
        found = rescore(features, thresholds, tables=tables, local=local, without=gone)
    return tuple(gone) if found.category == "clean" else ()
