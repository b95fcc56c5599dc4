"""Local learning: it moves scores, undoing leaves no trace, exports come back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.spam import LocalCounts, score
from gateway.spam.features import extract
from gateway.spam.learn import TOTAL, LocalError, add, counts_of, export, remove, restore
from tests.gateway.spam.mails import HAM, SPAM

ALL = {**HAM, **SPAM}
NAMES = sorted(ALL)


def learned(*decisions: tuple[str, bool]) -> LocalCounts:
    counts = LocalCounts()
    for name, is_spam in decisions:
        counts = add(counts, extract(ALL[name]), is_spam)
    return counts


@pytest.mark.parametrize("name", NAMES)
def test_learning_moves_the_score_the_right_way(name: str) -> None:
    before = score(ALL[name]).value
    released = score(ALL[name], local=learned(*[(name, False)] * 5))
    confirmed = score(ALL[name], local=learned(*[(name, True)] * 5))
    assert released.value < before or before in (0, 100)
    assert confirmed.value > before or before in (0, 100)
    assert any(symbol.name == "LOCAL_LEARNING" and symbol.share < 0 for symbol in released.symbols)


def test_trust_grows_with_what_was_learned() -> None:
    values = [
        score(HAM["de-newsletter"], local=learned(*[("de-newsletter", False)] * n)).value
        for n in (0, 1, 3, 10, 40)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 5


def test_released_mail_of_a_kind_leaves_by_good_afterwards() -> None:
    counts = learned(*[("de-phishing-parcel", False)] * 40)
    assert score(SPAM["de-phishing-parcel"]).category != "clean"
    assert score(SPAM["de-phishing-parcel"], local=counts).category == "clean"
    assert score(SPAM["en-advance-fee"], local=counts).category != "clean"


def test_ham_alone_never_makes_other_mail_spam() -> None:
    counts = learned(*[("de-termin", False)] * 500)
    assert score(HAM["de-rechnung"], local=counts).value <= score(HAM["de-rechnung"]).value


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=8), st.randoms(use_true_random=False)
)
def test_undo_in_any_order_leaves_no_trace(decisions: list[tuple[str, bool]], random: object) -> None:
    counts = learned(*decisions)
    random.shuffle(decisions)  # type: ignore[attr-defined]
    for name, is_spam in decisions:
        counts = remove(counts, extract(ALL[name]), is_spam)
    assert (counts.ham, counts.spam, dict(counts.features)) == (0, 0, {})


def test_what_was_not_learned_cannot_be_undone() -> None:
    with pytest.raises(LocalError):
        remove(learned(("en-reply", False)), extract(HAM["en-reply"]), True)
    with pytest.raises(LocalError):
        remove(LocalCounts(), extract(HAM["en-reply"]), False)


def test_export_and_restore() -> None:
    counts = learned(("en-reply", False), ("en-pills", True), ("en-reply", False))
    assert restore(export(counts)) == counts
    assert export(restore(export(counts))) == export(counts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"version": 2, "ham": 0, "spam": 0, "features": {}}',
        '{"version": 1, "ham": -1, "spam": 0, "features": {}}',
        '{"version": 1, "ham": 1, "spam": 0, "features": {"x": [1, 2]}}',
        '{"version": 1, "ham": 1, "spam": 0, "features": {"5": [1]}}',
        '{"version": 1, "ham": 1, "spam": 0, "features": {"5": [1, -2]}}',
    ],
)
def test_broken_exports_are_refused(text: str) -> None:
    with pytest.raises(LocalError):
        restore(text)


def test_counts_from_stored_rows() -> None:
    counts = learned(("en-reply", False), ("en-pills", True))
    rows = [(TOTAL, counts.ham, counts.spam), *((number, *pair) for number, pair in counts.features.items())]
    assert counts_of(rows) == counts
    assert counts_of([]) == LocalCounts()
