"""What many answers say together: about a list that lists everybody, and about our own resolver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from blacklist.rules.judge import CanaryVerdict

WORLD_SHARE = 0.5
WORLD_LEAST = 5  # unrelated groups


def lists_the_world(asked: Iterable[str], newly_listed: Iterable[str]) -> bool:
    """Whether a list is broken: more than half, and at least five, of the unrelated groups became listed in one run.

    Both arguments are groups (rules.names.unrelated_group), one entry per target; related targets count once.
    """
    groups, hit = set(asked), set(newly_listed)
    return len(hit) >= WORLD_LEAST and len(hit) > WORLD_SHARE * len(groups | hit)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with the way to the lists. `code`: stripped | public | silent."""

    code: str
    text: str


TEXTS = {
    "stripped": "The resolver removes answers from 127.0.0.0/8 (rebinding protection), or the lists are empty: the "
    "positive test entries of {count} lists were missing. Use an own resolver without private-address 127.0.0.0/8.",
    "public": "{count} lists take the resolver for a public one and refuse it. Use an own resolver without "
    "forwarding, on an address with proper reverse DNS.",
    "silent": "The resolver did not answer at all for {count} lists. Is it running, and is its address right?",
}


def resolver_findings(canaries: Iterable[CanaryVerdict]) -> tuple[Finding, ...]:
    """What the test entries of all lists together say about the resolver.

    One list that is empty or silent is that list's fault; most of them at once are ours. One that
    calls us public is enough.
    """
    verdicts = list(canaries)
    counts = Counter(verdict.finding for verdict in verdicts if verdict.finding)
    limits = {"public": 1, "stripped": max(2, len(verdicts) / 2), "silent": max(2, len(verdicts) / 2)}
    found = [code for code, limit in limits.items() if counts[code] >= limit]
    return tuple(Finding(code, TEXTS[code].format(count=counts[code])) for code in found)
