"""A domain's records against what they should say, as tables: what is found decides state and named mistake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.domain_check import (
    CheckResult,
    Record,
    Wanted,
    WantedKey,
    compare_key,
    judge,
    suggested_spf,
    tags,
)
from gateway.rules.spf import Looked, Needed, evaluate

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
HOST = "spf.smg.example"
PUBLIC = "v=DKIM1; k=rsa; p=" + "A" * 390 + "B"
WANT = Wanted("acme.example", "c0ffee", HOST, ("192.0.2.1", "192.0.2.2"), (WantedKey("smg1", PUBLIC),))
Zone = dict[tuple[str, str], Looked]


def zone(**records: Any) -> Zone:
    """Good records for acme.example, changed by keyword: name with __ for dots and ___ before the type."""
    good: Zone = {
        ("_smg-challenge.acme.example", "TXT"): Looked(("c0ffee",), ttl_s=300),
        ("acme.example", "TXT"): Looked((f"v=spf1 a:{HOST} -all",), ttl_s=300),
        ("acme.example", "MX"): Looked(("10 mx.acme.example.",)),
        ("mx.acme.example", "A"): Looked(("192.0.2.99",)),
        (HOST, "A"): Looked(("192.0.2.1", "192.0.2.2")),
        ("smg1._domainkey.acme.example", "TXT"): Looked((PUBLIC,)),
        ("_dmarc.acme.example", "TXT"): Looked(("v=DMARC1; p=none",)),
    }
    return good | {(name, rdtype): looked for (name, rdtype), looked in records.pop("changed", {}).items()}


def check(
    changed: Zone | None = None, before: dict[str, Any] | None = None, want: Wanted = WANT
) -> CheckResult:
    """Judge with every missing answer taken for 'does not exist'."""
    facts = zone(changed=changed or {})
    while True:
        try:
            return judge(facts, want, before or {}, now=NOW, resolver="192.0.2.53:53")
        except Needed as needed:
            facts[needed.question] = Looked(error="nxdomain")


def found(key: str, changed: Zone, **options: Any) -> tuple[str, str]:
    """(state, first note) of one record."""
    record: Record = check(changed, **options).records[key]
    return record.state, record.notes[0][0] if record.notes else ""


def test_all_good() -> None:
    result = check()
    assert result.health == "good"
    assert {record.state for record in result.records.values()} == {"good"}
    assert result.as_json()["spf"]["resolver"] == "192.0.2.53:53"


NAME, TXT = "_smg-challenge.acme.example", "TXT"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({(NAME, TXT): Looked(("c0ffee",))}, ("good", "")),
        ({(NAME, TXT): Looked(('"c0ffee"',))}, ("warning", "quotes")),
        ({(NAME, TXT): Looked(("c0ffee", "old"))}, ("good", "")),
        ({(NAME, TXT): Looked(("other",))}, ("wrong", "other_value")),
        ({(NAME, TXT): Looked(error="nxdomain")}, ("missing", "missing")),
        ({(NAME, TXT): Looked(error="timeout")}, ("unknown", "dns")),
        ({(NAME, TXT): Looked(), (f"{NAME}.acme.example", TXT): Looked(("c0ffee",))}, ("wrong", "twice")),
        ({(NAME, TXT): Looked(), ("acme.example", TXT): Looked(("smg-challenge=c0ffee",))}, ("good", "")),
        (
            {(NAME, TXT): Looked(error="servfail"), ("acme.example", TXT): Looked(("smg-challenge=c0ffee",))},
            ("good", ""),
        ),
    ],
)
def test_ownership(changed: Zone, expected: tuple[str, str]) -> None:
    assert found("ownership", changed) == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({("acme.example", "MX"): Looked(error="nxdomain")}, ("missing", "nxdomain")),
        ({("acme.example", "MX"): Looked(error="servfail")}, ("unknown", "dns")),
        ({("acme.example", "MX"): Looked(("0 .",))}, ("wrong", "null_mx")),
        ({("acme.example", "MX"): Looked(("10 192.0.2.7.",))}, ("wrong", "mx_is_address")),
        ({("mx.acme.example", "A"): Looked()}, ("warning", "mx_no_address")),
        ({("acme.example", "MX"): Looked()}, ("missing", "no_mx")),
        (
            {("acme.example", "MX"): Looked(), ("acme.example", "A"): Looked(("192.0.2.5",))},
            ("warning", "only_address"),
        ),
        (
            {("acme.example", "MX"): Looked(), ("acme.example", "AAAA"): Looked(("2001:db8::5",))},
            ("warning", "only_address"),
        ),
        (
            {("acme.example", "MX"): Looked(), ("acme.example", "A"): Looked(error="timeout")},
            ("unknown", "dns"),
        ),
    ],
)
def test_mail_exchange(changed: Zone, expected: tuple[str, str]) -> None:
    assert found("mx", changed) == expected


def spf(text: str, **more: Looked) -> Zone:
    extra = {(name.replace("__", "."), "TXT"): looked for name, looked in more.items()}
    return {("acme.example", "TXT"): Looked((text,)), **extra}


MANY = " ".join(f"include:n{number}.example" for number in range(11))
INCLUDED = {f"n{number}__example": Looked(("v=spf1 -all",)) for number in range(11)}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (spf(f"v=spf1 a:{HOST} ~all"), ("good", "")),
        (spf(f"V=SPF1 mx A:{HOST} -all"), ("good", "")),
        (spf("v=spf1 ip4:192.0.2.0/24 -all"), ("warning", "spf_pinned")),
        (spf(f"v=spf1 a:{HOST} +all"), ("warning", "spf_plus_all")),
        (spf("v=spf1 ip4:192.0.2.1 -all"), ("wrong", "spf_not_us")),  # one of two addresses
        (spf("v=spf1 mx -all"), ("wrong", "spf_not_us")),
        (spf(f"v=spf1 -all a:{HOST}"), ("wrong", "spf_order")),
        (spf(f"v=spf1 include:{HOST} -all"), ("wrong", "spf_include")),
        (spf("v=spf1 include:gone.example -all"), ("wrong", "spf_include_none")),
        (spf(f"v=spf1 {MANY} a:{HOST} -all", **INCLUDED), ("wrong", "spf_lookups")),
        (spf("v=spf1 a:x.example a:y.example a:z.example -all"), ("wrong", "spf_void")),
        (spf(f"v=spf1 ip4:192.0.2.999 a:{HOST} -all"), ("wrong", "spf_syntax")),
        (spf(f"v=spf1 a:{HOST}/² -all"), ("wrong", "spf_syntax")),
        (spf(f"v=spf1 a:{HOST}include:x.example -all"), ("wrong", "spf_syntax")),
        (spf(f"v=spf1 pt a:{HOST} -all"), ("wrong", "spf_syntax")),
        (spf("v=spf1 redirect=gone.example"), ("wrong", "spf_redirect")),
        (
            spf("v=spf1 redirect=_spf.acme.example", _spf__acme__example=Looked((f"v=spf1 a:{HOST} -all",))),
            ("good", ""),
        ),
        (spf('"v=spf1 mx -all"'), ("wrong", "quotes")),
        (spf("v=spf10 mx -all"), ("missing", "missing")),
        ({("acme.example", TXT): Looked(("v=spf1 mx -all", "v=spf1 a -all"))}, ("wrong", "spf_two")),
        ({("acme.example", TXT): Looked(error="timeout")}, ("unknown", "dns")),
        (
            {
                ("acme.example", TXT): Looked(),
                ("acme.example.acme.example", TXT): Looked(("v=spf1 mx -all",)),
            },
            ("wrong", "twice"),
        ),
        (spf("v=spf1 include:slow.example -all", slow__example=Looked(error="timeout")), ("unknown", "dns")),
    ],
)
def test_spf(changed: Zone, expected: tuple[str, str]) -> None:
    assert found("spf", changed) == expected


def test_spf_counts_the_look_ups_and_warns_in_time() -> None:
    text = "v=spf1 " + " ".join(f"include:n{number}.example" for number in range(8)) + f" a:{HOST} -all"
    record = check(spf(text, **INCLUDED)).records["spf"]
    assert (record.state, record.lookups, record.notes) == ("warning", 9, (("spf_many", "9/10"),))


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ([], f"v=spf1 a:{HOST} ~all"),
        (["v=spf1 mx -all"], f"v=spf1 a:{HOST} mx -all"),
        ([f"v=spf1 include:{HOST} ip4:192.0.2.7 ?all"], f"v=spf1 a:{HOST} ip4:192.0.2.7 ?all"),
        (["v=spf1 redirect=x.example"], f"v=spf1 a:{HOST} redirect=x.example"),
        (["v=spf1"], f"v=spf1 a:{HOST} ~all"),
    ],
)
def test_the_suggestion_keeps_what_is_there(there: list[str], expected: str) -> None:
    assert suggested_spf(there, HOST) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PUBLIC, ""),
        (PUBLIC + ";", ""),
        (PUBLIC.replace("; ", ";"), ""),
        ("p=" + PUBLIC.partition("p=")[2] + "; k=rsa; v=DKIM1", ""),
        (PUBLIC.replace("AAAA", "AA AA", 1), ""),
        (f'"{PUBLIC}"', "quotes"),
        (PUBLIC.replace(";", "\\;"), "backslash"),
        (PUBLIC[:255], "dkim_cut"),
        (PUBLIC.replace("B", "C"), "dkim_other"),
        ("v=DKIM1; k=rsa; p=", "dkim_revoked"),
        ("v=spf1 -all", "dkim_no_key"),
    ],
)
def test_dkim_records_are_read_not_compared(text: str, expected: str) -> None:
    assert compare_key([text], PUBLIC) == expected


def test_two_keys_at_one_name() -> None:
    assert compare_key([PUBLIC, PUBLIC.replace("B", "C")], PUBLIC) == "dkim_two"


def test_a_dkim_record_that_is_not_there_yet() -> None:
    assert found("dkim:smg1", {("smg1._domainkey.acme.example", TXT): Looked(error="nxdomain")}) == (
        "missing",
        "missing",
    )


def test_a_delegated_key_expects_the_cname() -> None:
    want = Wanted(
        "acme.example", "c0ffee", HOST, (), (WantedKey("smg1", PUBLIC, "smg1.acme.example.dkim.smg.example"),)
    )
    record = check(want=want).records["dkim:smg1"]
    assert (record.type, record.expected, record.state) == (
        "CNAME",
        "smg1.acme.example.dkim.smg.example",
        "good",
    )


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({("_dmarc.acme.example", TXT): Looked()}, ("optional", "dmarc_missing")),
        (
            {("_dmarc.acme.example", TXT): Looked(("v=DMARC1; rua=mailto:a@b.example",))},
            ("wrong", "dmarc_policy"),
        ),
        (
            {("_dmarc.acme.example", TXT): Looked(("v=DMARC1; p=none", "v=DMARC1; p=reject"))},
            ("wrong", "dmarc_two"),
        ),
        ({("_dmarc.acme.example", TXT): Looked(('"v=DMARC1; p=none"',))}, ("wrong", "quotes")),
    ],
)
def test_dmarc(changed: Zone, expected: tuple[str, str]) -> None:
    assert found("dmarc", changed) == expected


def test_a_parents_dmarc_record_holds() -> None:
    want = Wanted("news.acme.example", "c0ffee", HOST, ())
    changed = {
        ("_dmarc.news.acme.example", TXT): Looked(),
        ("_dmarc.acme.example", TXT): Looked(("v=DMARC1; p=reject",)),
    }
    assert found("dmarc", changed, want=want) == ("good", "dmarc_parent")


GONE = {("acme.example", TXT): Looked()}


def test_what_was_good_and_is_gone_is_lost_since_then() -> None:
    first = check().as_json()
    second = check(GONE, first)
    assert (second.records["spf"].state, second.records["spf"].lost_since) == ("lost", NOW)
    third = judge_later(GONE, second.as_json(), timedelta(days=2))
    assert (third.records["spf"].state, third.records["spf"].lost_since) == ("lost", NOW)


def judge_later(changed: Zone, before: dict[str, Any], later: timedelta) -> CheckResult:
    facts = zone(changed=changed)
    while True:
        try:
            return judge(facts, WANT, before, now=NOW + later)
        except Needed as needed:
            facts[needed.question] = Looked(error="nxdomain")


def test_a_dns_that_does_not_answer_loses_nothing() -> None:
    silent = {("acme.example", TXT): Looked(error="timeout")}
    second = check(silent, check().as_json())
    assert second.records["spf"].state == "unknown"
    assert judge_later({}, second.as_json(), timedelta(hours=1)).records["spf"].good_since == NOW


def test_found_again_is_good_again() -> None:
    lost = check(GONE, check().as_json()).as_json()
    assert judge_later({}, lost, timedelta(days=1)).records["spf"].lost_since is None


@pytest.mark.parametrize(
    ("changed", "health"),
    [({}, "good"), (GONE, "broken"), ({("_dmarc.acme.example", TXT): Looked()}, "warning")],
)
def test_health(changed: Zone, health: str) -> None:
    assert check(changed).health == health


@given(st.text(max_size=300))
def test_any_txt_is_judged(text: str) -> None:
    check({("acme.example", TXT): Looked((text, f"v=spf1 {text}"))})
    compare_key([text], PUBLIC)
    tags(text)


@given(
    st.lists(
        st.sampled_from(
            [
                "a",
                "mx",
                "a:x.example/33",
                "include:acme.example",
                "redirect=acme.example",
                "-all",
                "ip6:::",
                "exists:%{i}.x",
            ]
        ),
        max_size=12,
    )
)
def test_no_record_makes_the_evaluation_endless(terms: list[str]) -> None:
    facts: Zone = {("acme.example", TXT): Looked((" ".join(["v=spf1", *terms]),))}
    for _ in range(60):
        try:
            result = evaluate(facts, "acme.example", "192.0.2.1")
        except Needed as needed:
            facts[needed.question] = Looked()
        else:
            assert result.lookups <= 11
            return
    pytest.fail("asks without end")
