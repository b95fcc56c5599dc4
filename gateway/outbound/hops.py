"""The servers of a recipient domain, in order, with the addresses that we may connect to and the TLS each needs.

Used by the step `route`. What ends here: NXDOMAIN, null MX and loops bounce; a failed look-up defers. Addresses are
looked up once and are the very ones that will be connected to, so that nothing can change between check and use.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from gateway.config import Config, parse_endpoint
from gateway.dns import AddressAnswer, DnsFailure, DnsNotFound, MxAnswer, Resolver
from gateway.rules import mx as rules
from gateway.rules.mx import IPNetwork, MxRecord
from gateway.rules.policy import GatewayPolicy, TlsRulePolicy
from gateway.rules.route_types import Hop
from gateway.rules.tls_policy import DaneFacts, HopFacts, StsPolicy, hop_demand, next_hop_demand
from gateway.rules.types import Reply, Stage, StepFailed
from gateway.tls.dane import Dane
from gateway.tls.mta_sts import StsPolicies

FACTS_S = 30.0  # how long a domain's hosts are kept ready; never longer than the MX answer itself
MAX_DOMAINS = 5000


@dataclass(frozen=True, slots=True)
class Wish:
    """What the message and its customer's rules want of the hop."""

    rule: TlsRulePolicy | None = None
    shadow_rule: TlsRulePolicy | None = None
    require_tls: bool = False
    tls_optional: bool = False  # TLS-Required: No


