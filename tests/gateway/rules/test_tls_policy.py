"""Which rule holds, and what it makes of a hop: tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.policy import GatewayPolicy, TlsRulePolicy
from gateway.rules.route_types import TlsaRecord
from gateway.rules.tls_policy import (
    DaneFacts,
    DaneStatus,
    HopFacts,
    StsMode,
    StsPolicy,
    find_rule,
    hop_demand,
    matching_name,
    mx_pattern_matches,
    name_matches,
    next_hop_demand,
    rules_for,
    usable_tlsa,
)
from gateway.rules.types import OnFailure, Pool, TlsLevel

NONE, ANY, ENCRYPT, VERIFY, DANE = TlsLevel
RECORD = TlsaRecord(3, 1, 1, b"x" * 32)
USABLE = DaneFacts(DaneStatus.USABLE, (RECORD,))
UNUSABLE = DaneFacts(DaneStatus.UNUSABLE)
ENFORCE = StsPolicy(StsMode.ENFORCE, ("mx.bank.example",))
ELSEWHERE = StsPolicy(StsMode.ENFORCE, ("mx.other.example",))
TESTING = replace(ENFORCE, mode=StsMode.TESTING)


def rule(
    recipient: str = "bank.example", sender: str = "", level: TlsLevel = ENCRYPT, number: int = 1, **more: Any
) -> TlsRulePolicy:
    return TlsRulePolicy(
        number, 1, sender, recipient, level, more.pop("on_failure", OnFailure.REJECT), **more
    )


RULES = [
    rule("bank.example", number=1),
    rule(".bank.example", number=2),
    rule(".example", number=3),
    rule(".bank.example", "acme.example", number=4),
    rule("x.sub.bank.example", number=5),
    rule("only.example", "acme.example", number=6),
]


@pytest.mark.parametrize(
    ("sender", "recipient", "number"),
    [
        ("other.example", "bank.example", 1),
        ("acme.example", "bank.example", 1),  # '.bank.example' does not cover bank.example itself
        ("other.example", "sub.bank.example", 2),
        ("other.example", "x.sub.bank.example", 5),
        ("acme.example", "x.sub.bank.example", 4),  # sender-specific beats exact
        ("other.example", "elsewhere.example", 3),
        ("other.example", "notbank.example", 3),
        ("acme.example", "only.example", 6),
        ("other.example", "only.example", 3),
        ("other.example", "bank.test", None),
        ("sub.acme.example", "only.example", 3),
    ],
)
def test_the_most_specific_rule_wins(sender: str, recipient: str, number: int | None) -> None:
    found = find_rule(RULES, sender, recipient)
    assert (found.id if found else None) == number
    assert find_rule(reversed(RULES), sender, recipient) == found


def test_shadow_rules_stand_apart() -> None:
    shadow = rule(number=9, shadow=True)
    assert rules_for([*RULES, shadow], "o.example", "bank.example") == (RULES[0], shadow)
    assert rules_for([shadow], "o.example", "bank.example") == (None, shadow)


def facts(**more: Any) -> HopFacts:
    return HopFacts("mx.bank.example", "bank.example", **more)


@pytest.mark.parametrize(
    ("given_facts", "level", "source", "blocked"),
    [
        ({}, ANY, "opportunistic", False),
        ({"dane": USABLE}, DANE, "dane", False),
        ({"dane": UNUSABLE}, ENCRYPT, "dane", False),
        ({"dane": DaneFacts(DaneStatus.UNAVAILABLE)}, ANY, "opportunistic", False),
        ({"sts": ENFORCE}, VERIFY, "mta-sts", False),
        ({"sts": ELSEWHERE}, VERIFY, "mta-sts", True),
        ({"sts": TESTING}, ANY, "opportunistic", False),
        ({"sts": ENFORCE, "dane": USABLE}, DANE, "dane", False),  # MTA-STS never overrides DANE
        ({"sts": ELSEWHERE, "dane": USABLE}, DANE, "dane", False),
        ({"tls_optional": True, "dane": USABLE, "sts": ENFORCE}, ANY, "opportunistic", False),
        ({"rule": rule(), "dane": USABLE}, ENCRYPT, "rule", False),
        # A rule never makes mail less safe than the domain's own word on which hosts are its own.
        ({"rule": rule(level=VERIFY), "sts": ELSEWHERE}, VERIFY, "rule", True),
        ({"rule": rule(level=VERIFY), "sts": ENFORCE}, VERIFY, "rule", False),
        (
            {"rule": rule(level=VERIFY), "sts": replace(ELSEWHERE, mode=StsMode.TESTING)},
            VERIFY,
            "rule",
            False,
        ),
        ({"rule": rule(level=VERIFY), "sts": ELSEWHERE, "dane": USABLE}, VERIFY, "rule", False),
        ({"rule": rule(level=VERIFY, fingerprint="ab" * 32), "sts": ELSEWHERE}, VERIFY, "rule", False),
        ({"rule": rule(level=ENCRYPT), "sts": ELSEWHERE}, ENCRYPT, "rule", False),
        ({"rule": rule(), "tls_optional": True}, ENCRYPT, "rule", False),
        ({"rule": rule(level=DANE), "dane": USABLE}, DANE, "rule", False),
        ({"rule": rule(level=DANE), "dane": UNUSABLE}, DANE, "rule", True),
        ({"rule": rule(level=DANE)}, DANE, "rule", True),
        ({"rule": rule(level=DANE, fingerprint="AB:CD")}, DANE, "rule", False),  # the pin decides
        ({"require_tls": True}, VERIFY, "requiretls", True),
        ({"require_tls": True, "mx_authentic": True}, VERIFY, "requiretls", False),
        ({"require_tls": True, "sts": ENFORCE}, VERIFY, "requiretls", False),
        ({"require_tls": True, "sts": ELSEWHERE}, VERIFY, "requiretls", True),
        ({"require_tls": True, "sts": TESTING}, VERIFY, "requiretls", True),
        ({"require_tls": True, "dane": USABLE}, DANE, "requiretls", False),
        ({"require_tls": True, "rule": rule()}, VERIFY, "rule", False),
        ({"require_tls": True, "tls_optional": True, "mx_authentic": True}, VERIFY, "requiretls", False),
    ],
)
def test_order_of_policies(given_facts: dict[str, Any], level: TlsLevel, source: str, blocked: bool) -> None:
    demand = hop_demand(facts(**given_facts))
    assert (demand.level, demand.source, bool(demand.blocked)) == (level, source, blocked)
    assert demand.require_tls is given_facts.get("require_tls", False)


@pytest.mark.parametrize(
    ("given_facts", "on_failure"),
    [
        ({"rule": rule(on_failure=OnFailure.HOLD)}, OnFailure.HOLD),
        ({"rule": rule()}, OnFailure.REJECT),
        ({"require_tls": True}, OnFailure.REJECT),
        ({"require_tls": True, "dane": USABLE}, OnFailure.REJECT),
        ({"dane": USABLE}, None),
        ({"sts": ENFORCE}, None),
        ({}, None),
    ],
)
def test_what_happens_on_failure(given_facts: dict[str, Any], on_failure: OnFailure | None) -> None:
    assert hop_demand(facts(**given_facts)).on_failure is on_failure


def test_names_and_details() -> None:
    demand = hop_demand(facts(rule=rule(level=VERIFY, min_version="TLSv1.3", fingerprint="AB:CD")))
    assert demand.names == ("mx.bank.example", "bank.example")
    assert (demand.min_version, demand.fingerprint) == ("TLSv1.3", "abcd")
    assert hop_demand(facts(sts=ENFORCE)).names == ("mx.bank.example",)
    assert hop_demand(facts(dane=USABLE)).tlsa == (RECORD,)


def test_shadow() -> None:
    shadow = hop_demand(facts(shadow_rule=rule(level=VERIFY, shadow=True)))
    assert (shadow.level, shadow.forced) == (ANY, False)
    assert shadow.shadow is not None
    assert (shadow.shadow.level, shadow.shadow.source) == (VERIFY, "rule")
    testing = hop_demand(facts(sts=TESTING))
    assert testing.shadow is not None
    assert (testing.shadow.level, testing.shadow.source) == (VERIFY, "mta-sts")
    assert hop_demand(facts(rule=rule(), shadow_rule=rule(shadow=True))).shadow is None


SMART = GatewayPolicy(id=1, name="s", pool=Pool.GOOD, hostname="s", next_hop="relay.example:25")


@pytest.mark.parametrize(
    ("own", "customers", "level", "on_failure"),
    [
        (ANY, None, ANY, None),
        (NONE, None, NONE, None),
        (NONE, ENCRYPT, ENCRYPT, OnFailure.REJECT),
        (VERIFY, ENCRYPT, VERIFY, OnFailure.REJECT),
        (ANY, DANE, VERIFY, OnFailure.REJECT),
    ],
)
def test_smart_hosts(
    own: TlsLevel, customers: TlsLevel | None, level: TlsLevel, on_failure: OnFailure | None
) -> None:
    gateway = replace(SMART, next_hop_tls=own)
    demand = next_hop_demand(gateway, "relay.example", rule(level=customers) if customers else None)
    assert (demand.level, demand.on_failure, demand.names) == (level, on_failure, ("relay.example",))
    required = next_hop_demand(gateway, "relay.example", require_tls=True)
    assert (required.level, required.require_tls) == (VERIFY, True)


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("mx.bank.example", "mx.bank.example", True),
        ("MX.bank.example.", "mx.bank.example", True),
        ("*.bank.example", "mx.bank.example", True),
        ("*.bank.example", "a.mx.bank.example", False),
        ("*.bank.example", "bank.example", False),
        ("*.bank.example", "xbank.example", False),
        ("*.bank.example", ".bank.example", False),
        ("mx.bank.example", "mx2.bank.example", False),
        ("*.example", "bank.example", True),  # the policy's owner says so
        ("*", "bank", False),
    ],
)
def test_mx_patterns(pattern: str, host: str, matches: bool) -> None:
    assert mx_pattern_matches(pattern, host) is matches


@pytest.mark.parametrize(
    ("presented", "wanted", "matches"),
    [
        ("mx.bank.example", "mx.bank.example", True),
        ("MX.BANK.EXAMPLE", "mx.bank.example.", True),
        ("*.bank.example", "mx.bank.example", True),
        ("*.bank.example", "a.b.bank.example", False),
        ("*.bank.example", "bank.example", False),
        ("*.example", "bank.example", False),  # right above a top-level domain
        ("m*.bank.example", "mx.bank.example", False),
        ("mx.*.example", "mx.bank.example", False),
        ("*", "bank", False),
        ("", "mx.bank.example", False),
    ],
)
def test_certificate_names(presented: str, wanted: str, matches: bool) -> None:
    assert name_matches(presented, wanted) is matches


def test_matching_name() -> None:
    shown = [
        ("DNS", "*.bank.example"),
        ("IP Address", "192.0.2.1"),
        ("IP Address", "2001:DB8:0:0:0:0:0:1\n"),
        ("URI", "x"),
    ]
    assert matching_name(shown, ["a.example", "mx.bank.example"]) == "mx.bank.example"
    assert matching_name(shown, ["192.0.2.1"]) == "192.0.2.1"
    assert matching_name(shown, ["2001:db8::1"]) == "2001:db8::1"
    assert matching_name(shown, ["192.0.2.2", "x"]) == ""
    assert matching_name([("DNS", "192.0.2.1")], ["192.0.2.2"]) == ""


@given(st.text(max_size=50), st.text(max_size=50))
def test_names_never_raise(one: str, other: str) -> None:
    matching_name([("DNS", one), ("IP Address", one)], [other])
    mx_pattern_matches(one, other)


@pytest.mark.parametrize(
    ("record", "usable"),
    [
        (RECORD, True),
        (TlsaRecord(2, 0, 2, b"x" * 64), True),
        (TlsaRecord(3, 0, 0, b"anything"), True),
        (TlsaRecord(0, 1, 1, b"x" * 32), False),  # PKIX-TA, PKIX-EE: not for SMTP
        (TlsaRecord(1, 1, 1, b"x" * 32), False),
        (TlsaRecord(3, 2, 1, b"x" * 32), False),
        (TlsaRecord(3, 1, 3, b"x" * 32), False),
        (TlsaRecord(3, 1, 1, b"x" * 31), False),
        (TlsaRecord(3, 1, 0, b""), False),
    ],
)
def test_usable_tlsa(record: TlsaRecord, usable: bool) -> None:
    assert usable_tlsa([record]) == ((record,) if usable else ())
