"""Would forced TLS to this domain work? Every server is asked, with the very code that delivers mail.

`preflight` for whoever has an event loop, `preflight_now` for web pages and commands. Nothing is sent: each session
ends after STARTTLS. Addresses that mail would not go to are not asked either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from gateway.config import Config
from gateway.dns import Resolver, StaticZone
from gateway.outbound.errors import HopFailed, TlsFailed
from gateway.outbound.hops import DomainFacts, HopFinder, HostFacts
from gateway.outbound.session import Deadlines, Opener, Session
from gateway.rules.policy import GatewayPolicy, TlsRulePolicy
from gateway.rules.replies import clean_text
from gateway.rules.route_types import Hop, TlsDemand
from gateway.rules.tls_policy import DaneStatus, HopFacts, StsPolicy, hop_demand
from gateway.rules.types import OnFailure, Pool, StepFailed, TlsLevel
from gateway.tls.contexts import TlsContexts
from gateway.tls.mta_sts import StsPolicies
from gateway.tls.verify import chain_of

DEADLINES = Deadlines(connect=8, banner=10, ehlo=10, tls=10)
TOTAL_S = 45.0
MAX_HOSTS = 6
MAX_ADDRESSES = 2  # of one host: a farm behind one name mostly has one certificate

WORKS, PARTLY, FAILS, UNAVAILABLE = "works", "partly", "fails", "unavailable"


@dataclass(frozen=True, slots=True)
class LevelResult:
    """One level at one address: `result` is '' or a result type of RFC 8460, `text` says what is wrong."""

    ok: bool
    result: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class CertificateReport:
    names: tuple[str, ...]
    issuer: str
    not_before: datetime
    not_after: datetime
    days_left: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class AddressReport:
    """One address of one host. `problem` is set when it could not be spoken with at all."""

    ip: str
    reachable: bool
    starttls: bool = False
    version: str = ""
    cipher: str = ""
    requiretls: bool = False
    certificate: CertificateReport | None = None
    levels: dict[str, LevelResult] = field(
        default_factory=dict
    )  # encrypt, verify, dane, and 'rule' when one was given
    problem: str = ""


@dataclass(frozen=True, slots=True)
class HostReport:
    host: str
    preference: int
    dane: str  # a DaneStatus
    in_sts_policy: bool | None  # None = the domain has no policy
    addresses: tuple[AddressReport, ...]
    problem: str = ""  # no address, DNS failure, addresses that are not public


@dataclass(frozen=True, slots=True)
class Verdict:
    state: str  # works | partly | fails | unavailable
    text: str = ""  # the first problem


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """What a domain's servers can do. `problem` is set when there is no server to ask (`verdicts` then all fail)."""

    domain: str
    at: datetime
    hosts: tuple[HostReport, ...] = ()
    sts_mode: str = "none"  # none | testing | enforce
    sts_problem: str = ""
    dnssec: bool = False
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    expires_at: datetime | None = None  # the earliest end of a certificate
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values: times are ISO 8601 in UTC."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def probe(self, level: str = "rule") -> dict[str, Any]:
        """The short form that is kept with a rule: {state, checked_at, expires_at, problem}."""
        verdict = self.verdicts.get(level, Verdict(FAILS, self.problem))
        return {
            "state": verdict.state,
            "checked_at": self.at.isoformat(),
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
            "problem": verdict.text,
        }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


def preflight_now(
    domain: str, config: Config, rule: TlsRulePolicy | None = None, static: StaticZone | None = None
) -> PreflightReport:
    """Probe a domain from a thread without an event loop; takes up to TOTAL_S seconds, raises nothing it expects.
    `static` is the demo's zone."""

    async def run() -> PreflightReport:
        resolver = Resolver(config.nameservers, static=static)
        sts = StsPolicies.from_config(config, resolver, _utc_now)
        finder = HopFinder.from_config(config, resolver, sts=sts)
        if finder.dane is not None:
            await finder.dane.self_test()
        opener = Opener(TlsContexts(config.ca_file), _utc_now, DEADLINES)
        return await preflight(domain, finder, opener, config.hostname, rule)

    return asyncio.run(run())


