"""SPF evaluated for our addresses: would a receiver accept mail from them in the name of this domain (RFC 7208)?

Pure: answers come from `facts`; the first one missing raises Needed, and whoever gathers asks it and calls again.
Only what depends on the address, the domain and the DNS is evaluated; macros are counted but match nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_LOOKUPS = 10  # RFC 7208 section 4.6.4
MAX_VOID = 2
MAX_DEPTH = 12
QUALIFIERS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Looked:
    """One look-up's result. `error`: '' (an answer, possibly empty), 'nxdomain', or why it failed (temporary)."""

    values: tuple[str, ...] = ()
    error: str = ""
    ttl_s: int = 0

    @property
    def failed(self) -> bool:
        return self.error not in ("", "nxdomain")


Facts = Mapping[tuple[str, str], Looked]


class Needed(Exception):
    """A look-up is missing from the facts: (name, type)."""

    def __init__(self, name: str, rdtype: str) -> None:
        super().__init__(f"{name} {rdtype}")
        self.question = (name, rdtype)


class _Stop(Exception):
    """The evaluation ends with permerror or temperror; `code` is a problem of domain_check."""

    def __init__(self, result: str, code: str, term: str = "") -> None:
        super().__init__(code)
        self.result, self.code, self.term = result, code, term


@dataclass(slots=True)
class SpfResult:
    """`result`: pass | fail | softfail | neutral | none | permerror | temperror; `code` names what is wrong ('' =
    nothing), `term` the part of the record that is meant or that matched, `lookups` what a receiver must ask."""

    result: str
    code: str = ""
    term: str = ""
    lookups: int = 0


@dataclass(slots=True)
class _Walk:
    facts: Facts
    address: IPAddress
    lookups: int = 0
    void: int = 0
    depth: int = 0
    seen_terms: list[str] = field(default_factory=list)


def look(facts: Facts, name: str, rdtype: str) -> Looked:
    """A fact; raises Needed when it was not asked yet."""
    found = facts.get((name.lower(), rdtype))
    if found is None:
        raise Needed(name.lower(), rdtype)
    return found


def spf_texts(facts: Facts, domain: str) -> list[str]:
    """The domain's SPF records (RFC 7208 section 4.5); raises Needed."""
    texts = look(facts, domain, "TXT").values
    return [text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]


def evaluate(facts: Facts, domain: str, address: str) -> SpfResult:
    """The check_host() of RFC 7208 for one of our addresses; raises Needed."""
    walk = _Walk(facts, ipaddress.ip_address(address))
    try:
        result, term = _record(walk, domain)
    except _Stop as stop:
        return SpfResult(stop.result, stop.code, stop.term, walk.lookups)
    return SpfResult(result, "", term, walk.lookups)


def _record(walk: _Walk, domain: str) -> tuple[str, str]:
    if walk.depth > MAX_DEPTH:
        raise _Stop("permerror", "spf_lookups", domain)
    if look(walk.facts, domain, "TXT").failed:
        raise _Stop("temperror", "dns", domain)
    found = spf_texts(walk.facts, domain)
    if len(found) > 1:
        raise _Stop("permerror", "spf_two", domain)
    if not found:
        return "none", ""
    terms = found[0].split()[1:]
    for term in terms:
        result = _term(walk, domain, term)
        if result:
            return result, term
    redirect = [term for term in terms if term.lower().startswith("redirect=")]
    return _redirect(walk, redirect[0]) if redirect else ("neutral", "")


def _redirect(walk: _Walk, term: str) -> tuple[str, str]:
    _spend(walk, term)
    target = term.partition("=")[2].rstrip(".")
    if "%" in target:
        return "neutral", term
    walk.depth += 1
    result, inner = _record(walk, target)
    walk.depth -= 1
    if result == "none":
        raise _Stop("permerror", "spf_redirect", term)
    return result, inner


