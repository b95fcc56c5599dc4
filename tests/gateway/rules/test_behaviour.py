"""When the abuse fuse blows: as a table, and what no traffic may ever cause."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.behaviour import (
    SIGNALS,
    Baseline,
    Limits,
    Signal,
    Traffic,
    from_numbers,
    judge,
    network_of,
    numbers,
    sentences,
    signals,
)

HOME, ELSEWHERE = "192.0.2.0/24", "203.0.113.0/24"
LIMITS = Limits()
USUAL = Traffic(
    messages=600, recipients=600, sampled=600, bad=6, networks={HOME: 600}, addresses=200, domains=12,
    settled=600, unknown=6,
)  # fmt: skip
WEB_FORM = Baseline(USUAL, busiest=20, span_h=700)
NEWSLETTER = Baseline(replace(USUAL, messages=20_000, domains=900), busiest=5000, span_h=700)
NEW = Baseline(Traffic(messages=3, recipients=3, sampled=3), busiest=3, span_h=2)
QUIET = Traffic(
    messages=15, recipients=15, sampled=15, networks={HOME: 15}, addresses=15, new=3, domains=4, settled=15
)
STOLEN = Traffic(
    messages=400, recipients=400, sampled=400, bad=20, networks={ELSEWHERE: 400}, addresses=200, new=199, domains=150,
    settled=100, unknown=10,
)  # fmt: skip


def sent(number: int, **values: object) -> Traffic:
    """Ordinary mail, `number` messages within the hour."""
    usual = Traffic(
        messages=number, recipients=number, sampled=number, networks={HOME: number}, addresses=200, new=20, domains=10,
        settled=number,
    )  # fmt: skip
    return replace(usual, **values)


@pytest.mark.parametrize(
    ("now", "before", "blown_by"),
    [
        pytest.param(QUIET, WEB_FORM, None, id="an ordinary hour"),
        pytest.param(
            STOLEN, WEB_FORM, {"burst", "networks", "recipients", "domains"}, id="a stolen password"
        ),
        pytest.param(sent(400), WEB_FORM, None, id="a burst to those it always writes to"),
        pytest.param(sent(400, new=180), WEB_FORM, {"burst", "recipients"}, id="a web form that is abused"),
        pytest.param(
            sent(90, networks={ELSEWHERE: 90}, new=180), WEB_FORM, None, id="a new server, as many mails"
        ),
        pytest.param(
            sent(6000, new=180), NEWSLETTER, None, id="the newsletter, to new readers, as big as always"
        ),
        pytest.param(sent(3000), WEB_FORM, {"flood"}, id="a flood is enough by itself"),
        pytest.param(sent(60, bad=24), WEB_FORM, {"bad"}, id="spam is enough by itself"),
        pytest.param(sent(60, bad=17), WEB_FORM, None, id="a few suspicious mails are not"),
        pytest.param(
            sent(60, bad=24),
            Baseline(replace(USUAL, bad=300), 20, 700),
            None,
            id="whose mail always looked so",
        ),
        pytest.param(sent(60, unknown=25), WEB_FORM, {"unknown"}, id="an old address list"),
        pytest.param(sent(60, unknown=25), NEW, None, id="a new login gets more patience"),
        pytest.param(sent(90, unknown=45), NEW, {"unknown"}, id="but not for ever"),
        pytest.param(sent(90, bad=60), NEW, {"bad"}, id="nor for spam"),
        pytest.param(sent(50_000, new=200, domains=2000), NEW, None, id="a new login's first newsletter"),
        pytest.param(
            sent(60, complaints=6, complainable=300), WEB_FORM, {"complaints"}, id="readers complain"
        ),
        pytest.param(sent(60, complaints=4, complainable=60), WEB_FORM, None, id="four readers may be wrong"),
        pytest.param(
            sent(60, complaints=60, complainable=9000), WEB_FORM, None, id="a newsletter's usual share"
        ),
        pytest.param(sent(60, complaints=6, complainable=300), NEW, None, id="complaints about a new login"),
        pytest.param(sent(60, complaints=12, complainable=300), NEW, {"complaints"}, id="but not so many"),
        pytest.param(
            sent(49, bad=49, unknown=49, networks={ELSEWHERE: 49}, new=200), WEB_FORM, None, id="too few"
        ),
    ],
)
def test_judge(now: Traffic, before: Baseline, blown_by: set[str] | None) -> None:
    breach = judge(now, before, LIMITS)
    assert (breach and {signal.name for signal in breach.signals}) == blown_by


def test_a_released_burst_is_history_and_does_not_blow_it_again() -> None:
    """After a release the window starts anew and what was before is the baseline."""
    known = Traffic(
        messages=1000, recipients=1000, sampled=1000, bad=26, networks={HOME: 600, ELSEWHERE: 400}, addresses=200,
        domains=162, settled=700, unknown=16,
    )  # fmt: skip
    assert judge(STOLEN, Baseline(known, busiest=400, span_h=700), LIMITS) is None


TRAFFIC = st.builds(
    Traffic,
    messages=st.integers(0, 10**6),
    recipients=st.integers(0, 10**6),
    sampled=st.integers(0, 1000),
    bad=st.integers(0, 1000),
    networks=st.dictionaries(st.sampled_from([HOME, ELSEWHERE, ""]), st.integers(0, 1000)),
    addresses=st.integers(0, 200),
    new=st.integers(0, 200),
    domains=st.integers(0, 2000),
    settled=st.integers(0, 2000),
    unknown=st.integers(0, 2000),
)
BASELINES = st.builds(Baseline, TRAFFIC, st.integers(0, 10**6), st.floats(0, 800))


@given(TRAFFIC, BASELINES)
def test_few_recipients_never_blow_it(now: Traffic, before: Baseline) -> None:
    few = replace(now, recipients=min(now.recipients, LIMITS.min_recipients - 1))
    assert judge(few, before, LIMITS) is None
    assert signals(few, before, LIMITS) == ()


@given(TRAFFIC, BASELINES, st.integers(0, 10**6))
def test_a_busier_past_never_makes_it_stricter(now: Traffic, before: Baseline, more: int) -> None:
    busier = replace(before, busiest=before.busiest + more)
    if judge(now, before, LIMITS) is None:
        assert judge(now, busier, LIMITS) is None


@given(TRAFFIC, BASELINES, st.sampled_from(["de", "en", "fr"]))
def test_every_breach_has_words(now: Traffic, before: Baseline, language: str) -> None:
    found = signals(now, before, LIMITS)
    assert len(sentences(found, language)) == len(found)
    assert {signal.name for signal in found} <= SIGNALS
    assert [signal.name for signal in from_numbers(numbers(found))] == [signal.name for signal in found]


def test_words() -> None:
    found = (Signal("burst", 12_400, 20), Signal("bad", 0.314, 0.01), Signal("recipients", 0.99, None))
    assert sentences(found, "en") == [
        "12,400 recipients within an hour (usual: 20)",
        "31% of the messages look like spam (usual: 1%)",
        "99% of the recipients were never written to before",
    ]
    assert sentences(found[:1], "de") == ["12.400 Empfänger innerhalb einer Stunde (sonst: 20)"]


def test_broken_stored_numbers_are_left_out() -> None:
    stored = {"burst": [5, 1], "bad": "x", "unknown": [None, 1], "who": [1, 2], "domains": [1]}
    assert from_numbers(stored) == (Signal("burst", 5, 1),)


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.77", "192.0.2.0/24"), ("2001:db8:1:2::3", "2001:db8:1::/48"), ("", "")],
)
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network