async def preflight(
    domain: str, finder: HopFinder, opener: Opener, hostname: str, rule: TlsRulePolicy | None = None
) -> PreflightReport:
    """Ask every server of `domain` (canonical form). `rule` adds the verdict 'rule': would this very rule be met?"""
    probe = _Probe(domain, opener, finder.port, GatewayPolicy(0, "preflight", Pool.GOOD, hostname), rule)
    try:
        async with asyncio.timeout(TOTAL_S):
            facts = await finder.facts(domain)
            hosts = await asyncio.gather(*(probe.host(host, facts) for host in facts.hosts[:MAX_HOSTS]))
    except StepFailed as failed:
        return probe.without_hosts(failed.reply.text)
    except TimeoutError:
        return probe.without_hosts("the servers did not answer in time")
    problem = (await finder.sts.result(domain)).text if finder.sts is not None else ""
    return probe.report(hosts, facts, problem)


class _Probe:
    def __init__(
        self, domain: str, opener: Opener, port: int, gateway: GatewayPolicy, rule: TlsRulePolicy | None
    ) -> None:
        self._domain = domain
        self._opener = opener
        self._port = port
        self._gateway = gateway
        self._rule = rule
        self._at = opener.clock()

    # -- one host, one address

    async def host(self, host: HostFacts, facts: DomainFacts) -> HostReport:
        demands = self._demands(host, facts)
        addresses = await asyncio.gather(
            *(self._address(host.record.host, ip, demands) for ip in host.addresses[:MAX_ADDRESSES])
        )
        return HostReport(
            host=host.record.host,
            preference=host.record.preference,
            dane=host.dane.status.value,
            in_sts_policy=facts.sts.allows(host.record.host) if facts.sts else None,
            addresses=tuple(addresses),
            problem=_host_problem(host),
        )

    def _demands(self, host: HostFacts, facts: DomainFacts) -> dict[str, TlsDemand]:
        """What a rule of each level would demand of this host."""
        levels = (TlsLevel.ENCRYPT, TlsLevel.VERIFY, TlsLevel.DANE)
        rules = {
            level.value: TlsRulePolicy(0, 0, "", self._domain, level, OnFailure.REJECT) for level in levels
        }
        if self._rule is not None:
            rules["rule"] = replace(self._rule, shadow=False)
        return {name: hop_demand(self._facts(host, facts, rule)) for name, rule in rules.items()}

    def _facts(self, host: HostFacts, facts: DomainFacts, rule: TlsRulePolicy) -> HopFacts:
        return HopFacts(
            host=host.record.host,
            domain=self._domain,
            rule=rule,
            mx_authentic=facts.mx_authentic,
            dane=host.dane,
            sts=facts.sts,
        )

    async def _address(self, host: str, ip: str, demands: dict[str, TlsDemand]) -> AddressReport:
        report = await self._look(host, ip)
        if not report.reachable:
            failed = LevelResult(ok=False, result="unreachable", text=report.problem)
            return replace(report, levels=dict.fromkeys(demands, failed))
        levels = {name: await self._try(host, ip, demand) for name, demand in demands.items()}
        return replace(report, levels=levels)

    async def _look(self, host: str, ip: str) -> AddressReport:
        """What the server shows to somebody who takes everything."""
        try:
            session = await self._opener.open(self._gateway, self._hop(host, ip), ip, TlsDemand())
        except TlsFailed as failure:
            return AddressReport(
                ip, reachable=True, starttls=failure.stage.value == "tls", problem=failure.reply.text
            )
        except HopFailed as failure:
            return AddressReport(ip, reachable=False, problem=str(failure.reply))
        try:
            return _seen(session, ip, self._at)
        finally:
            session.end()

    async def _try(self, host: str, ip: str, demand: TlsDemand) -> LevelResult:
        if demand.blocked:
            return LevelResult(ok=False, result="validation-failure", text=demand.blocked)
        try:
            session = await self._opener.open(self._gateway, self._hop(host, ip), ip, demand)
        except TlsFailed as failure:
            return LevelResult(ok=False, result=failure.result, text=failure.reply.text)
        except HopFailed as failure:
            return LevelResult(ok=False, result="unreachable", text=str(failure.reply))
        session.end()
        return LevelResult(ok=True)

    def _hop(self, host: str, ip: str) -> Hop:
        return Hop(host, self._port, (ip,))

    # -- the whole

    def without_hosts(self, problem: str) -> PreflightReport:
        names = ["encrypt", "verify", "dane", *(["rule"] if self._rule else [])]
        verdicts = dict.fromkeys(names, Verdict(FAILS, problem))
        return PreflightReport(self._domain, self._at, verdicts=verdicts, problem=problem)

    def report(self, hosts: Sequence[HostReport], facts: DomainFacts, sts_problem: str) -> PreflightReport:
        names = ["encrypt", "verify", "dane", *(["rule"] if self._rule else [])]
        verdicts = {name: _verdict(name, hosts) for name in names}
        if hosts and all(host.dane == DaneStatus.UNAVAILABLE for host in hosts):
            verdicts["dane"] = Verdict(
                UNAVAILABLE, "our resolver does not validate DNSSEC, or the domain is not signed"
            )
        sts: StsPolicy | None = facts.sts
        return PreflightReport(
            domain=self._domain,
            at=self._at,
            hosts=tuple(hosts),
            sts_mode=sts.mode.value if sts else "none",
            sts_problem=sts_problem,
            dnssec=facts.mx_authentic,
            verdicts=verdicts,
            expires_at=min(_expiries(hosts), default=None),
        )


