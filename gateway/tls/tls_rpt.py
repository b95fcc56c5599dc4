"""Who wants TLS reports (RFC 8460), and what their policies say. `rules.tls_report` counts and writes the texts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from gateway.dns import DnsError, Resolver
from gateway.rules.route_types import TlsaRecord
from gateway.rules.tls_report import PolicyTexts, report_addresses
from gateway.tls.mta_sts import StsPolicies


async def wanted_by(resolver: Resolver, domain: str) -> tuple[str, ...]:
    """Where the domain wants its reports by mail; () when it does not ask, or cannot be asked now."""
    try:
        return report_addresses((await resolver.txt(f"_smtp._tls.{domain}")).texts)
    except DnsError:
        return ()


async def policy_texts(
    resolver: Resolver, sts: StsPolicies, domain: str, hosts: Iterable[str], port: int
) -> dict[str, PolicyTexts]:
    """The domain's policies as they are now, by policy type: its MTA-STS policy and the TLSA records of `hosts`."""
    found: dict[str, PolicyTexts] = {}
    policy = await sts.policy(domain)
    if policy is not None:
        lines = tuple(line.strip() for line in policy.text.splitlines() if line.strip())
        found["sts"] = PolicyTexts(lines, policy.mx)
    records = await asyncio.gather(*(_tlsa_texts(resolver, host, port) for host in sorted(set(hosts))))
    if any(records):
        found["tlsa"] = PolicyTexts(tuple(text for texts in records for text in texts))
    return found


async def _tlsa_texts(resolver: Resolver, host: str, port: int) -> list[str]:
    try:
        answer = await resolver.tlsa(f"_{port}._tcp.{host}")
    except DnsError:
        return []
    return [_tlsa_text(record) for record in answer.records]


def _tlsa_text(record: TlsaRecord) -> str:
    return f"{record.usage} {record.selector} {record.matching} {record.data.hex()}"
