"""What training holds before it sees mail, and how its threshold follows from left-out sources."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.spam import score
from gateway.spam.features import extract
from gateway.spam.ordinary_mail import LAYOUTS, ordinary_mails
from gateway.spam.parse import read_mail
from gateway.spam.tables import value_of
from gateway.spam.train import RARE, SPREADS, THRESHOLD, Data, knots_of

ORDINARY = list(ordinary_mails())


def test_written_mail_is_english_complete_and_always_the_same() -> None:
    assert list(ordinary_mails()) == ORDINARY
    assert len(set(ORDINARY)) == len(ORDINARY)
    for raw in ORDINARY:
        found = extract(raw)
        assert found.language == "en"
        assert dict(found.structure).keys() >= {"SUBJECT", "SENDER_NAME", "LAYOUT", "MESSAGE_ID"}


@pytest.mark.parametrize("number", range(len(LAYOUTS)))
def test_layouts_are_read_as_they_are_meant(number: int) -> None:
    types = [part.content_type for part in read_mail(ORDINARY[number]).parts]
    plain, html = ["text/plain"], ["text/html"]
    meant = {"letter": plain, "newsletter": html}.get(LAYOUTS[number].__name__)
    assert types == (meant or ["multipart/alternative", *plain, *html])


def test_written_mail_leaves_by_good() -> None:
    assert [score(raw).category for raw in ORDINARY] == ["clean"] * len(ORDINARY)


def data_of(folds: list[str], worded: list[bool]) -> Data:
    """Ham of these folds; what `knots_of` does not look at is empty."""
    none = np.zeros(len(folds))
    return Data(
        none, none, none, none,
        is_spam=np.zeros(len(folds), dtype=bool), sources=np.array(folds), folds=np.array(folds),
        with_html=none, worded=np.array(worded), written=np.zeros(len(folds), dtype=bool),
    )  # fmt: skip


def test_threshold_lies_above_the_mean_of_sources_by_their_spread() -> None:
    z = np.concatenate([np.linspace(0, 1, 200), np.linspace(2, 3, 200), np.full(20, 99.0)])
    data = data_of(["a"] * 200 + ["b"] * 200 + ["few"] * 20, [True] * 420)
    knots = tuple((at, value) for at, value in knots_of(z, data, data.worded))
    rare = [float(np.quantile(z[:200], RARE)), float(np.quantile(z[200:400], RARE))]
    assert value_of(float(np.mean(rare) + SPREADS * np.std(rare)), knots) == pytest.approx(THRESHOLD)
    assert value_of(float(np.mean([0.95, 2.95])), knots) == pytest.approx(20.0)


def test_knots_ascend_whatever_the_mail() -> None:
    data = data_of(["a"] * 150, [False] * 150)
    knots = knots_of(np.zeros(150), data, data.worded)
    assert knots == sorted(knots)
    assert len({at for at, _ in knots}) == len({value for _, value in knots}) == len(knots)
