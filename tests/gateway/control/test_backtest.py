"""Backtests on stored mail with a known answer, and what must hold for any mail."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control import backtest
from gateway.control.backtest import Change, run
from gateway.models import Customer, FeatureVector, Message
from gateway.spam import score
from tests.factories import make_customer, make_message
from tests.gateway.spam.mails import SPAM

pytestmark = pytest.mark.django_db


def judged(customer: Customer, value: float, *, days: float = 1, vector: bytes = b"") -> Message:
    message = make_message(customer, at=timezone.now() - timedelta(days=days), score=value)
    FeatureVector.objects.create(
        message=message, customer=customer, at=message.received_at, score=value, vector=vector
    )
    return message


@pytest.fixture
def acme() -> Customer:
    found = make_customer("acme", name="ACME")
    for value in (5, 20, 35, 38, 45, 80):
        judged(found, value)
    judged(found, 39, days=20)
    return found


@pytest.fixture
def globex() -> Customer:
    """Has thresholds of its own."""
    found = make_customer("globex", name="Globex", suspect_threshold=60)
    for value in (10, 36, 50):
        judged(found, value)
    return found


def test_who_would_move(acme: Customer, globex: Customer) -> None:
    told = run(Change(suspect=35)).as_json()
    assert (told["total"], told["looked_at"], told["sample"]) == (9, 9, False)
    assert (told["to_bad"], told["to_good"]) == (2, 0)
    assert told["categories"] == {"clean": [7, 5], "suspect": [1, 3], "spam": [1, 1]}
    assert told["customers"] == [
        {"customer": "acme", "name": "ACME", "messages": 6, "to_bad": 2, "to_good": 0}
    ]
    assert [(row["before"], row["to"]) for row in told["examples"]] == [(35, "bad"), (38, "bad")]
    assert told["examples"][0]["message"] in {message.text_id for message in acme.messages.all()}


def test_a_customers_own_threshold(acme: Customer, globex: Customer) -> None:
    told = run(Change(suspect=30, customer=globex)).as_json()
    assert (told["total"], told["to_bad"], told["to_good"]) == (3, 2, 0)
    assert run(Change(suspect=70, customer=acme)).as_json()["to_good"] == 1


def test_more_days(acme: Customer) -> None:
    assert run(Change(suspect=39, days=30)).as_json()["to_bad"] == 1
    assert run(Change(suspect=39, days=7)).as_json()["to_bad"] == 0


def test_a_spam_threshold_changes_the_category_and_moves_nobody(acme: Customer) -> None:
    told = run(Change(spam=85)).as_json()
    assert (told["to_bad"], told["to_good"], told["categories"]["spam"]) == (0, 0, [1, 0])


def test_a_symbol_that_no_longer_counts() -> None:
    customer = make_customer("acme")
    judged_score = score(SPAM["de-phishing-parcel"])
    heaviest = next(symbol.name for symbol in judged_score.symbols if symbol.name != "BASE")
    judged(customer, judged_score.value, vector=judged_score.features)
    judged(customer, 50, vector=b"of an older version")
    told = run(Change(without=(heaviest,))).as_json()
    assert (told["looked_at"], told["unreadable"]) == (1, 1)
    assert told["examples"] == [] or told["examples"][0]["after"] < judged_score.value
    everything = tuple(symbol.name for symbol in judged_score.symbols if symbol.name != "BASE")
    assert run(Change(without=everything)).as_json()["to_good"] == 1


def test_a_large_log_is_judged_by_an_even_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest, "MAX_ROWS", 50)
    customer = make_customer("acme")
    for number in range(300):
        judged(customer, 39 if number % 2 else 10, days=1 + number / 100_000)
    for change in (Change(suspect=39), Change(suspect=39, customer=customer)):
        told = run(change).as_json()
        assert (told["total"], told["sample"]) == (300, True)
        assert 15 <= told["looked_at"] <= 90
        assert told["to_bad"] == pytest.approx(told["looked_at"] / 2, abs=15)


@pytest.mark.parametrize(
    "values",
    [{"suspect": -1}, {"spam": 101}, {"suspect": float("nan")}, {"days": 0}, {"days": 4000}],
)
def test_nonsense_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        run(Change(**values))


def test_the_command(acme: Customer) -> None:
    output = StringIO()
    call_command("backtest", "--suspect", "35", "--json", stdout=output)
    assert json.loads(output.getvalue())["to_bad"] == 2
    call_command("backtest", "--suspect", "35", "--customer", "acme", stdout=output)
    assert "6 messages in 7 days, all of them:\n2 would move to Bad, 0 to Good" in output.getvalue()
    with pytest.raises(CommandError, match="no customer 'nobody'"):
        call_command("backtest", "--customer", "nobody")
    with pytest.raises(CommandError):
        call_command("backtest", "--suspect", "400")


SCORES = st.lists(st.floats(0, 100), max_size=12)
OWN = st.one_of(st.none(), st.floats(20, 70))


def bad(told: dict[str, Any]) -> int:
    return int(told["categories"]["suspect"][1] + told["categories"]["spam"][1])


@given(SCORES, OWN, st.floats(1, 100), st.floats(1, 100))
@settings(max_examples=40)
def test_a_lower_threshold_never_leaves_less_for_bad(
    scores: list[float], own: float | None, one: float, other: float
) -> None:
    with transaction.atomic():
        customer = make_customer(suspect_threshold=own)
        for value in scores:
            judged(customer, value)
        for about in (None, customer):
            low, high = (
                run(Change(suspect=level, customer=about)).as_json() for level in sorted((one, other))
            )
            assert bad(low) >= bad(high)
        transaction.set_rollback(True)


@given(SCORES, OWN)
@settings(max_examples=25)
def test_the_present_policy_changes_nothing(scores: list[float], own: float | None) -> None:
    with transaction.atomic():
        customer = make_customer(suspect_threshold=own)
        for value in scores:
            judged(customer, value)
        for change in (Change(), Change(suspect=40, spam=75), Change(suspect=own, customer=customer)):
            told = run(change).as_json()
            assert (told["to_bad"], told["to_good"], told["examples"]) == (0, 0, [])
            assert all(before == after for before, after in told["categories"].values())
        transaction.set_rollback(True)
