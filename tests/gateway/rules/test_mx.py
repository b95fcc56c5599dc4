"""Where mail may go: tables over MX records and addresses."""

from __future__ import annotations

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.mx import (
    MAX_HOSTS,
    MxRecord,
    before_own,
    forbidden,
    is_null_mx,
    ordered_hosts,
    sender_domain_verdict,
)

OWN = frozenset({"203.0.113.5", "2001:db8:1::5"})


def mx(*pairs: tuple[int, str]) -> list[MxRecord]:
    return [MxRecord(preference, host) for preference, host in pairs]


@pytest.mark.parametrize(
    ("records", "null"),
    [
        (mx((0, "")), True),
        (mx((10, "")), True),
        (mx((0, ""), (10, "mx.example")), False),
        (mx((0, "mx.example")), False),
        ([], False),
    ],
)
def test_null_mx(records: list[MxRecord], null: bool) -> None:
    assert is_null_mx(records) is null


def test_preference_decides_and_chance_breaks_ties() -> None:
    records = mx((20, "c"), (10, "a"), (10, "b"), (30, ""))
    orders = {ordered_hosts(records, random.Random(seed)) for seed in range(50)}
    assert orders == {("a", "b", "c"), ("b", "a", "c")}


def test_a_host_named_twice_is_tried_once() -> None:
    assert ordered_hosts(mx((10, "a"), (20, "b"), (30, "a")), random.Random(1)) == ("a", "b")


def test_a_hundred_hosts_are_cut() -> None:
    assert len(ordered_hosts(mx(*((n, f"h{n}") for n in range(100))), random.Random(1))) == MAX_HOSTS


@pytest.mark.parametrize(
    ("records", "left"),
    [
        (mx((10, "a"), (20, "us"), (30, "b")), ["a"]),
        (mx((10, "a"), (20, "us"), (20, "b")), ["a"]),  # as preferred as we are: also a loop
        (mx((10, "us"), (20, "b")), []),
        (mx((10, "a"), (20, "b")), ["a", "b"]),
    ],
)
def test_hosts_behind_ourselves_are_not_used(records: list[MxRecord], left: list[str]) -> None:
    assert [record.host for record in before_own(records, {"us"})] == left


@pytest.mark.parametrize(
    ("ip", "reason"),
    [
        ("198.51.45.1", None),
        ("8.8.8.8", None),
        ("2a00:1450::1", None),
        ("64:ff9b::808:808", None),  # NAT64 of a public address
        ("203.0.113.5", "own"),
        ("2001:db8:1::5", "own"),
        ("2001:0db8:0001::0005", "own"),
        ("::ffff:203.0.113.5", "own"),
        ("127.0.0.1", "loopback"),
        ("127.8.9.10", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("192.0.2.1", "private"),  # documentation
        ("198.18.0.1", "private"),
        ("240.0.0.1", "private"),
        ("255.255.255.255", "private"),
        ("fd00::1", "private"),
        ("fe80::1", "link_local"),
        ("fe80::1%eth0", "link_local"),
        ("169.254.169.254", "link_local"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "link_local"),
        ("::ffff:8.8.8.8", "mapped"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b::a01:203", "private"),
        ("64:ff9b:1::808:808", "private"),
        ("2002:7f00:1::", "loopback"),
        ("2002:808:808::", "mapped"),
        ("::127.0.0.1", "loopback"),
        ("localhost", "invalid"),
        ("127.1", "invalid"),
        ("", "invalid"),
    ],
)
def test_addresses(ip: str, reason: str | None) -> None:
    assert forbidden(ip, OWN) == reason


def test_the_operator_may_allow_private_networks_but_never_ourselves() -> None:
    laboratory = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.0/8")]
    assert forbidden("127.0.0.9", {"127.0.0.1"}, laboratory) is None
    assert forbidden("10.4.4.4", OWN, laboratory) is None
    assert forbidden("192.168.1.1", OWN, laboratory) == "private"
    assert forbidden("127.0.0.1", {"127.0.0.1"}, laboratory) == "own"


@given(st.ip_addresses())
def test_only_global_addresses_pass(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if forbidden(str(address), OWN) is None:
        assert address.is_global
        assert not address.is_multicast


@given(st.text())
def test_any_text_gets_a_verdict(text: str) -> None:
    assert forbidden(text, OWN) is None or isinstance(forbidden(text, OWN), str)


@pytest.mark.parametrize(
    ("records", "addresses", "resolves"),
    [
        (None, None, False),
        (mx((10, "a")), None, True),
        (mx((0, "")), ("192.0.2.1",), False),  # null MX beats an address
        ([], ("192.0.2.1",), True),
        ([], (), False),
        ([], None, False),
    ],
)
def test_sender_domain(
    records: list[MxRecord] | None, addresses: tuple[str, ...] | None, resolves: bool
) -> None:
    assert sender_domain_verdict(records, addresses) is resolves
