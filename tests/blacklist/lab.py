"""Blocklists in a laboratory: an Asker without sockets whose lists do what a test says, and rows that use them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from blacklist.control.providers import load_rows
from blacklist.control.runs import Options
from blacklist.models import Provider
from blacklist.probe.pace import Pace
from blacklist.rules.names import canonical_target, prefix_of_address
from blacklist.rules.types import Answer, Kind, Outcome

POSITIVES = {prefix_of_address("127.0.0.2"), prefix_of_address("::FFFF:7F00:2"), "test"}


class Lab:
    """`lists[zone]` is what a list holds: {prefix: codes}; `ways[zone]` how it behaves: '' | 'wild' |
    'parked' | 'empty' | 'public' | 'refused' | 'servfail' | 'silent'. `questions` is every name asked, in order."""

    def __init__(self) -> None:
        self.lists: dict[str, dict[str, tuple[str, ...]]] = {}
        self.ways: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.once: dict[str, list[Answer]] = {}  # complete name -> answers to give before the usual one
        self.limits: dict[str, int] = {}  # zone -> questions until it refuses
        self.questions: list[str] = []
        self.ttl_s = 60

    def put(self, zone: str, target: str, *codes: str, text: str = "") -> None:
        self.lists.setdefault(zone, {})[prefix(target)] = codes or ("127.0.0.2",)
        self.texts[f"{prefix(target)}.{zone}"] = text

    def take(self, zone: str, target: str) -> None:
        self.lists.get(zone, {}).pop(prefix(target), None)

    def asked(self, zone: str) -> list[str]:
        return [name.removesuffix("." + zone) for name in self.questions if name.endswith("." + zone)]

    async def address(self, name: str) -> Answer:
        await asyncio.sleep(0)
        name = name.lower()
        self.questions.append(name)
        if self.once.get(name):
            return self.once[name].pop(0)
        zone = next(
            (zone for zone in sorted(self.lists, key=len, reverse=True) if name.endswith("." + zone)), ""
        )
        if not zone:
            return Answer(Outcome.NXDOMAIN)
        return self._of_list(zone, name.removesuffix("." + zone))

    def _of_list(self, zone: str, name: str) -> Answer:
        if zone in self.limits:
            self.limits[zone] -= 1
            if self.limits[zone] < 0:
                return records("127.255.255.255")
        way = WAYS.get(self.ways.get(zone, ""))
        if way is not None:
            return way
        codes = self.lists[zone].get(name) or (("127.0.0.2", "127.0.1.2") if name in POSITIVES else ())
        return records(*codes, ttl_s=self.ttl_s) if codes else Answer(Outcome.NXDOMAIN)

    async def text(self, name: str) -> str:
        return self.texts.get(name, "")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Lab]:
        yield self

    def options(self, **changes: Any) -> Options:
        """No waiting between the questions, no real clock, no look-ups for pre-checks."""

        async def no_sleep(_: float) -> None:
            await asyncio.sleep(0)

        pace = Pace(clock=lambda: 0.0, sleep=no_sleep, faster=1e9)
        values = {
            "open_asker": self.opened,
            "pace": pace,
            "confirm_after_s": 0.0,
            "wait": _never,
            "resolver": None,
        }
        return Options(**(values | changes))


def _never(_: float) -> None:
    raise AssertionError("this test does not wait")


def records(*addresses: str, ttl_s: int = 60) -> Answer:
    return Answer(Outcome.RECORDS, addresses, ttl_s)


WAYS = {
    "wild": records("127.0.0.2"),
    "parked": records("203.0.113.80"),
    "empty": Answer(Outcome.NXDOMAIN),
    "stripped": Answer(Outcome.NODATA),
    "public": records("127.255.255.254"),
    "refused": Answer(Outcome.REFUSED),
    "servfail": Answer(Outcome.SERVFAIL),
    "silent": Answer(Outcome.TIMEOUT),
}


def prefix(target: str) -> str:
    kind, value = canonical_target(target)
    return value if kind is Kind.DOMAIN else prefix_of_address(value)


def add_list(lab: Lab, slug: str, zone: str = "", **columns: str) -> Provider:
    """A list of the laboratory, loaded as from a file."""
    zone = zone or f"{slug}.lab"
    lab.lists.setdefault(zone, {})
    row = {
        "slug": slug, "name": slug.upper(), "zone": zone, "kind": "ip4+ip6",
        "return_codes": "127.0.0.2=spam;127.0.0.4=exploit;127.0.1.2=spam domain",
        "severity": "major", "status_as_known": "active", "answer_mode": "codes", "removal_method": "form",
        "removal_url_or_email": f"https://{zone}/", "request_policy": "person-fills-form",
    }  # fmt: skip
    return load_rows([row | columns], actor="test")[0]
