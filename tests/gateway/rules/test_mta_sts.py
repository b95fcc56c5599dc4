"""MTA-STS records and policies written by strangers."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.mta_sts import MAX_AGE_S, BadPolicy, parse_policy, record_id
from gateway.rules.tls_policy import StsMode, StsPolicy

GOOD = "version: STSv1\nmode: enforce\nmx: mx1.bank.example\nmx: *.mail.bank.example\nmax_age: 86400\n"


@pytest.mark.parametrize(
    ("texts", "identity"),
    [
        (["v=STSv1; id=20260101T000000;"], "20260101T000000"),
        (["v=STSv1;id=a"], "a"),
        (["v=STSv1 ; id = a1 ; other=x"], "a1"),
        (["v=spf1 -all", "v=STSv1; id=a"], "a"),
        (["v=STSv1; id=a", "v=STSv1; id=b"], None),
        (["v=STSv1;"], None),
        (["v=STSv1; id="], None),
        (["v=STSv1; id=not-alnum"], None),
        (["v=STSv1; id=" + "a" * 33], None),
        (["v=STSv10; id=a"], None),
        (["id=a; v=STSv1"], None),
        ([], None),
    ],
)
def test_records(texts: list[str], identity: str | None) -> None:
    assert record_id(texts) == identity


def test_a_policy() -> None:
    assert parse_policy(GOOD, "id1") == StsPolicy(
        StsMode.ENFORCE, ("mx1.bank.example", "*.mail.bank.example"), 86400, "id1", GOOD
    )


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        GOOD + "unknown: key\n",
        "version:STSv1\nmode:enforce\nmx:mx1.bank.example\nmx:*.mail.bank.example\nmax_age:86400",
        GOOD + "mode: none\n",  # the first of a repeated key counts
    ],
)
def test_the_same_policy_in_other_words(text: str) -> None:
    assert parse_policy(text).mx == ("mx1.bank.example", "*.mail.bank.example")
    assert parse_policy(text).mode is StsMode.ENFORCE


def test_max_age_is_capped_and_none_needs_no_hosts() -> None:
    assert parse_policy(GOOD.replace("86400", "9999999999")).max_age_s == MAX_AGE_S
    assert parse_policy("version: STSv1\nmode: none\nmax_age: 0\n").mode is StsMode.NONE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>not found</html>",
        GOOD.replace("STSv1", "STSv2"),
        GOOD.replace("enforce", "strict"),
        GOOD.replace("max_age: 86400", ""),
        GOOD.replace("86400", "-1"),
        GOOD.replace("86400", "soon"),
        "version: STSv1\nmode: enforce\nmax_age: 1\n",
        GOOD.replace("mx1.bank.example", "mx1 bank"),
        GOOD.replace("mx1.bank.example", "m*x.bank.example"),
        GOOD + "mx: a.example\n" * 300,
    ],
)
def test_bad_policies(text: str) -> None:
    with pytest.raises(BadPolicy):
        parse_policy(text)


@given(st.text())
def test_any_text_is_a_policy_or_bad(text: str) -> None:
    with contextlib.suppress(BadPolicy):
        parse_policy(text)
    assert record_id([text]) is None or text.startswith("v=STSv1")
