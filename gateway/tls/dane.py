"""TLSA look-ups for MX hosts (RFC 7672): used only where every step to the record was validated by our resolver.

A resolver that does not validate can say nothing about DANE: the status is then `unavailable`, which is not a failure
of the domain. A TLSA look-up that fails (not: finds nothing) makes the host unusable for now (section 2.1.2), because
an attacker could cause just that.
"""

from __future__ import annotations

from gateway.dns import AddressAnswer, DnsNotFound, Resolver
from gateway.rules.tls_policy import DaneFacts, DaneStatus, usable_tlsa


class Dane:
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self.validating: bool | None = None  # what the self-test said; None = not made yet

    async def self_test(self, name: str = ".") -> bool:
        """Ask for a signed name (at start, and now and then); False = DANE is unavailable here."""
        self.validating = await self._resolver.validates(name)
        return self.validating

    async def facts(
        self, host: str, port: int, addresses: list[AddressAnswer], *, mx_authentic: bool
    ) -> DaneFacts:
        """The TLSA records of one host; `addresses` are the answers that led to its addresses. Raises DnsFailure."""
        secure = mx_authentic and bool(addresses) and all(answer.authentic for answer in addresses)
        if not secure:
            available = self._resolver.trust_ad and self.validating
            return DaneFacts(DaneStatus.INSECURE if available else DaneStatus.UNAVAILABLE)
        canonical = addresses[0].canonical
        for name in dict.fromkeys((canonical, host)):  # section 2.2.2: after the alias first
            facts = await self._look_up(f"_{port}._tcp.{name}")
            if facts.status is not DaneStatus.NONE:
                return facts
        return DaneFacts(DaneStatus.NONE)

    async def _look_up(self, name: str) -> DaneFacts:
        try:
            answer = await self._resolver.tlsa(name)
        except DnsNotFound:
            return DaneFacts(DaneStatus.NONE)
        if not answer.records or not answer.authentic:  # an unsigned zone below a signed one
            return DaneFacts(DaneStatus.NONE)
        usable = usable_tlsa(answer.records)
        return DaneFacts(DaneStatus.USABLE if usable else DaneStatus.UNUSABLE, usable)
