"""DNS look-ups for the relay: our name servers, a bounded cache, one query at a time per question, a total deadline.

Every look-up ends in one of three ways: an answer (possibly without records: the name exists, the type does not),
DnsNotFound (NXDOMAIN), or DnsFailure (SERVFAIL, REFUSED, time-out, garbage). Callers must not mix up the last two: a
failure is temporary, always.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.reversename

from gateway.config import Endpoint
from gateway.rules.mx import MxRecord, sender_domain_verdict
from gateway.rules.route_types import TlsaRecord

MAX_TTL_S = 3600.0
MIN_TTL_S = 5.0  # also a record with TTL 0: one message's look-ups should agree with each other
NEGATIVE_TTL_S = 300.0
FAILURE_TTL_S = 5.0  # long enough to spare a dying name server, short enough not to be noticed
MAX_CNAMES = 8
PAYLOAD_BYTES = 1232


class DnsError(Exception):
    """No answer for this question; `name` and `rdtype` say which."""

    def __init__(self, name: str, rdtype: str, text: str) -> None:
        super().__init__(f"{name} {rdtype}: {text}")
        self.name = name
        self.rdtype = rdtype

    def fresh(self) -> Self:
        """The same without a traceback: one that is kept would keep the frames it went through and all they hold."""
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        return twin


class DnsNotFound(DnsError):
    """NXDOMAIN: the name does not exist (or cannot exist)."""

    def __init__(self, name: str, rdtype: str, *, authentic: bool = False) -> None:
        super().__init__(name, rdtype, "no such name")
        self.authentic = authentic


class DnsFailure(DnsError):
    """We could not find out. `kind`: timeout | servfail | refused | malformed | no_servers | not_authoritative."""

    def __init__(self, name: str, rdtype: str, kind: str) -> None:
        super().__init__(name, rdtype, kind)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Answer:
    """What all answers have: AD as the resolver set it, and how long it may be kept."""

    authentic: bool
    ttl_s: float
    canonical: str  # the name the records belong to, after CNAMEs


@dataclass(frozen=True, slots=True)
class MxAnswer(Answer):
    records: tuple[MxRecord, ...]


@dataclass(frozen=True, slots=True)
class AddressAnswer(Answer):
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextAnswer(Answer):
    """TXT strings joined per record, or the names that PTR, CNAME or NS records point to."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TlsaAnswer(Answer):
    records: tuple[TlsaRecord, ...]


_Rows = Sequence[Any]
_Build = Callable[[_Rows, bool, float, str], Any]


