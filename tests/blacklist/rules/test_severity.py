"""Severity: list x code x role."""

import pytest

from blacklist.rules.judge import judge
from blacklist.rules.severity import severity_of
from blacklist.rules.types import Answer, Outcome, Role
from tests.blacklist.rules.lists import plain, spec

G, C, D = Role.GATEWAY, Role.CUSTOMER_IP, Role.DOMAIN


def severity(one, address, role):
    return severity_of(one, judge(one, Answer(Outcome.RECORDS, tuple(address.split()))).matches, role).value


@pytest.mark.parametrize(
    ("slug", "address", "role", "expected"),
    [
        ("spamhaus-zen", "127.0.0.2", G, "critical"),
        ("spamhaus-zen", "127.0.0.2", C, "critical"),
        ("spamhaus-zen", "127.0.0.4", G, "critical"),
        ("spamhaus-zen", "127.0.0.4", C, "major"),  # a computer in the customer's network is infected
        ("spamhaus-zen", "127.0.0.11", G, "critical"),
        ("spamhaus-zen", "127.0.0.11", C, "informational"),  # normal for an address that relays through us
        ("spamhaus-zen", "127.0.0.11 127.0.0.4", C, "major"),  # the worst counts
        ("spamhaus-dbl", "127.0.1.2", D, "critical"),
        ("uceprotect-3", "127.0.0.2", G, "informational"),
        ("uceprotect-2", "127.0.0.2", C, "informational"),
        ("uceprotect-1", "127.0.0.2", G, "minor"),
        ("mailspike-bl", "127.0.0.2", G, "major"),
        ("mailspike-bl", "127.0.0.2", C, "minor"),
        ("spamrats-all", "127.0.0.36", G, "major"),
        ("spamrats-all", "127.0.0.36", C, "informational"),
        ("surbl-multi", "127.0.0.4", D, "informational"),
        ("surbl-multi", "127.0.0.12", D, "critical"),
        ("uribl-multi", "127.0.0.2", D, "major"),
        ("uribl-multi", "127.0.0.4", D, "minor"),
        ("uribl-multi", "127.0.0.8", D, "informational"),
        ("hostkarma", "127.0.0.4", G, "informational"),
        ("barracuda-brbl", "127.0.0.2", C, "major"),
        ("spamhaus-authbl-dqs", "127.0.0.20", C, "major"),
    ],
)
def test_shipped_lists(slug, address, role, expected):
    assert severity(spec(slug), address, role) == expected


def test_a_list_without_a_code_table_is_read_by_its_words():
    lab = plain(severity="critical", return_codes="127.0.0.2=spam;127.0.0.4=XBL;127.0.0.11=PBL range")
    assert [severity(lab, f"127.0.0.{code}", C) for code in (2, 4, 11)] == [
        "critical",
        "major",
        "informational",
    ]
    assert [severity(lab, f"127.0.0.{code}", G) for code in (2, 4, 11)] == ["critical"] * 3


def test_lists_of_whole_providers_wake_nobody_whatever_they_claim():
    assert (
        severity(plain(severity="critical", removal_method="contact-isp"), "127.0.0.2", G) == "informational"
    )
