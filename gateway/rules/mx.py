"""Where mail for a domain goes: order of MX hosts, the null MX, addresses that nobody's MX may point to.

RFC 5321 section 5.1 (order, fall-back to the address), RFC 7505 (null MX). Pure: randomness and addresses come in.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from gateway.rules.types import Reply

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOSTS = 10  # of a domain with a hundred MX hosts we try the first ten
MAX_ADDRESSES_PER_HOST = 6

NULL_MX = Reply(556, "5.1.10", "Recipient domain does not accept mail (null MX)")
NO_SUCH_DOMAIN = Reply(550, "5.1.2", "Recipient domain does not exist")
NO_ADDRESS = Reply(550, "5.4.4", "Recipient domain has neither MX nor address")
NO_ADDRESS_OF_MX = Reply(550, "5.4.4", "No mail server of the recipient domain has an address")
MX_LOOP = Reply(554, "5.4.6", "Mail for this domain loops back to us")
DNS_FAILURE = Reply(451, "4.4.3", "DNS lookup of the recipient domain failed")
FORBIDDEN_ADDRESS = Reply(
    550, "5.4.4", "Mail servers of the recipient domain point to an address that is not public"
)


@dataclass(frozen=True, slots=True, order=True)
class MxRecord:
    """One MX record; `host` is lower case without the final dot, '' for the root (null MX)."""

    preference: int
    host: str


def is_null_mx(records: Sequence[MxRecord]) -> bool:
    """Exactly one record that points to the root (RFC 7505 section 3)."""
    return len(records) == 1 and records[0].host == ""


def ordered_hosts(records: Iterable[MxRecord], rng: random.Random) -> tuple[str, ...]:
    """Hosts by preference, shuffled among equals, each once; the root beside real hosts is skipped."""
    hosts: list[str] = []
    for _, group in groupby(sorted(records), key=lambda record: record.preference):
        equals = [record.host for record in group if record.host]
        rng.shuffle(equals)
        hosts.extend(equals)
    return tuple(dict.fromkeys(hosts))[:MAX_HOSTS]


def ordered_records(records: Iterable[MxRecord]) -> list[MxRecord]:
    """The records worth looking up: most preferred first, real hosts only, at most MAX_HOSTS."""
    first: dict[str, MxRecord] = {}
    for record in sorted(records):
        if record.host:
            first.setdefault(record.host, record)
    return list(first.values())[:MAX_HOSTS]


def before_own(records: Iterable[MxRecord], own_hosts: Collection[str]) -> list[MxRecord]:
    """The records more preferred than any that names us (RFC 5321 section 5.1): an empty result is a loop."""
    found = sorted(records)
    own = [record.preference for record in found if record.host in own_hosts]
    return [record for record in found if record.preference < own[0]] if own else found


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
_SIX_TO_FOUR = ipaddress.ip_network("2002::/16")


def embedded_ipv4(address: IPAddress) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside a mapped, NAT64 or 6to4 one: what the packets really reach."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return ipaddress.IPv4Address((int(address) >> 80) & 0xFFFFFFFF)
    if int(address) >> 32 == 0 and int(address) > 1:  # ::a.b.c.d, deprecated but routed by some stacks
        return ipaddress.IPv4Address(int(address))
    return None


def forbidden(
    ip: str, own_addresses: Collection[str], allowed_networks: Iterable[IPNetwork] = ()
) -> str | None:
    """Why mail must not go to this address, or None when it may.

    `own_addresses` are the relay's (canonical text); `allowed_networks` are the operator's exceptions
    (SMG_PRIVATE_MX_NETWORKS), they lift everything but 'own'. An unreadable address is forbidden.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return "invalid"
    if str(address) in own_addresses:
        return "own"
    if any(address.version == network.version and address in network for network in allowed_networks):
        return None
    inner = embedded_ipv4(address)
    return (
        _not_public(address, inner)
        if inner is None
        else forbidden(str(inner), own_addresses) or _mapped(address)
    )


def _mapped(address: IPAddress) -> str | None:
    # A public IPv4 address in IPv6 clothes: NAT64 is a real way out, the mapped form only hides from checks.
    return None if address in _NAT64 else "mapped"


def _not_public(address: IPAddress, inner: ipaddress.IPv4Address | None) -> str | None:
    checks = (
        ("unspecified", address.is_unspecified or (address.version == 4 and int(address) >> 24 == 0)),
        ("loopback", address.is_loopback),
        ("link_local", address.is_link_local),
        ("multicast", address.is_multicast),
        ("private", address.is_private or address in _NAT64_LOCAL or not address.is_global),
    )
    return next((reason for reason, holds in checks if holds), None)


def sender_domain_verdict(mx: Sequence[MxRecord] | None, addresses: Sequence[str] | None) -> bool:
    """Whether a sender domain can be answered: a real MX, else an A or AAAA record (RFC 5321 section 5.1).

    None = the name does not exist. A null MX says that nobody reads there (RFC 7505 section 4.2). AAAA counts like A:
    a domain on IPv6 alone can receive its bounces.
    """
    if mx is None:
        return False
    if any(record.host for record in mx):
        return True
    return not mx and bool(addresses)
