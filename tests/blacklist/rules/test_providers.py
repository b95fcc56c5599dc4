"""What the cells of the fact files mean."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blacklist.control.facts import dead_zones, shipped_providers
from blacklist.rules.dead import is_dead_zone
from blacklist.rules.judge import judge
from blacklist.rules.providers import parse_codes, polite_rate, test_names
from blacklist.rules.types import Answer, Kind, Outcome, Reading, Status
from tests.blacklist.rules.lists import plain, spec

test_names.__test__ = False  # a function of the product, not a test


def codes(cell, **kwargs):
    shown = []
    for code in parse_codes(cell, **kwargs):
        low, high = str(ipaddress.IPv4Address(code.low)), str(ipaddress.IPv4Address(code.high))
        shown.append(
            (
                f"bit {code.bit}" if code.bit else low if low == high else f"{low}-{high}",
                code.reading.value,
                code.label,
            )
        )
    return shown


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("", []),
        ("unconfirmed", []),
        ("none documented; unregistered resolvers may get no answer (unconfirmed)", []),
        ("127.0.0.2=listed", [("127.0.0.2", "listing", "listed")]),
        ("127.0.0.2=listed (unconfirmed)", [("127.0.0.2", "listing", "listed")]),
        ("127.0.0.2 = SBL; 127.0.0.10 = PBL entry kept by the ISP", [("127.0.0.2", "listing", "SBL"),
        ("127.0.0.10", "policy", "PBL entry kept by the ISP")]),
        ("127.0.0.1=WELCOME: trusted, not a listing", [("127.0.0.1", "neutral", "WELCOME: trusted, not a listing")]),
        ("127.0.0.2-127.0.0.9=spam", [("127.0.0.2-127.0.0.9", "listing", "spam")]),
        ("127.0.0.3=drone;127.0.0.13=brute force (unsure about 5, 6; treat every 127.0.0.2-127.0.0.255 as listed)",
         [("127.0.0.3", "listing", "drone"), ("127.0.0.13", "listing", "brute force"),
         ("127.0.0.2-127.0.0.255", "listing", "listed")]),
        ("127.0.1.1=listed (unconfirmed; any 127.0.1.x)", [("127.0.1.1", "listing", "listed"),
        ("127.0.1.1-127.0.1.254", "listing", "listed")]),
        ("4=DM disposable mail;8=PH phishing", [("bit 4", "listing", "DM disposable mail"), ("bit 8",
        "listing", "PH phishing")]),
        ("127.0.0.999=typo", []),
        ("3=not a single bit", []),
        ("SERVFAIL=key not valid", []),
    ],
)  # fmt: skip
def test_code_cells(cell, expected):
    assert codes(cell) == expected


def test_in_score_mode_only_bad_words_list():
    cell = "127.0.0.10=worst;127.0.0.13=suspicious;127.0.0.14=neutral, probably spam;127.0.0.18=good"
    assert [code.reading for code in parse_codes(cell, is_score=True)] == [
        Reading.LISTING,
        *[Reading.NEUTRAL] * 3,
    ]


@given(st.text(max_size=200))
def test_no_cell_breaks_the_parser_or_lists_what_it_does_not_name(cell):
    for code in parse_codes(cell):
        assert code.bit or code.low <= code.high


@pytest.mark.parametrize(
    ("slug", "kind", "positive", "negative"),
    [
        ("spamhaus-zen", Kind.IP4, ["2.0.0.127.zen.spamhaus.org"], "1.0.0.127.zen.spamhaus.org"),
        ("spamhaus-dbl", Kind.DOMAIN, ["TEST.dbl.spamhaus.org", "dbltest.com.dbl.spamhaus.org"],
        "INVALID.dbl.spamhaus.org"),
        ("sem-uri", Kind.DOMAIN, ["_DNSBL_.test.uribl.spameatingmonkey.net"],
        "_DNSBLNEG_.test.uribl.spameatingmonkey.net"),
        ("uribl-multi", Kind.DOMAIN, ["2.0.0.127.multi.uribl.com", "TEST.multi.uribl.com"], "INVALID.multi.uribl.com"),
        ("hostkarma", Kind.IP4, ["2.0.0.127.hostkarma.junkemailfilter.com"], "1.0.0.127.hostkarma.junkemailfilter.com"),
        ("kempt", Kind.IP4, ["2.0.0.127.dnsbl.kempt.net"], "1.0.0.127.dnsbl.kempt.net"),  # unconfirmed: RFC 5782's
    ],
)  # fmt: skip
def test_test_entries(slug, kind, positive, negative):
    positives, negatives = test_names(spec(slug), kind)
    assert (list(positives), negatives) == (positive, (negative,))


def test_ipv6_test_entries_are_nibbles():
    for slug in ("spamhaus-zen", "sem-ipv6", "nordspam-ip"):
        (positive,), (negative,) = test_names(spec(slug), Kind.IP6)
        assert positive.startswith("2.0.0.0.0.0.f.7.f.f.f.f.0.")
        assert negative.startswith("1.0.0.0.0.0.f.7.f.f.f.f.0.")


def test_entries_may_be_written_as_addresses():
    (positive,), (negative,) = test_names(
        plain(test_positive="127.0.0.2", test_negative="127.0.0.1"), Kind.IP4
    )
    assert (positive, negative) == ("2.0.0.127.bl.example", "1.0.0.127.bl.example")


def test_the_key_goes_into_the_zone_and_nowhere_else():
    assert spec("spamhaus-zen-dqs", "SECRET").zone == "secret.zen.dq.spamhaus.net"


def test_every_shipped_list_can_be_built():
    for row in shipped_providers():
        assert spec(row["slug"]).slug == row["slug"]


def test_every_documented_code_of_a_shipped_list_is_understood():
    """No list that is asked has only unknown codes: it could never list anything."""
    for row in shipped_providers():
        if row["status_as_known"] == "active" and row["zone"]:
            assert any(
                code.reading in (Reading.LISTING, Reading.POLICY) for code in spec(row["slug"]).codes
            ), row["slug"]


def test_127_0_0_1_is_a_listing_only_where_the_facts_say_so():
    listing = {
        row["slug"]
        for row in shipped_providers()
        if judge(spec(row["slug"]), Answer(Outcome.RECORDS, ("127.0.0.1",))).status is Status.LISTED
    }
    assert listing == {"validity-rpbl", "0spam-bl"}


@pytest.mark.parametrize(
    ("zone", "dead"),
    [
        ("dnsbl.sorbs.net", True), ("spam.dnsbl.sorbs.net", True), ("dul.sorbs.net", True), ("DNSBL.SORBS.NET.", True),
        ("ix.dnsbl.manitu.net", True), ("db.wpbl.info", True), ("virus.rbl.msrbl.net", True), ("cbl.abuseat.org", True),
        ("xbl.spamhaus.org", True), ("zen.spamhaus.org", False), ("bl.spamcop.net", False), ("notsorbs.net", False),
    ],
)  # fmt: skip
def test_dead_zones(zone, dead):
    assert bool(is_dead_zone(zone, dead_zones())) is dead


def test_rates_are_polite():
    assert polite_rate("sem-black", "x") == 4
    assert polite_rate("spfbl", "x") == 8
    assert polite_rate("spamhaus-zen-dqs", "{key}.x") == 50
    assert polite_rate("psbl", "x") == 5
