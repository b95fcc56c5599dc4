"""Targets and the names that are asked for them (RFC 5782)."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable

from blacklist.rules.types import Kind

LABEL = re.compile(r"^(?!-)[a-z0-9_-]{1,63}(?<!-)$")
MAX_NAME = 253
# 'a.b.example' -> 'b.example'; None for a public suffix itself. The list is not ours to ship: the caller brings it.
RegistrableDomain = Callable[[str], str | None]


def canonical_target(text: str) -> tuple[Kind, str]:
    """(kind, canonical value) of what a person wrote: compressed addresses, IPv4-mapped ones folded,
    lower-case A-labels.

    Raises ValueError with a sentence that says what is wrong.
    """
    text = text.strip().rstrip(".")
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return Kind.DOMAIN, ascii_domain(text)
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return (Kind.IP4 if address.version == 4 else Kind.IP6), str(address)


def ascii_domain(text: str) -> str:
    """Lower-case A-labels. Keeps what IDNA 2008 keeps ('ß' is not 'ss'); raises ValueError for what is no domain."""
    folded = unicodedata.normalize("NFKC", text).lower().replace("。", ".")
    name = ".".join(_ascii_label(label) for label in folded.split("."))
    labels = name.split(".")
    valid = len(labels) >= 2 and len(name) <= MAX_NAME and all(map(LABEL.match, labels))
    if not valid or labels[-1].isdigit():
        raise ValueError(f"{text[:80]!r} is neither an IP address nor a domain name like example.com")
    return name


def _ascii_label(label: str) -> str:
    if label.isascii():
        return label
    return "xn--" + unicodedata.normalize("NFC", label).encode("punycode").decode("ascii")


def reversed_octets(address: ipaddress.IPv4Address) -> str:
    return ".".join(reversed(str(address).split(".")))


def reversed_nibbles(address: ipaddress.IPv6Address) -> str:
    return ".".join(reversed(address.exploded.replace(":", "")))


def prefix_of_address(text: str) -> str:
    """The reversed form of an address exactly as written: ::FFFF:7F00:2, the IPv6 test entry, is IPv6 here.

    Folding mapped addresses is right for targets and fatal for test entries: every IPv6 list would look dead.
    """
    address = ipaddress.ip_address(text)
    return (
        reversed_octets(address) if isinstance(address, ipaddress.IPv4Address) else reversed_nibbles(address)
    )


def query_name(kind: Kind, value: str, zone: str) -> str:
    """The name to ask for a canonical target."""
    prefix = value if kind is Kind.DOMAIN else prefix_of_address(value)
    return f"{prefix}.{zone}"


def names_of_domain(domain: str, registrable: RegistrableDomain) -> tuple[str, ...]:
    """The names to ask for a sender domain: itself and its registrable domain; () for a public suffix,
    which is nobody's."""
    owner = registrable(domain)
    if owner is None:
        return ()
    return (domain,) if owner == domain else (domain, owner)


def is_public_address(value: str) -> bool:
    """Whether asking strangers about the address makes sense: not private, link-local, unspecified or a test entry."""
    address = ipaddress.ip_address(value)
    if address in TEST_ADDRESSES or address.is_unspecified or address.is_multicast or address.is_link_local:
        return False
    return not any(address in network for network in PRIVATE if network.version == address.version)


def is_loopback(value: str) -> bool:
    return ipaddress.ip_address(value).is_loopback


def unrelated_group(kind: Kind, value: str, registrable: RegistrableDomain) -> str:
    """Targets of one group share their fate: a /24, a /64, or a registrable domain."""
    if kind is Kind.DOMAIN:
        return registrable(value) or value
    prefix = 24 if kind is Kind.IP4 else 64
    return str(ipaddress.ip_network(f"{value}/{prefix}", strict=False))


TEST_ADDRESSES = frozenset(map(ipaddress.ip_address, ("127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.2")))
PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