ANY_TLS = Wish()
NO_DANE = DaneFacts()


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One MX host. `addresses` are those that pass, `refused` the reasons why others do not."""

    record: MxRecord
    addresses: tuple[str, ...] = ()
    refused: frozenset[str] = frozenset()
    dane: DaneFacts = NO_DANE
    failure: str = ""  # 'dns' = a look-up failed, 'no_address' = the name leads nowhere


@dataclass(frozen=True, slots=True)
class DomainFacts:
    hosts: tuple[HostFacts, ...]
    mx_authentic: bool
    sts: StsPolicy | None
    ttl_s: float


@dataclass
class HopFinder:
    """One per event loop. `own_hosts` are our names, `own_addresses` those on which a connection would reach us."""

    resolver: Resolver
    port: int = 25
    own_hosts: Collection[str] = frozenset()
    own_addresses: Collection[str] = frozenset()
    allowed_networks: tuple[IPNetwork, ...] = ()
    dane: Dane | None = None
    sts: StsPolicies | None = None
    rng: random.Random = field(default_factory=random.SystemRandom)
    clock: Callable[[], float] = time.monotonic
    _facts: dict[str, tuple[float, DomainFacts]] = field(default_factory=dict)

    @classmethod
    def from_config(
        cls,
        config: Config,
        resolver: Resolver,
        gateways: Iterable[GatewayPolicy] = (),
        *,
        sts: StsPolicies | None = None,
    ) -> HopFinder:
        """The finder of a relay process; DANE is on, MTA-STS when `sts` is given."""
        ways = tuple(gateways)
        return cls(
            resolver,
            port=config.delivery_port,
            own_hosts=frozenset({config.hostname, *(way.hostname for way in ways)}),
            own_addresses=own_addresses(config, ways),
            allowed_networks=config.private_mx_networks,
            dane=Dane(resolver),
            sts=sts,
        )

    async def hops(self, domain: str, gateway: GatewayPolicy, wish: Wish = ANY_TLS) -> tuple[Hop, ...]:
        """The hops to try in order, at least one; raises StepFailed."""
        if gateway.next_hop:
            return (await self._smart_host(gateway, wish),)
        facts = await self.facts(domain)
        return tuple(self._hop(host, domain, facts, wish) for host in _usable(facts.hosts, self.rng))

    async def facts(self, domain: str) -> DomainFacts:
        """Everything about a domain's hosts; raises StepFailed (null MX, NXDOMAIN, DNS failure, loop)."""
        kept = self._facts.get(domain)
        if kept is not None and kept[0] > self.clock():
            return kept[1]
        facts = await self._look_up(domain)
        while len(self._facts) >= MAX_DOMAINS:
            self._facts.pop(next(iter(self._facts)))
        self._facts[domain] = (self.clock() + min(facts.ttl_s, FACTS_S), facts)
        return facts

    def _hop(self, host: HostFacts, domain: str, facts: DomainFacts, wish: Wish) -> Hop:
        demand = hop_demand(
            HopFacts(
                host=host.record.host,
                domain=domain,
                rule=wish.rule,
                shadow_rule=wish.shadow_rule,
                require_tls=wish.require_tls,
                tls_optional=wish.tls_optional,
                mx_authentic=facts.mx_authentic,
                dane=host.dane,
                sts=facts.sts,
            )
        )
        return Hop(host.record.host, self.port, host.addresses, demand)

    # -- MX

    async def _look_up(self, domain: str) -> DomainFacts:
        if domain.startswith("["):
            return self._literal(domain)
        mx = await self._mx(domain)
        records = rules.before_own(mx.records or (MxRecord(0, domain),), self.own_hosts)
        if not records:
            raise StepFailed(rules.MX_LOOP, "loop", Stage.DNS)
        ordered = rules.ordered_records(records)
        hosts = await asyncio.gather(*(self._host(record, mx_authentic=mx.authentic) for record in ordered))
        sts = await self.sts.policy(domain) if self.sts is not None else None
        facts = DomainFacts(tuple(_before_own_address(hosts)), mx.authentic, sts, mx.ttl_s)
        _check_usable(facts.hosts, hosts, has_mx=bool(mx.records))
        return facts

    async def _mx(self, domain: str) -> MxAnswer:
        try:
            answer = await self.resolver.mx(domain)
        except DnsNotFound as error:
            raise StepFailed(rules.NO_SUCH_DOMAIN, "no_such_domain", Stage.DNS) from error
        except DnsFailure as error:
            raise StepFailed(rules.DNS_FAILURE, "dns", Stage.DNS) from error
        if rules.is_null_mx(answer.records):
            raise StepFailed(rules.NULL_MX, "null_mx", Stage.DNS)
        return answer

    async def _host(self, record: MxRecord, *, mx_authentic: bool) -> HostFacts:
        try:
            answers = await self._address_answers(record.host)
            found = self._sorted_out(record, answers)
            if not found.addresses or self.dane is None:
                return found
            return replace(
                found, dane=await self.dane.facts(record.host, self.port, answers, mx_authentic=mx_authentic)
            )
        except DnsFailure:
            return HostFacts(record, failure="dns")

    async def _address_answers(self, host: str) -> list[AddressAnswer]:
        """A and AAAA; one of them may fail when the other has something (a broken AAAA must not stop mail)."""
        results = await asyncio.gather(
            self.resolver.a(host), self.resolver.aaaa(host), return_exceptions=True
        )
        answers = [one for one in results if isinstance(one, AddressAnswer) and one.addresses]
        failures = [
            one for one in results if isinstance(one, BaseException) and not isinstance(one, DnsNotFound)
        ]
        if failures and not answers:
            raise failures[0]
        return answers

    def _sorted_out(self, record: MxRecord, answers: Iterable[AddressAnswer]) -> HostFacts:
        passed: list[str] = []
        refused: set[str] = set()
        for answer in answers:
            for ip in answer.addresses:
                reason = rules.forbidden(ip, self.own_addresses, self.allowed_networks)
                refused.add(reason) if reason else passed.append(ip)
        failure = "" if passed or refused else "no_address"
        return HostFacts(
            record, tuple(passed[: rules.MAX_ADDRESSES_PER_HOST]), frozenset(refused), failure=failure
        )

    def _literal(self, domain: str) -> DomainFacts:
        """'[192.0.2.1]' or '[IPv6:2001:db8::1]' (RFC 5321 section 4.1.3)."""
        ip = domain.strip("[]").removeprefix("IPv6:").removeprefix("ipv6:")
        reason = rules.forbidden(ip, self.own_addresses, self.allowed_networks)
        if reason is not None:
            raise StepFailed(rules.FORBIDDEN_ADDRESS, "forbidden_address", Stage.DNS)
        host = HostFacts(MxRecord(0, ip), (ip,))
        return DomainFacts((host,), mx_authentic=False, sts=None, ttl_s=FACTS_S)

    # -- smart hosts

    async def _smart_host(self, gateway: GatewayPolicy, wish: Wish) -> Hop:
        """The operator's word: any address may be connected to."""
        target = parse_endpoint(gateway.next_hop, 25, f"next hop of gateway {gateway.name}")
        demand = next_hop_demand(gateway, target.host, wish.rule, require_tls=wish.require_tls)
        return Hop(target.host, target.port, await self._smart_addresses(target.host), demand)

    async def _smart_addresses(self, host: str) -> tuple[str, ...]:
        if _is_address(host):
            return (host,)
        if host == "localhost":
            return ("127.0.0.1",)
        try:
            answers = await self._address_answers(host)
        except DnsFailure as error:
            raise StepFailed(_NEXT_HOP_UNKNOWN, "dns", Stage.DNS) from error
        addresses = tuple(ip for answer in answers for ip in answer.addresses)
        if not addresses:  # the operator's mistake is not the recipient's: wait
            raise StepFailed(_NEXT_HOP_UNKNOWN, "no_address", Stage.DNS)
        return addresses[: rules.MAX_ADDRESSES_PER_HOST]