def _term(walk: _Walk, domain: str, term: str) -> str:
    """The result when this mechanism matches, else ''."""
    qualifier, body = (term[0], term[1:]) if term[0] in QUALIFIERS else ("+", term)
    name = body.partition(":")[0].partition("/")[0].lower()
    if "=" in name:  # a modifier: redirect, exp or unknown; not a mechanism
        return ""
    check = _MECHANISMS.get(name)
    if check is None:
        raise _Stop("permerror", "spf_syntax", term)
    return QUALIFIERS[qualifier] if check(walk, domain, body) else ""


def _all(walk: _Walk, domain: str, body: str) -> bool:
    return True


def _ip(walk: _Walk, domain: str, body: str) -> bool:
    try:
        network = ipaddress.ip_network(body.partition(":")[2], strict=False)
    except ValueError as error:
        raise _Stop("permerror", "spf_syntax", body) from error
    return network.version == walk.address.version and walk.address in network


def _a(walk: _Walk, domain: str, body: str) -> bool:
    _spend(walk, body)
    host, prefix = _target(walk, domain, body)
    return _in_addresses(walk, host, prefix, void=True)


def _mx(walk: _Walk, domain: str, body: str) -> bool:
    _spend(walk, body)
    host, prefix = _target(walk, domain, body)
    records = _ask(walk, host, "MX")
    hosts = [record.split()[-1].rstrip(".") for record in records]
    return any(_in_addresses(walk, mx, prefix) for mx in hosts[:10] if mx)


def _include(walk: _Walk, domain: str, body: str) -> bool:
    _spend(walk, body)
    target = body.partition(":")[2].rstrip(".")
    if not target:
        raise _Stop("permerror", "spf_syntax", body)
    if "%" in target:
        return False
    walk.depth += 1
    result, _inner = _record(walk, target)
    walk.depth -= 1
    if result == "none":
        raise _Stop("permerror", "spf_include_none", target)
    return result == "pass"


def _counted_only(walk: _Walk, domain: str, body: str) -> bool:
    """exists and ptr depend on more than our address; they cost a look-up and are not counted on."""
    _spend(walk, body)
    return False


_MECHANISMS = {
    "all": _all, "ip4": _ip, "ip6": _ip, "a": _a, "mx": _mx, "include": _include, "exists": _counted_only,
    "ptr": _counted_only,
}  # fmt: skip


def _spend(walk: _Walk, term: str) -> None:
    walk.lookups += 1
    if walk.lookups > MAX_LOOKUPS:
        raise _Stop("permerror", "spf_lookups", term)


def _target(walk: _Walk, domain: str, body: str) -> tuple[str, int]:
    """(host, prefix length for our address's family) of 'a', 'a:host', 'mx:host/24//64'."""
    rest, _, six = body.partition("//")
    rest, _, four = rest.partition("/")
    host = rest.partition(":")[2].rstrip(".") or domain
    if ":" in host:  # two terms without a space between them
        raise _Stop("permerror", "spf_syntax", body)
    width = walk.address.max_prefixlen
    text = six if width == 128 else four
    if text and not (text.isdecimal() and int(text) <= width):
        raise _Stop("permerror", "spf_syntax", body)
    return host, int(text) if text else width


def _in_addresses(walk: _Walk, host: str, prefix: int, *, void: bool = False) -> bool:
    if "%" in host:
        return False
    found = _ask(walk, host, "A" if walk.address.version == 4 else "AAAA", void=void)
    return any(walk.address in ipaddress.ip_network(f"{ip}/{prefix}", strict=False) for ip in found)


def _ask(walk: _Walk, name: str, rdtype: str, *, void: bool = False) -> tuple[str, ...]:
    found = look(walk.facts, name, rdtype)
    if found.failed:
        raise _Stop("temperror", "dns", name)
    if void and not found.values:
        walk.void += 1
        if walk.void > MAX_VOID:
            raise _Stop("permerror", "spf_void", name)
    return found.values
