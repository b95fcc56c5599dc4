"""The blocklists of the demo: a zone in memory with a few listings that tell a story. No question leaves the machine.

In force with SMG_DEMO=on as long as the operator has named no name server. Every list has its test entries right, so
the check works on it exactly as on the real ones; two are in trouble, because a demo without "could not be checked"
would promise too much. STORY counts in days before the demo was made: `manage.py demo_setup` lives through them, and
what is still listed then (day 0) stays so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings

from blacklist.control.facts import shipped_providers
from blacklist.probe.asker import Asker
from blacklist.probe.check import OpenAsker
from blacklist.probe.pace import Pace
from blacklist.rules.names import canonical_target, query_name
from blacklist.rules.providers import Cells, build_spec, test_names
from blacklist.rules.types import Answer, Outcome

PACE = Pace(faster=1000.0)  # there is no operator to be polite to
TTL_S = 300
TEST_ENTRY = ("127.0.0.2",)
ZEN_TEST = ("127.0.0.2", "127.0.0.4", "127.0.0.10")

MTA01, MTA02, MTA03 = "192.0.2.1", "192.0.2.2", "192.0.2.3"
ACME_SERVER, ACME_OFFICE, ACME_SIX, GLOBEX_SERVER = (
    "192.0.2.10",
    "198.51.100.25",
    "2001:db8:10::25",
    "203.0.113.40",
)
NEWS = "acme-news.example"


@dataclass(frozen=True, slots=True)
class Entry:
    """A target on a list, seen first `since` days ago and last before `until` days ago (None: it is still there)."""

    slug: str
    target: str
    codes: tuple[str, ...]
    text: str  # what its TXT record says
    since: int
    until: int | None = None

    def is_there(self, days_ago: int) -> bool:
        return days_ago <= self.since and (self.until is None or days_ago > self.until)


STORY = (
    Entry("barracuda-brbl", MTA01, TEST_ENTRY, "Reputation: poor, see our removal page for 192.0.2.1", 8, 7),
    Entry("mailspike-bl", MTA02, ("127.0.0.10",), "Worst reputation, mail from here is mostly unwanted", 1),
    Entry("spamcop", MTA03, TEST_ENTRY, "Blocked, see the lookup page for 192.0.2.3", 2),
    Entry("nordspam-ip", MTA03, TEST_ENTRY, "Listed for spam to Nordic traps", 6),
    Entry("uceprotect-1", MTA03, TEST_ENTRY, "IP 192.0.2.3 is listed at Level 1", 5),
    Entry("sem-black", MTA03, TEST_ENTRY, "Spam seen from 192.0.2.3", 1),
    Entry("spamrats-all", MTA03, ("127.0.0.36",), "Reverse name looks like a dial-up line's", 0),
    Entry("uceprotect-3", MTA01, TEST_ENTRY, "Your provider is listed at Level 3", 9),
    Entry("uceprotect-3", MTA02, TEST_ENTRY, "Your provider is listed at Level 3", 9),
    Entry("uceprotect-3", MTA03, TEST_ENTRY, "Your provider is listed at Level 3", 9),
    Entry("spamhaus-zen", ACME_OFFICE, ("127.0.0.4",), "A computer behind 198.51.100.25 behaves like a bot", 2),
    Entry("blocklist-de", ACME_OFFICE, ("127.0.0.14",), "Infected system, service: ssh", 9, 8),
    Entry("blocklist-de", ACME_OFFICE, ("127.0.0.14",), "Infected system, service: ssh", 1),
    Entry("surbl-multi", NEWS, ("127.0.0.64",), "Seen in unsolicited mailings", 2, 0),
    Entry("nordspam-domain", NEWS, TEST_ENTRY, "Domain seen in unsolicited mailings", 3),
    Entry("psbl", GLOBEX_SERVER, TEST_ENTRY, "Listed: bounces to spamtraps, 203.0.113.40", 2),
)  # fmt: skip
# What is wrong with a list, and since how many days: nobody is told "clean" by it.
TROUBLE = {
    "uribl-multi": (Answer(Outcome.RECORDS, ("127.0.0.1",), TTL_S), 1),  # "query refused"
    "swinog-dnsrbl": (Answer(Outcome.TIMEOUT), 3),  # at once: a demo must not wait for silence
}


def is_on() -> bool:
    """Whether the lists are asked in memory: in the demo, unless the operator has named a resolver."""
    return settings.SMG.demo and not settings.SMG.dnsbl_nameservers


def demo_lists(days_ago: int = 0) -> OpenAsker:
    """What the lists answered so many days before the demo was made."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Asker]:
        yield DemoLists(days_ago)

    return opened


class DemoLists:
    """An Asker that knows its answers."""

    def __init__(self, days_ago: int = 0) -> None:
        self._days_ago = days_ago

    async def address(self, name: str) -> Answer:
        name = name.lower()
        slug = _slug_of(name)
        answer, since = TROUBLE.get(slug, (None, -1))
        if answer is not None and self._days_ago <= since:
            return answer
        codes = _test_codes(slug, name)
        entry = self._entry(name)
        if entry is not None:
            codes = entry.codes
        return Answer(Outcome.RECORDS, codes, TTL_S) if codes else Answer(Outcome.NXDOMAIN)

    async def text(self, name: str) -> str:
        entry = self._entry(name.lower())
        return entry.text if entry is not None else ""

    def _entry(self, name: str) -> Entry | None:
        return next((one for one in _entries().get(name, ()) if one.is_there(self._days_ago)), None)


@lru_cache(maxsize=1)
def zones() -> dict[str, str]:
    """Zone -> slug of every list that the project ships as alive."""
    rows = (row for row in shipped_providers() if row["zone"] and row["status_as_known"] != "dead")
    return {row["zone"].replace("{key}.", "").lower(): row["slug"] for row in rows}


def _slug_of(name: str) -> str:
    """'10.2.0.192.zen.spamhaus.org' -> 'spamhaus-zen'; '' for a list that somebody added."""
    while name:
        if name in zones():
            return zones()[name]
        name = name.partition(".")[2]
    return ""


def _test_codes(slug: str, name: str) -> tuple[str, ...]:
    """Test entries as the facts name them; a list that the facts do not know has those of RFC 5782."""
    if name not in _test_entries() and not (slug == "" and name.startswith(RFC_5782)):
        return ()
    return ZEN_TEST if slug == "spamhaus-zen" else TEST_ENTRY


RFC_5782 = ("2.0.0.127.", "2.0.0.0.0.0.f.7.f.f.f.f.", "test.")


@lru_cache(maxsize=1)
def _test_entries() -> frozenset[str]:
    found: set[str] = set()
    for row in shipped_providers():
        if row["zone"] and row["status_as_known"] != "dead":
            cells: dict[str, Any] = {name: row.get(name, "") for name in COLUMNS}
            spec = build_spec(Cells(**cells))
            found.update(name.lower() for kind in spec.kinds for name in test_names(spec, kind)[0])
    return frozenset(found)


COLUMNS = (
    "slug", "name", "zone", "kind", "return_codes", "error_codes", "severity", "answer_mode", "removal_method",
    "test_positive", "test_negative",
)  # fmt: skip


@lru_cache(maxsize=1)
def _entries() -> dict[str, tuple[Entry, ...]]:
    """Complete name -> the times it was listed."""
    zone_of = {slug: zone for zone, slug in zones().items()}
    found: dict[str, tuple[Entry, ...]] = {}
    for entry in STORY:
        kind, value = canonical_target(entry.target)
        name = query_name(kind, value, zone_of[entry.slug])
        found[name] = (*found.get(name, ()), entry)
    return found
