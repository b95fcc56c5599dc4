"""The decision table, row by row, and what the test entries prove."""

import pytest

from blacklist.rules.judge import canary, judge
from blacklist.rules.types import Answer, Outcome, Status
from tests.blacklist.rules.lists import plain, spec


def answer(*addresses: str) -> Answer:
    return Answer(Outcome.RECORDS, addresses, 60)


NX, NODATA, SILENT = Answer(Outcome.NXDOMAIN), Answer(Outcome.NODATA), Answer(Outcome.TIMEOUT)
LISTED, CLEAN, ERROR = Status.LISTED, Status.NOT_LISTED, Status.PROVIDER_ERROR

TABLE = [
    # list, answer, status, codes that count, does it stop asking
    ("spamhaus-zen", NX, CLEAN, (), False),
    ("spamhaus-zen", NODATA, CLEAN, (), False),
    ("spamhaus-zen", answer("127.0.0.2"), LISTED, ("127.0.0.2",), False),
    ("spamhaus-zen", answer("127.0.0.10", "127.0.0.4"), LISTED, ("127.0.0.4", "127.0.0.10"), False),
    ("spamhaus-zen", answer("127.255.255.252"), ERROR, (), True),
    ("spamhaus-zen", answer("127.255.255.254"), ERROR, (), True),
    ("spamhaus-zen", answer("127.255.255.255"), ERROR, (), True),
    ("spamhaus-zen", answer("127.255.255.1"), ERROR, (), True),  # the whole /24, documented or not
    (
        "spamhaus-zen",
        answer("127.0.0.2", "127.255.255.254"),
        ERROR,
        (),
        True,
    ),  # an error in the set spoils it
    ("spamhaus-zen", answer("127.0.0.77"), ERROR, (), False),  # undocumented: unknown
    ("spamhaus-zen", answer("127.0.0.2", "127.0.0.77"), LISTED, ("127.0.0.2",), False),
    ("spamhaus-zen", answer("203.0.113.80"), ERROR, (), False),  # parked
    ("spamhaus-zen", answer("127.0.0.2", "203.0.113.80"), ERROR, (), False),
    ("spamhaus-zen", answer("127.0.0.1"), ERROR, (), False),
    ("spamhaus-zen", SILENT, Status.TIMEOUT, (), False),
    ("spamhaus-zen", Answer(Outcome.SERVFAIL), ERROR, (), False),
    ("spamhaus-zen", Answer(Outcome.REFUSED), ERROR, (), True),
    ("spamhaus-zen", Answer(Outcome.MALFORMED), ERROR, (), False),
    ("spamhaus-zen", Answer(Outcome.OTHER_RCODE), ERROR, (), False),
    ("spamhaus-zen-dqs", Answer(Outcome.SERVFAIL), ERROR, (), True),  # documented: the key is not valid
    ("spfbl", Answer(Outcome.OTHER_RCODE), ERROR, (), True),  # documented: FORMERR
    ("spamhaus-dbl", answer("127.0.1.2"), LISTED, ("127.0.1.2",), False),
    ("spamhaus-dbl", answer("127.0.1.255"), ERROR, (), True),  # our bug
    ("hostkarma", answer("127.0.0.1"), CLEAN, (), False),
    ("hostkarma", answer("127.0.0.2"), LISTED, ("127.0.0.2",), False),
    ("hostkarma", answer("127.0.0.3"), CLEAN, (), False),
    ("hostkarma", answer("127.0.0.5"), CLEAN, (), False),
    ("hostkarma", answer("127.0.1.1", "127.0.2.3"), CLEAN, (), False),
    ("hostkarma", answer("127.0.0.2", "127.0.1.1"), LISTED, ("127.0.0.2",), False),
    ("mailspike-rep", answer("127.0.0.13"), CLEAN, (), False),
    ("mailspike-rep", answer("127.0.0.20"), CLEAN, (), False),
    ("mailspike-rep", answer("127.0.0.10"), LISTED, ("127.0.0.10",), False),
    ("mailspike-bl", answer("127.0.0.13"), CLEAN, (), False),
    ("mailspike-bl", answer("127.0.0.2"), LISTED, ("127.0.0.2",), False),
    ("validity-rpbl", answer("127.0.0.1"), LISTED, ("127.0.0.1",), False),  # a listing here and nowhere else
    ("validity-rpbl", answer("127.255.255.255"), ERROR, (), True),
    ("surbl-multi", answer("127.0.0.8"), LISTED, ("127.0.0.8",), False),
    ("surbl-multi", answer("127.0.0.72"), LISTED, ("127.0.0.72",), False),  # PH and ABUSE
    ("surbl-multi", answer("127.0.0.1"), ERROR, (), True),
    ("surbl-multi", answer("127.0.0.9"), ERROR, (), True),  # bit 1 beside a listing bit
    ("surbl-multi", answer("127.0.0.2"), ERROR, (), False),  # a bit nobody documents
    ("surbl-multi", answer("127.0.1.8"), ERROR, (), False),
    ("uribl-multi", answer("127.0.0.255"), ERROR, (), True),  # all bits: before decoding
    ("uribl-multi", answer("127.0.0.1"), ERROR, (), True),
    ("uribl-multi", answer("127.0.0.2"), LISTED, ("127.0.0.2",), False),
    ("uribl-multi", answer("127.0.0.16"), CLEAN, (), False),  # a test entry is nobody's listing
    (
        "dronebl",
        answer("127.0.0.6"),
        LISTED,
        ("127.0.0.6",),
        False,
    ),  # 'treat every 127.0.0.2-127.0.0.255 as listed'
    ("blocklist-de", answer("127.0.0.19"), LISTED, ("127.0.0.19",), False),  # 'other 127.0.0.x values ...'
    ("abusix-dblack", answer("127.0.1.77"), LISTED, ("127.0.1.77",), False),
    ("spamhaus-zrd-dqs", answer("127.0.2.12"), LISTED, ("127.0.2.12",), False),  # 'values between ...'
]