def _host_problem(host: HostFacts) -> str:
    if host.failure == "dns":
        return "the name or its TLSA records cannot be looked up"
    if host.failure:
        return "the name has no address"
    if host.refused and not host.addresses:
        return f"no public address ({', '.join(sorted(host.refused))})"
    return ""


def _seen(session: Session, ip: str, now: datetime) -> AddressReport:
    requiretls = "REQUIRETLS" in session.features
    if session.tls is None:
        return AddressReport(ip, reachable=True, requiretls=requiretls)
    return AddressReport(
        ip=ip,
        reachable=True,
        starttls=True,
        version=session.tls.version,
        cipher=session.tls.cipher,
        requiretls=requiretls,
        certificate=_certificate(chain_of(session.connection.ssl_object)[0], session.tls.fingerprint, now),
    )


def _certificate(der: bytes, fingerprint: str, now: datetime) -> CertificateReport | None:
    try:
        found = x509.load_der_x509_certificate(der)
        names = _names(found)
        issuer = found.issuer.rfc4514_string()
    except (ValueError, TypeError):
        return None
    return CertificateReport(
        names=tuple(clean_text(name, 255) for name in names[:20]),
        issuer=clean_text(issuer, 255),
        not_before=found.not_valid_before_utc,
        not_after=found.not_valid_after_utc,
        days_left=(found.not_valid_after_utc - now).days,
        fingerprint=fingerprint,
    )


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension):
        return []
    return [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]


def _verdict(name: str, hosts: Sequence[HostReport]) -> Verdict:
    """Over all addresses: mail takes the first server that can be encrypted, so one is enough to go on, but 'works'
    means all."""
    results = [address.levels[name] for host in hosts for address in host.addresses]
    problems = [f"{host.host}: {host.problem}" for host in hosts if host.problem]
    problems += [result.text for result in results if not result.ok]
    if not any(result.ok for result in results):
        return Verdict(FAILS, problems[0] if problems else "there is no server to ask")
    return Verdict(PARTLY, problems[0]) if problems else Verdict(WORKS)


def _expiries(hosts: Iterable[HostReport]) -> list[datetime]:
    addresses = (address for host in hosts for address in host.addresses)
    return [address.certificate.not_after for address in addresses if address.certificate is not None]


def _utc_now() -> datetime:
    return datetime.now(UTC)
