"""A list that lists everybody is broken; what all lists together say about the resolver."""

import pytest

from blacklist.rules.judge import CanaryVerdict
from blacklist.rules.types import Status
from blacklist.rules.world import lists_the_world, resolver_findings

NAMES = [f"g{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("asked", "hit", "broken"),
    [
        (10, 6, True),
        (10, 5, False),  # half is not more than half
        (9, 5, True),
        (4, 4, False),  # too few to tell
        (5, 5, True),
        (20, 0, False),
    ],
)
def test_more_than_half_and_at_least_five(asked, hit, broken):
    assert lists_the_world(NAMES[:asked], NAMES[:hit]) is broken


def test_related_targets_count_once():
    assert not lists_the_world(["net1"] * 50 + ["net2"] * 3, ["net1"] * 50)


def canaries(**counts):
    made = []
    for finding, count in counts.items():
        status = Status.NOT_LISTED if finding == "good" else Status.DEAD_LIST
        made += [CanaryVerdict(status, "why", "" if finding in ("good", "other") else finding)] * count
    return made


@pytest.mark.parametrize(
    ("counts", "codes"),
    [
        ({"good": 10}, []),
        ({"good": 9, "stripped": 1}, []),  # one empty list is that list's fault
        ({"good": 2, "stripped": 8}, ["stripped"]),
        ({"silent": 10}, ["silent"]),
        ({"good": 9, "public": 1}, ["public"]),
        ({"stripped": 1}, []),
        ({}, []),
    ],
)
def test_findings(counts, codes):
    found = resolver_findings(canaries(**counts))
    assert [finding.code for finding in found] == codes
    assert all(finding.text for finding in found)
