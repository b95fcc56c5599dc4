"""What receivers look at before they trust a gateway: PTR, forward name, the SPF host."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from gateway.control.domain_checks import make_resolver
from gateway.dns import DnsError, DnsNotFound, Resolver
from gateway.models import Gateway


@dataclass(frozen=True, slots=True)
class Check:
    """One look: `state` good, wrong or unknown (the DNS did not answer)."""

    name: str  # 'ptr' | 'forward' | 'spf'
    address: str
    state: str
    expected: str
    found: str


def check(gateway: Gateway, *, resolver: Resolver | None = None) -> list[Check]:
    """Look at each address of the gateway now; blocks for some seconds at most. Without a public address: nothing."""
    addresses = [address for address in (gateway.source_ip, gateway.source_ip6) if address]
    return asyncio.run(_check(gateway, addresses, resolver or make_resolver()))


async def _check(gateway: Gateway, addresses: list[str], resolver: Resolver) -> list[Check]:
    looks: list[Awaitable[Check]] = []
    for address in addresses:
        looks += [
            _look("ptr", address, gateway.hostname, _ptr(resolver, address)),
            _look("forward", address, address, _addresses(resolver, gateway.hostname, address)),
            _look("spf", address, address, _addresses(resolver, settings.SMG.spf_host, address)),
        ]
    return list(await asyncio.gather(*looks))


async def _look(name: str, address: str, expected: str, question: Awaitable[tuple[str, ...]]) -> Check:
    try:
        found = await question
    except DnsNotFound:
        found = ()
    except DnsError as error:
        return Check(name, address, "unknown", expected, str(error)[:200])
    good = _same(expected) in {_same(one) for one in found}
    return Check(name, address, "good" if good else "wrong", expected, ", ".join(found))


async def _ptr(resolver: Resolver, address: str) -> tuple[str, ...]:
    return tuple((await resolver.ptr(address)).texts)


async def _addresses(resolver: Resolver, name: str, like: str) -> tuple[str, ...]:
    is_v4 = ipaddress.ip_address(like).version == 4
    answer: Any = await (resolver.a(name) if is_v4 else resolver.aaaa(name))
    return tuple(answer.addresses)


def _same(text: str) -> str:
    """Names without case and final dot, addresses in their short form."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text.lower().rstrip(".")