@pytest.mark.parametrize(("slug", "given", "status", "codes", "stops"), TABLE)
def test_the_decision_table(slug, given, status, codes, stops):
    verdict = judge(spec(slug), given)
    assert (verdict.status, verdict.codes, verdict.stops) == (status, codes, stops)
    assert verdict.status.is_known or verdict.why  # no unknown without its reason in words


def test_bits_are_named():
    assert judge(spec("surbl-multi"), answer("127.0.0.72")).labels == ("PH", "ABUSE")


def test_an_undocumented_number_of_an_open_list_is_shown():
    assert judge(spec("dronebl"), answer("127.0.0.6")).labels == ("listed (127.0.0.6)",)
    assert judge(spec("dronebl"), answer("127.0.0.8")).labels == ("SOCKS proxy",)


CANARIES = [
    # positive, negative, what the list is worth in this run
    (answer("127.0.0.2"), NX, CLEAN),
    (answer("127.0.0.2", "127.0.0.4", "127.0.0.10"), NX, CLEAN),
    (answer("127.0.0.77"), NX, CLEAN),  # content and passage are proven, whatever the number means
    (answer("127.0.0.2"), answer("127.0.0.2"), Status.DEAD_LIST),  # lists the world
    (answer("127.0.0.2"), answer("127.0.0.77"), Status.DEAD_LIST),  # answers everybody
    (answer("203.0.113.80"), answer("203.0.113.80"), Status.DEAD_LIST),  # parked
    (answer("203.0.113.80"), NX, Status.DEAD_LIST),
    (NX, NX, Status.DEAD_LIST),  # empty, or a resolver that strips 127/8
    (NODATA, NX, Status.DEAD_LIST),
    (NODATA, NODATA, Status.DEAD_LIST),
    (answer("127.255.255.254"), answer("127.255.255.254"), ERROR),  # this resolver is not allowed
    (answer("127.255.255.254"), NX, ERROR),
    (NX, answer("127.255.255.254"), ERROR),
    (Answer(Outcome.SERVFAIL), Answer(Outcome.SERVFAIL), ERROR),
    (Answer(Outcome.REFUSED), Answer(Outcome.REFUSED), ERROR),
    (SILENT, SILENT, Status.TIMEOUT),
    (answer("127.0.0.2"), SILENT, Status.TIMEOUT),
    (SILENT, NX, Status.TIMEOUT),
]


@pytest.mark.parametrize(("positive", "negative", "status"), CANARIES)
def test_what_the_test_entries_prove(positive, negative, status):
    verdict = canary(spec("spamhaus-zen"), positive, negative)
    assert verdict.status is status
    assert verdict.passed is (status is CLEAN)
    assert verdict.passed or verdict.why


def test_hostkarma_answers_its_negative_entry_by_design():
    assert canary(spec("hostkarma"), answer("127.0.0.2"), answer("127.0.0.1")).passed
    assert not canary(spec("hostkarma"), answer("127.0.0.2"), answer("127.0.0.2")).passed


def test_blocked_bitmask_lists_are_refusals_not_deaths():
    """SURBL and URIBL answer 127.0.0.1 for every name when they refuse."""
    for slug in ("surbl-multi", "uribl-multi"):
        assert canary(spec(slug), answer("127.0.0.1"), answer("127.0.0.1")).status is ERROR


def test_the_canary_says_what_is_wrong_with_the_resolver():
    zen = spec("spamhaus-zen")
    assert canary(zen, NODATA, NX).finding == "stripped"
    assert canary(zen, answer("127.255.255.254"), NX).finding == "public"
    assert canary(zen, SILENT, SILENT).finding == "silent"


def test_a_list_without_documented_codes_never_lists():
    assert judge(plain(return_codes="unconfirmed"), answer("127.0.0.2")).status is ERROR
