"""Checks a customer's domain against the public DNS: asks what the rules need, in rounds, until they can judge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gateway.config import Endpoint
from gateway.dns import DnsError, DnsFailure, DnsNotFound, Resolver
from gateway.rules.domain_check import CheckResult, Wanted, judge, needs_authority, with_authority
from gateway.rules.mx import IPNetwork, forbidden
from gateway.rules.spf import Looked, Needed

Networks = Sequence[IPNetwork]
AUTHORITY_PORT = 53
MAX_SERVERS = 3  # of the domain's own; they should agree
MAX_QUESTIONS = 120  # SPF alone may need 10 look-ups with 10 hosts each; more is somebody's trap


async def check(
    resolver: Resolver,
    want: Wanted,
    before: Mapping[str, Any],
    *,
    now: datetime,
    server: str,
    open_to: Networks,
) -> CheckResult:
    """What the resolver shows; where that is not as wanted, what the domain's own name servers say beside it.
    `open_to`: private networks that may be asked all the same (laboratories)."""
    gatherer = Gatherer(resolver, server)
    result = await gatherer.judge(want, before, now=now)
    if not needs_authority(result):
        return result
    authority = await find_authority(resolver, want.domain, open_to)
    if authority is None:
        return result
    told = await Gatherer(resolver, authority.names, authority).judge(want, {}, now=now)
    return with_authority(result, told, authority.names)


@dataclass(frozen=True, slots=True)
class Authority:
    """The name servers of a zone, asked directly."""

    zone: str
    names: str
    resolver: Resolver

    def covers(self, name: str) -> bool:
        return name == self.zone or name.endswith(f".{self.zone}")


async def find_authority(resolver: Resolver, domain: str, open_to: Networks) -> Authority | None:
    """The closest zone's own name servers, at most MAX_SERVERS; None when there are none that may be asked. Whoever
    owns the domain names them: addresses that are not public are left alone."""
    labels = domain.split(".")
    for start in range(len(labels) - 1):
        zone = ".".join(labels[start:])
        try:
            hosts = (await resolver.ns(zone)).texts
        except DnsNotFound:
            continue
        except DnsError:
            return None
        if hosts:
            return await _authority(resolver, zone, sorted(hosts)[:MAX_SERVERS], open_to)
    return None


async def _authority(
    resolver: Resolver, zone: str, hosts: Sequence[str], open_to: Networks
) -> Authority | None:
    servers: list[Endpoint] = []
    for host in hosts:
        try:
            addresses = (await resolver.a(host)).addresses
        except DnsError:
            continue
        servers += [Endpoint(ip, AUTHORITY_PORT) for ip in addresses[:1] if not forbidden(ip, (), open_to)]
    if not servers:
        return None
    direct = Resolver(servers, timeout_s=1.5, deadline_s=5.0, authoritative=True)
    return Authority(zone, ", ".join(hosts), direct)


class Gatherer:
    """Facts for one check. With `authority` the questions about its zone go to its own name servers."""

    def __init__(self, resolver: Resolver, server: str = "", authority: Authority | None = None) -> None:
        self.resolver = resolver
        self.authority = authority
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
        authority = self.authority
        resolver = authority.resolver if authority and authority.covers(name) else self.resolver
        try:
            return await _LOOK[rdtype](resolver, name)
        except DnsNotFound:
            return Looked(error="nxdomain")
        except DnsFailure as failure:
            return Looked(error=failure.kind)
        except DnsError as error:
            return Looked(error=str(error)[:100])


def first_questions(want: Wanted) -> list[tuple[str, str]]:
    """What every check needs, so that it is asked at once instead of one by one."""
    name = want.domain
    keys = [(f"{key.selector}._domainkey.{name}", "TXT" if key.public else "CNAME") for key in want.keys]
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


async def _cname(resolver: Resolver, name: str) -> Looked:
    answer = await resolver.cname(name)
    return Looked(answer.texts, ttl_s=int(answer.ttl_s))


_LOOK = {"TXT": _txt, "A": _a, "AAAA": _aaaa, "MX": _mx, "CNAME": _cname}