def _host(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _mx_answer(rows: _Rows, authentic: bool, ttl_s: float, canonical: str) -> MxAnswer:
    # RFC 7505: the null MX has the root as its host; it becomes ''.
    found = (MxRecord(row.preference, _host(row.exchange).rstrip(".")) for row in rows)
    return MxAnswer(authentic, ttl_s, canonical, tuple(sorted(found)))


def _address_answer(rows: _Rows, authentic: bool, ttl_s: float, canonical: str) -> AddressAnswer:
    return AddressAnswer(authentic, ttl_s, canonical, tuple(row.address for row in rows))


def _text_answer(rows: _Rows, authentic: bool, ttl_s: float, canonical: str) -> TextAnswer:
    texts = (b"".join(row.strings).decode("utf-8", "replace") for row in rows)
    return TextAnswer(authentic, ttl_s, canonical, tuple(texts))


def _ptr_answer(rows: _Rows, authentic: bool, ttl_s: float, canonical: str) -> TextAnswer:
    return TextAnswer(authentic, ttl_s, canonical, tuple(_host(row.target) for row in rows))


def _tlsa_answer(rows: _Rows, authentic: bool, ttl_s: float, canonical: str) -> TlsaAnswer:
    found = (TlsaRecord(row.usage, row.selector, row.mtype, row.cert) for row in rows)
    return TlsaAnswer(authentic, ttl_s, canonical, tuple(found))


_BUILDERS: Mapping[str, _Build] = {
    "MX": _mx_answer,
    "A": _address_answer,
    "AAAA": _address_answer,
    "TXT": _text_answer,
    "PTR": _ptr_answer,
    "TLSA": _tlsa_answer,
    "CNAME": _ptr_answer,
    "NS": _ptr_answer,
}


class StaticZone:
    """Names that are answered from memory and never asked outside (the demo's domains).

    `names` maps a name to its records: {'acme.example': {'MX': ['10 mx.acme.example.'], 'A': ['192.0.2.1']}}. A listed
    name without the asked type has no records; a name that is not listed is none of the zone's business.
    """

    def __init__(self, names: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        self._names = {_canonical(name): types for name, types in names.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def answer(self, name: str, rdtype: str) -> Any:
        texts = self._names[name].get(rdtype, ())
        rows = [dns.rdata.from_text(dns.rdataclass.IN, rdtype, text, origin=dns.name.root) for text in texts]
        return _BUILDERS[rdtype](rows, False, MAX_TTL_S, name)


@dataclass(slots=True)
class _Cached:
    until: float
    value: Any  # an Answer or a DnsError


class Resolver:
    """Asynchronous look-ups through given name servers (host must be an IP address), one instance per event loop.

    `trust_ad` says whether `Answer.authentic` may be believed; by default name servers given by the operator are
    trusted, the system's only when they run on this machine (RFC 7672 section 2.2 wants a trusted path).
    `authoritative`: only answers with AA count; referrals and what others have cached are failures.
    """

    def __init__(
        self,
        nameservers: Sequence[Endpoint] = (),
        *,
        static: StaticZone | None = None,
        timeout_s: float = 2.0,
        deadline_s: float = 8.0,
        max_entries: int = 20_000,
        authoritative: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.nameservers = tuple(nameservers) or system_nameservers()
        self.trust_ad = bool(nameservers) or all(_is_loopback(server.host) for server in self.nameservers)
        self._static = static
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._max_entries = max_entries
        self._authoritative = authoritative
        self._clock = clock
        self._cache: dict[tuple[str, str], _Cached] = {}
        self._running: dict[tuple[str, str], asyncio.Task[_Cached]] = {}

    async def mx(self, domain: str) -> MxAnswer:
        answer: MxAnswer = await self._lookup(domain, "MX")
        return answer

    async def a(self, name: str) -> AddressAnswer:
        answer: AddressAnswer = await self._lookup(name, "A")
        return answer

    async def aaaa(self, name: str) -> AddressAnswer:
        answer: AddressAnswer = await self._lookup(name, "AAAA")
        return answer

    async def txt(self, name: str) -> TextAnswer:
        answer: TextAnswer = await self._lookup(name, "TXT")
        return answer

    async def cname(self, name: str) -> TextAnswer:
        """The alias itself, also when it leads nowhere."""
        answer: TextAnswer = await self._lookup(name, "CNAME")
        return answer

    async def ns(self, zone: str) -> TextAnswer:
        answer: TextAnswer = await self._lookup(zone, "NS")
        return answer

    async def tlsa(self, name: str) -> TlsaAnswer:
        """`name` is complete: '_25._tcp.mx.example'."""
        answer: TlsaAnswer = await self._lookup(name, "TLSA")
        return answer

    async def ptr(self, ip: str) -> TextAnswer:
        """The names an address points back to; raises ValueError when `ip` is no address."""
        ipaddress.ip_address(ip)
        answer: TextAnswer = await self._lookup(dns.reversename.from_address(ip).to_text(), "PTR")
        return answer

    async def validates(self, name: str = ".") -> bool:
        """Whether the name servers validate DNSSEC: a signed name (the root by default) must come back with AD, along
        a path that we trust. False also when nobody answers; the start-up self-test behind DANE."""
        if not self.trust_ad:
            return False
        try:
            async with asyncio.timeout(self._deadline_s):
                response = await self._ask(name, "SOA")
        except (TimeoutError, DnsError):
            return False
        return bool(response.flags & dns.flags.AD)

    def forget(self) -> None:
        """Empty the cache (SIGHUP, tests)."""
        self._cache.clear()

    async def _lookup(self, name: str, rdtype: str) -> Any:
        key = (_canonical(name), rdtype)
        cached = self._cache.get(key)
        if cached is None or cached.until <= self._clock():
            cached = await self._refresh(key)
        if isinstance(cached.value, DnsError):
            raise cached.value.fresh()
        return cached.value

    async def _refresh(self, key: tuple[str, str]) -> _Cached:
        """Ask once however many wait; a waiter that is cancelled does not take the others' answer away."""
        task = self._running.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._resolve(key))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)

    async def _resolve(self, key: tuple[str, str]) -> _Cached:
        name, rdtype = key
        if self._static is not None and name in self._static:
            return self._remember(key, self._static.answer(name, rdtype), MAX_TTL_S)
        try:
            async with asyncio.timeout(self._deadline_s):
                answer = await self._ask_through_cnames(name, rdtype)
        except TimeoutError:
            return self._remember(key, DnsFailure(name, rdtype, "timeout"), FAILURE_TTL_S)
        except DnsFailure as error:
            return self._remember(key, error.fresh(), FAILURE_TTL_S)
        except DnsNotFound as error:
            return self._remember(key, error.fresh(), NEGATIVE_TTL_S)
        return self._remember(key, answer, answer.ttl_s)

    def _remember(self, key: tuple[str, str], value: Any, ttl_s: float) -> _Cached:
        while len(self._cache) >= self._max_entries:
            self._cache.pop(next(iter(self._cache)))
        cached = _Cached(self._clock() + ttl_s, value)
        self._cache.pop(key, None)  # so that a refreshed entry counts as the youngest
        self._cache[key] = cached
        return cached

    async def _ask_through_cnames(self, name: str, rdtype: str) -> Any:
        """Follow aliases that the name server did not follow itself."""
        target, authentic = name, True
        for _ in range(MAX_CNAMES):
            response = await self._ask(target, rdtype)
            authentic = authentic and self.trust_ad and bool(response.flags & dns.flags.AD)
            try:
                chain = response.resolve_chaining()
            except (dns.exception.DNSException, ValueError) as error:
                raise DnsFailure(name, rdtype, "malformed") from error
            canonical = _host(chain.canonical_name)
            if chain.answer is not None or canonical == target:
                return _answer(rdtype, chain.answer, authentic, chain.minimum_ttl, canonical)
            if response.rcode() == dns.rcode.NXDOMAIN:
                raise DnsNotFound(name, rdtype, authentic=authentic)
            target = canonical
        raise DnsFailure(name, rdtype, "malformed")  # a chain without end

    async def _ask(self, name: str, rdtype: str) -> dns.message.QueryMessage:
        """One usable response (NOERROR or NXDOMAIN for the name itself), from the first server that gives one."""
        query = _query(name, rdtype)
        kind = "no_servers"
        for server in self.nameservers * 2:
            response, kind = await self._ask_server(query, server)
            if response is not None:
                return _checked(response, name, rdtype, self.trust_ad)
        raise DnsFailure(name, rdtype, kind)

    async def _ask_server(
        self, query: dns.message.QueryMessage, server: Endpoint
    ) -> tuple[dns.message.QueryMessage | None, str]:
        """(response, '') or (None, what was wrong)."""
        try:
            # ignore_errors: answers with a wrong id or question are skipped, not believed and not fatal.
            response, _ = await dns.asyncquery.udp_with_fallback(
                query,
                server.host,
                timeout=self._timeout_s,
                port=server.port,
                ignore_errors=True,
                ignore_unexpected=True,
            )
        except dns.exception.Timeout:
            return None, "timeout"
        except (dns.exception.DNSException, ValueError, EOFError):
            return None, "malformed"
        except OSError:
            return None, "timeout"
        if self._authoritative and not response.flags & dns.flags.AA:
            return None, "not_authoritative"
        return _judged(response)


async def sender_domain_resolves(resolver: Resolver, domain: str) -> bool:
    """Whether bounces to this domain could be delivered: MX, else A or AAAA, no null MX; see
    `rules.mx.sender_domain_verdict`. Raises DnsFailure when it cannot be found out."""
    try:
        records = (await resolver.mx(domain)).records
        if records:
            return sender_domain_verdict(records, None)
        return sender_domain_verdict(records, await _any_addresses(resolver, domain))
    except DnsNotFound:
        return sender_domain_verdict(None, None)


async def _any_addresses(resolver: Resolver, domain: str) -> tuple[str, ...]:
    found = (await resolver.a(domain)).addresses
    return found or (await resolver.aaaa(domain)).addresses


def _judged(response: dns.message.Message) -> tuple[dns.message.QueryMessage | None, str]:
    rcode = response.rcode()
    if rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) and isinstance(response, dns.message.QueryMessage):
        return response, ""
    return None, "refused" if rcode == dns.rcode.REFUSED else "servfail"


def _checked(
    response: dns.message.QueryMessage, name: str, rdtype: str, trust_ad: bool
) -> dns.message.QueryMessage:
    """NXDOMAIN without an alias is about the name itself; with one the chain decides."""
    if response.rcode() == dns.rcode.NXDOMAIN and not response.answer:
        raise DnsNotFound(name, rdtype, authentic=trust_ad and bool(response.flags & dns.flags.AD))
    return response


def _query(name: str, rdtype: str) -> dns.message.QueryMessage:
    try:
        query = dns.message.make_query(name, rdtype, use_edns=0, payload=PAYLOAD_BYTES)
    except dns.exception.DNSException as error:  # an empty or over-long label: no such name can exist
        raise DnsNotFound(name, rdtype) from error
    query.flags |= dns.flags.AD  # RFC 6840 section 5.7: tell us whether it was validated
    return query


def _answer(rdtype: str, rrset: Any, authentic: bool, minimum_ttl: int, canonical: str) -> Any:
    found = rrset if rrset is not None else ()
    ceiling = MAX_TTL_S if rrset is not None else NEGATIVE_TTL_S
    ttl_s = min(max(float(minimum_ttl), MIN_TTL_S), ceiling)
    return _BUILDERS[rdtype](found, authentic, ttl_s, canonical)


def _canonical(name: str) -> str:
    return name.lower().rstrip(".") or "."


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def system_nameservers() -> tuple[Endpoint, ...]:
    """The name servers of /etc/resolv.conf; none when there is no such file (every look-up then fails)."""
    try:
        system = dns.resolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        return ()
    return tuple(Endpoint(host=str(server), port=system.port) for server in system.nameservers)