_NEXT_HOP_UNKNOWN = Reply(451, "4.4.4", "The gateway's next hop cannot be resolved")


def _before_own_address(hosts: Iterable[HostFacts]) -> list[HostFacts]:
    """A host that leads to one of our addresses, and whatever is not preferred to it, is out (RFC 5321 section 5.1)."""
    found = list(hosts)
    own = [host.record.preference for host in found if "own" in host.refused]
    return [host for host in found if host.record.preference < min(own)] if own else found


def _usable(hosts: Iterable[HostFacts], rng: random.Random) -> list[HostFacts]:
    by_name = {host.record.host: host for host in hosts if host.addresses}
    order = rules.ordered_hosts((host.record for host in by_name.values()), rng)
    return [by_name[name] for name in order]


def _check_usable(usable: Collection[HostFacts], all_hosts: Collection[HostFacts], *, has_mx: bool) -> None:
    if any(host.addresses for host in usable):
        return
    if any(host.failure == "dns" for host in usable):
        raise StepFailed(rules.DNS_FAILURE, "dns", Stage.DNS)
    if any("own" in host.refused for host in all_hosts):
        raise StepFailed(rules.MX_LOOP, "loop", Stage.DNS)
    if any(host.refused for host in usable):
        raise StepFailed(rules.FORBIDDEN_ADDRESS, "forbidden_address", Stage.DNS)
    raise StepFailed(rules.NO_ADDRESS_OF_MX if has_mx else rules.NO_ADDRESS, "no_address", Stage.DNS)


def own_addresses(config: Config, gateways: Iterable[GatewayPolicy] = ()) -> frozenset[str]:
    """Where a delivery would reach our own listener: only when that listens on the port we deliver to."""
    listening = [
        one.host for one in (*config.smtp_listen, *config.smtps_listen) if one.port == config.delivery_port
    ]
    if not listening:
        return frozenset()
    found = {host for host in listening if host not in ("0.0.0.0", "::", "")}  # noqa: S104 - compared, not bound
    if len(found) < len(listening):
        found |= _machine_addresses()
        found |= {ip for way in gateways for ip in (way.source_ip, way.source_ip6) if ip}
    return frozenset(str(ipaddress.ip_address(ip)) for ip in found if _is_address(ip))


def _machine_addresses() -> set[str]:
    try:
        infos = socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        infos = []
    return {str(info[4][0]).partition("%")[0] for info in infos} | {"127.0.0.1", "::1"}


@lru_cache(maxsize=64)
def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
