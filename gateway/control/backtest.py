"""What changed thresholds, or a symbol that no longer counts, would have done to the mail of the last days.

Replays stored scores and feature vectors, no bodies. Reads only; the busiest installation is judged by an even sample,
and the result says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.control.learning import counts
from gateway.models import Customer, FeatureVector
from gateway.rules.backtest import Backtest, Move, Stored, replay
from gateway.rules.ids import id_at, to_text
from gateway.rules.spam import Thresholds, bounded, category_of
from gateway.spam import rescore
from gateway.spam.features import FeaturesError

MAX_ROWS = 20_000
DAYS = 7
MAX_DAYS = 366
EXAMPLES = 20
CHUNK = 1000
MS_SHIFT = 1 << 22  # an id divided by it is its time in milliseconds


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be tried: None leaves a threshold as it is. With `customer` it is about that customer's own settings,
    else about the operator's defaults (customers with thresholds of their own keep them)."""

    suspect: float | None = None
    spam: float | None = None
    without: tuple[str, ...] = ()  # symbols that no longer count
    customer: Customer | None = None
    days: int = DAYS
    most: int | None = None  # about so many messages are looked at, spread evenly; None: MAX_ROWS

    def check(self) -> None:
        """Raises ValidationError for numbers that make no sense."""
        if not 1 <= self.days <= MAX_DAYS:
            raise ValidationError(
                {"days": ValidationError(_("Between 1 and %(days)s."), params={"days": MAX_DAYS})}
            )
        for name in ("suspect", "spam"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 100:
                raise ValidationError({name: _("A score between 0 and 100.")})


@dataclass(frozen=True, slots=True)
class Result:
    """`total` messages in the days; all other numbers are about those that were looked at."""

    change: Change
    total: int
    is_sample: bool
    found: Backtest
    categories: dict[str, tuple[int, int]]  # category -> (before, after)
    names: dict[int, tuple[str, str]] = field(default_factory=dict)  # customer id -> (slug, name)

    def as_json(self) -> dict[str, Any]:
        """Plain values for pages, API and command; examples by largest change of the score."""
        return {
            "days": self.change.days,
            "total": self.total,
            "looked_at": self.found.messages,
            "sample": self.is_sample,
            "unreadable": self.found.unreadable,
            "to_bad": self.found.to_bad,
            "to_good": self.found.to_good,
            "categories": {name: list(pair) for name, pair in self.categories.items()},
            "customers": self._customers(),
            "examples": [self._example(move) for move in self.found.moves[:EXAMPLES]],
        }

    def _customers(self) -> list[dict[str, Any]]:
        """Those whose mail would move, most moves first."""
        moved = [
            (key, tally) for key, tally in self.found.by_customer.items() if tally.to_bad or tally.to_good
        ]
        moved.sort(key=lambda pair: (-pair[1].to_bad - pair[1].to_good, pair[0]))
        return [
            {
                **self._named(key),
                "messages": tally.messages,
                "to_bad": tally.to_bad,
                "to_good": tally.to_good,
            }
            for key, tally in moved
        ]

    def _example(self, move: Move) -> dict[str, Any]:
        return {
            "message": to_text(move.message_id),
            "customer": self._named(move.customer_id)["customer"],
            "before": round(move.before, 2),
            "after": round(move.after, 2),
            "to": move.to.value,
        }

    def _named(self, customer_id: int) -> dict[str, str]:
        slug, name = self.names.get(customer_id, ("", ""))
        return {"customer": slug, "name": name}


def run(change: Change, now: datetime | None = None) -> Result:
    """Try a change on the stored mail. Raises ValidationError. Thresholds alone take well under a second for 20,000
    messages; `without` scores each of them anew (about a millisecond)."""
    change.check()
    total, step, rows = _rows(change, now or timezone.now())
    customers = Customer.objects.in_bulk({row.customer_id for row in rows})
    before = {key: _thresholds(customer) for key, customer in customers.items()}
    after = {key: _changed(customer, change) for key, customer in customers.items()}
    new_score = _without(change.without)
    scored = [(row, new_score(row)) for row in rows]
    known = {row.message_id: score for row, score in scored}
    found = replay(
        rows, before.__getitem__, after.__getitem__, lambda row: known[row.message_id], limit=EXAMPLES
    )
    return Result(
        change=change,
        total=total,
        is_sample=step > 1,
        found=found,
        categories=_categories(scored, before, after),
        names={key: (customer.slug, customer.name) for key, customer in customers.items()},
    )


def _thresholds(customer: Customer) -> Thresholds:
    return bounded(customer.suspect_threshold, customer.spam_threshold, settings.SMG.spam_thresholds)


def _changed(customer: Customer, change: Change) -> Thresholds:
    suspect, spam = customer.suspect_threshold, customer.spam_threshold
    if change.customer is not None:
        return bounded(
            _first(change.suspect, suspect), _first(change.spam, spam), settings.SMG.spam_thresholds
        )
    usual = settings.SMG.spam_thresholds
    low, high = _first(change.suspect, usual.suspect), _first(change.spam, usual.spam)
    return bounded(suspect, spam, Thresholds(low or 0.0, high or 0.0))


def _first(wanted: float | None, present: float | None) -> float | None:
    return present if wanted is None else wanted


def _without(symbols: Sequence[str]) -> Callable[[Stored], float | None]:
    """The stored score, moved by what our own scorer makes of the change: engines that had a say keep it."""
    if not symbols:
        return lambda row: row.score
    local = counts()

    def score(row: Stored) -> float | None:
        try:
            with_them = rescore(row.vector, local=local).value
            without_them = rescore(row.vector, local=local, without=symbols).value
        except FeaturesError:
            return None
        return min(100.0, max(0.0, row.score + without_them - with_them))

    return score


def _categories(
    scored: Sequence[tuple[Stored, float | None]], before: dict[int, Thresholds], after: dict[int, Thresholds]
) -> dict[str, tuple[int, int]]:
    readable = [(row, score) for row, score in scored if score is not None]
    old = Counter(category_of(row.score, before[row.customer_id]).value for row, _score in readable)
    new = Counter(category_of(score, after[row.customer_id]).value for row, score in readable)
    return {name: (old[name], new[name]) for name in ("clean", "suspect", "spam")}


# ---- which rows


def _rows(change: Change, now: datetime) -> tuple[int, int, list[Stored]]:
    """(messages in the time, every how many-th is looked at, these)."""
    since = id_at(now - timedelta(days=change.days))
    total, step, ids = _chosen(change.customer, since, change.most or MAX_ROWS)
    fields = ["message_id", "customer_id", "score", *(["vector"] if change.without else [])]
    found = []
    for start in range(0, len(ids), CHUNK):
        some = FeatureVector.objects.filter(message_id__in=ids[start : start + CHUNK]).order_by("message_id")
        found += [_stored(*row) for row in some.values_list(*fields)]
    return total, step, found


def _stored(message_id: int, customer_id: int, score: float, vector: bytes = b"") -> Stored:
    return Stored(message_id, customer_id, score, bytes(vector))


def _chosen(customer: Customer | None, since: int, most: int) -> tuple[int, int, list[int]]:
    """How many there are, and the ids of every step-th, about `most`, spread by a hash of their millisecond.

    Along an index in either case: a customer's messages by the log's, everybody's by the vectors' own key.
    """
    source = "SELECT message_id AS id FROM gateway_featurevector WHERE message_id >= %s"
    values: list[Any] = [since]
    if customer is not None:
        source = "SELECT id FROM gateway_message WHERE customer_id = %s AND id >= %s AND kind = 'customer'"
        values = [customer.pk, since]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM ({source}) s", values)  # noqa: S608
        total: int = cursor.fetchone()[0]
        step = 1 + total // most
        # Two multiples of it times each other: with one alone, mail that comes by the clock is chosen by the clock.
        sql = (
            f"SELECT s.id FROM (SELECT id, id / %s AS ms FROM ({source}) m) s"  # noqa: S608
            " WHERE (s.ms * 48271 %% 2147483647) * (s.ms %% 32749 + 1) %% 2147483647 %% %s = 0"
        )
        cursor.execute(sql, [MS_SHIFT, *values, step])
        return total, step, [row[0] for row in cursor.fetchall()]
