"""Scores: what they depend on and what not, and that their parts add up."""

from __future__ import annotations

import re

import pytest

from gateway.rules.spam import Thresholds
from gateway.spam import LocalCounts, rescore, score
from gateway.spam.counterfactual import smallest_flip
from gateway.spam.features import FeaturesError, extract, pack, unpack
from gateway.spam.symbols import INDEX, SYMBOLS
from tests.gateway.spam.mails import HAM, SPAM, mail

ALL = {**HAM, **SPAM}
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


@pytest.mark.parametrize("name", HAM)
def test_ordinary_mail_leaves_by_good(name: str) -> None:
    found = score(HAM[name])
    assert (found.category, found.kind) == ("clean", None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("en-phishing-mailbox", "phishing"),
        ("de-phishing-bank", "phishing"),
        ("de-phishing-parcel", "phishing"),
        ("en-advance-fee", "scam"),
        ("en-extortion", "extortion"),
        ("en-pills", "pharmacy"),
    ],
)
def test_unwanted_mail_leaves_by_bad(name: str, kind: str) -> None:
    found = score(SPAM[name])
    assert found.category in ("suspect", "spam")
    assert found.kind == kind


def test_every_unwanted_mail_scores_above_every_ordinary_one() -> None:
    assert min(score(raw).value for raw in SPAM.values()) > max(score(raw).value for raw in HAM.values())


@pytest.mark.parametrize("name", ALL)
def test_shares_add_up_and_have_descriptions(name: str) -> None:
    found = score(ALL[name])
    assert sum(symbol.share for symbol in found.symbols) == pytest.approx(found.value)
    shares = [symbol.share for symbol in found.symbols]
    assert shares == sorted(shares, reverse=True)
    for symbol in found.symbols:
        assert SYMBOLS[symbol.name].en != SYMBOLS[symbol.name].de


@pytest.mark.parametrize("name", ALL)
def test_same_bytes_same_score_and_rescoring_gives_the_identical_one(name: str) -> None:
    found = score(ALL[name])
    assert score(ALL[name]) == found
    assert rescore(found.features) == found


@pytest.mark.parametrize("name", ALL)
def test_threads_dates_and_line_ends_do_not_count(name: str) -> None:
    raw = ALL[name]
    value = score(raw).value
    answering = b"In-Reply-To: <1@b.example>\r\nReferences: <0@b.example> <1@b.example>\r\n" + raw
    assert score(answering).value == value
    assert score(re.sub(rb"(?m)^Date: .*$", b"Date: Mon, 01 Jan 2035 00:00:00 +0000\r", raw)).value == value
    assert score(raw.replace(b"\r\n", b"\n")).value == value
    assert score(raw.replace(b"Subject: ", b"Subject: Re: ")).value == value


def test_how_many_are_addressed_does_not_count() -> None:
    raw = HAM["en-reply"]
    to = raw[raw.index(b"To: ") : raw.index(b"\r\n", raw.index(b"To: "))]
    many = raw.replace(to, to + b", b@kunde.example\r\nCc: c@kunde.example, d@kunde.example", 1)
    assert score(many).value == score(raw).value


def test_envelope_does_not_change_the_score_of_mail_with_headers() -> None:
    raw = HAM["de-termin"]
    assert score(raw, sender="x@y.example", recipients=["z@y.example"]) == score(raw)


def test_gtube_is_spam_in_any_case() -> None:
    found = score(mail(f"Hallo,\n\n{GTUBE}\n"))
    assert (found.value, found.category, found.kind) == (100.0, "spam", "test")
    assert [symbol.name for symbol in found.symbols] == ["GTUBE"]
    assert rescore(found.features) == found
    assert score(mail(f"Hallo,\n\n{GTUBE[:-1]}\n")).category == "clean"


@pytest.mark.parametrize(
    ("value", "suspect", "spam", "category"),
    [
        ("en-reply", 1.0, 2.0, "spam"),
        ("en-advance-fee", 99.99, 100.1, "suspect"),
        ("en-reply", 99.0, 99.5, "clean"),
    ],
)
def test_thresholds_decide_the_category(value: str, suspect: float, spam: float, category: str) -> None:
    assert score(ALL[value], thresholds=Thresholds(suspect, spam)).category == category


def test_words_count_only_in_trained_languages() -> None:
    german = {symbol.name for symbol in score(HAM["de-rechnung"]).symbols}
    english = {symbol.name for symbol in score(HAM["en-invoice"]).symbols}
    assert "WORDING" in english
    assert "WORDING" not in german


@pytest.mark.parametrize("name", SPAM)
def test_counterfactual_flips_and_is_the_smallest(name: str) -> None:
    found = score(SPAM[name])
    flip = smallest_flip(found.features)
    assert flip
    assert "BASE" not in flip
    assert rescore(found.features, without=flip).category == "clean"
    for kept in flip:
        rest = [symbol for symbol in flip if symbol != kept]
        assert rescore(found.features, without=rest).category != "clean"


def test_nothing_has_to_go_for_clean_mail() -> None:
    assert smallest_flip(score(HAM["en-reply"]).features) == ()


def test_counterfactual_of_gtube_is_gtube() -> None:
    assert smallest_flip(score(mail(GTUBE)).features) == ("GTUBE",)


def test_an_exception_for_symbols_lowers_the_score() -> None:
    raw = SPAM["en-advance-fee"]
    names = [symbol.name for symbol in score(raw).symbols if symbol.share > 0][:3]
    found = score(raw, without=names)
    assert found.value < score(raw).value
    assert not {symbol.name for symbol in found.symbols} & set(names)


@pytest.mark.parametrize("name", ALL)
def test_vector_round_trip_holds_no_text(name: str) -> None:
    features = extract(ALL[name])
    packed = pack(features)
    assert unpack(packed) == features
    assert not re.search(rb"[A-Za-z]{6}", packed.replace(b"\x00", b""))


@pytest.mark.parametrize(
    "data",
    [b"", b"\x01", b"\x02" * 40, pack(extract(HAM["en-reply"]))[:-1], pack(extract(HAM["en-reply"])) + b"\0"],
)
def test_broken_vectors_are_named(data: bytes) -> None:
    with pytest.raises(FeaturesError):
        rescore(data)


def test_symbol_positions_are_stable() -> None:
    """Stored vectors hold these positions: a new symbol goes to the end."""
    assert [INDEX[name] for name in ("BASE", "WORDING", "HTML", "LINKS", "CREDENTIALS", "SPAMASSASSIN")] == [
        0,
        2,
        19,
        30,
        39,
        58,
    ]


def test_empty_local_counts_change_nothing() -> None:
    assert score(HAM["en-reply"], local=LocalCounts()) == score(HAM["en-reply"])
