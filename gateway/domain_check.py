"""Checks a customer's domain against the public DNS: asks what the rules need, in rounds, until they can judge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from gateway.dns import DnsError, DnsFailure, DnsNotFound, Resolver
from gateway.rules.domain_check import CheckResult, Wanted, judge
from gateway.rules.spf import Looked, Needed

MAX_QUESTIONS = 120  # SPF alone may need 10 look-ups with 10 hosts each; more is somebody's trap


class Gatherer:
    """Facts for one check."""

    def __init__(self, resolver: Resolver, server: str = "") -> None:
        self.resolver = resolver
        self.server = server or ", ".join(str(one) for one in resolver.nameservers)
        self.facts: dict[tuple[str, str], Looked] = {}

    async def judge(self, want: Wanted, before: Mapping[str, Any], *, now: datetime) -> CheckResult:
        """Ask what `judge` misses until it has all it needs; what was not worth asking counts as failed."""
        await self.ask(first_questions(want))
        want = self._with_addresses(want)
        while True:
            try:
                return judge(self.facts, want, before, now=now, resolver=self.server)
            except Needed as needed:
                await self.ask([needed.question])

    def _with_addresses(self, want: Wanted) -> Wanted:
        """Ours are what the SPF host says; the wanted ones are for when it cannot be asked."""
        found = self.facts[want.spf_host, "A"].values + self.facts[want.spf_host, "AAAA"].values
        return replace(want, addresses=found) if found else want

    async def ask(self, questions: Iterable[tuple[str, str]]) -> None:
        fresh = [question for question in questions if question not in self.facts]
        if len(self.facts) + len(fresh) > MAX_QUESTIONS:
            self.facts.update({question: Looked(error="too_many") for question in fresh})
            return
        answers = await asyncio.gather(*(self._look(name, rdtype) for name, rdtype in fresh))
        self.facts.update(zip(fresh, answers, strict=True))

    async def _look(self, name: str, rdtype: str) -> Looked:
        try:
            return await _LOOK[rdtype](self.resolver, name)
        except DnsNotFound:
            return Looked(error="nxdomain")
        except DnsFailure as failure:
            return Looked(error=failure.kind)
        except DnsError as error:
            return Looked(error=str(error)[:100])


def first_questions(want: Wanted) -> list[tuple[str, str]]:
    """What every check needs, so that it is asked at once instead of one by one."""
    name = want.domain
    keys = [(f"{key.selector}._domainkey.{name}", "TXT") for key in want.keys]
    ours = [(want.spf_host, "A"), (want.spf_host, "AAAA")]
    return [
        (f"_smg-challenge.{name}", "TXT"),
        (name, "TXT"),
        (name, "MX"),
        (f"_dmarc.{name}", "TXT"),
        *ours,
        *keys,
    ]


async def _txt(resolver: Resolver, name: str) -> Looked:
    answer = await resolver.txt(name)
    return Looked(answer.texts, ttl_s=int(answer.ttl_s))


async def _a(resolver: Resolver, name: str) -> Looked:
    answer = await resolver.a(name)
    return Looked(answer.addresses, ttl_s=int(answer.ttl_s))


async def _aaaa(resolver: Resolver, name: str) -> Looked:
    answer = await resolver.aaaa(name)
    return Looked(answer.addresses, ttl_s=int(answer.ttl_s))


async def _mx(resolver: Resolver, name: str) -> Looked:
    answer = await resolver.mx(name)
    return Looked(tuple(f"{row.preference} {row.host}." for row in answer.records), ttl_s=int(answer.ttl_s))


_LOOK = {"TXT": _txt, "A": _a, "AAAA": _aaaa, "MX": _mx}
