"""Local learning: counts in the database of what support decided, beside the shipped tables (`gateway/spam/learn.py`).

Runs in the caller's transaction, so that counts come and go with the decision. Relay processes read them once a minute.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from django.db import connection, transaction

from gateway import rows
from gateway.control.audit import record
from gateway.models import LocalWord
from gateway.spam import learn as maths
from gateway.spam.features import FeaturesError, unpack
from gateway.spam.learn import TOTAL, LocalCounts, LocalError

__all__ = ["LocalCounts", "LocalError", "counts", "export", "learn", "restore", "unlearn"]

log = logging.getLogger(__name__)

BATCH = 1000
MOST = (1 << 31) - 1  # of one counter


@transaction.atomic
def learn(vector: bytes, *, is_spam: bool) -> bool:
    """Count one message (`FeatureVector.vector`). False when the vector is of another version and cannot be read."""
    changes = _changes(vector, is_spam=is_spam)
    # In order: two decisions at once never lock the same rows crosswise.
    rows.many(_ADD, [[number, *changes[number]] for number in sorted(changes)])
    return bool(changes)


@transaction.atomic
def unlearn(vector: bytes, *, is_spam: bool) -> bool:
    """Take one message back, exactly. False, and nothing changes, when it cannot be read or was not learned."""
    changes = _changes(vector, is_spam=is_spam)
    try:
        with transaction.atomic():
            _subtract(changes)
    except LocalError:
        log.warning("nothing to unlearn: the counts do not hold this message")
        return False
    return bool(changes)


def export() -> str:
    """All counts as JSON (see `gateway.spam.learn.export`)."""
    return maths.export(counts())


@transaction.atomic
def restore(text: str, *, actor: str) -> LocalCounts:
    """Put exported counts in place of all that is there. Raises LocalError for anything else."""
    found = maths.restore(text)
    _check(found)
    LocalWord.objects.all().delete()
    words = [LocalWord(feature=number, ham=ham, spam=spam) for number, (ham, spam) in found.features.items()]
    words.append(LocalWord(feature=TOTAL, ham=found.ham, spam=found.spam))
    LocalWord.objects.bulk_create(words, batch_size=BATCH)
    detail = {"ham": found.ham, "spam": found.spam, "features": len(found.features)}
    record(actor, "learning.restore", detail=detail)
    return found


def _check(found: LocalCounts) -> None:
    """What the table can hold."""
    largest = max(found.ham, found.spam, *(max(pair) for pair in found.features.values()), 0)
    if largest > MOST or any(not 0 <= number < 1 << 62 for number in found.features):
        raise LocalError("numbers that no message can have led to")


def counts() -> LocalCounts:
    """What this installation learned."""
    return maths.counts_of(LocalWord.objects.values_list("feature", "ham", "spam"))


_ADD = (
    "INSERT INTO gateway_localword (feature, ham, spam) VALUES (%s, %s, %s) ON CONFLICT (feature)"
    " DO UPDATE SET ham = gateway_localword.ham + excluded.ham, spam = gateway_localword.spam + excluded.spam"
)
_SUBTRACT = (
    "UPDATE gateway_localword SET ham = ham - %s, spam = spam - %s"
    " WHERE feature = %s AND ham >= %s AND spam >= %s"
)


def _changes(vector: bytes, *, is_spam: bool) -> Mapping[int, tuple[int, int]]:
    """What one message adds: feature -> (ham, spam), with the number of messages; {} when it cannot be read."""
    try:
        features = unpack(vector)
    except FeaturesError:
        log.warning("a stored feature vector cannot be read any more")
        return {}
    return {**maths.changes(features, is_spam), TOTAL: (0, 1) if is_spam else (1, 0)}


def _subtract(changes: Mapping[int, tuple[int, int]]) -> None:
    with connection.cursor() as cursor:
        for number in sorted(changes):
            ham, spam = changes[number]
            cursor.execute(_SUBTRACT, [ham, spam, number, ham, spam])
            if cursor.rowcount != 1:
                raise LocalError("this message was not learned")
    LocalWord.objects.filter(feature__in=list(changes), ham=0, spam=0).delete()
