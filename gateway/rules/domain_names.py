"""Domain names in one canonical form: lower case, A-labels (RFC 5890), no trailing dot; and address literals.

Our own encoder instead of the standard library's `idna` codec: that one is IDNA 2003, which turns "straße" into
"strasse", another domain that may belong to somebody else. A U-label is taken only when its meaning is beyond doubt:
already normal (NFKC), nothing but letters, marks, digits and hyphens.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata

MAX_DOMAIN = 253  # the 255 of RFC 5321 and RFC 1035 count the DNS's own first length octet and its root
MAX_LABEL = 63

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_LDH_LABEL = re.compile(rf"{_LABEL}\Z")
_ASCII_DOMAIN = re.compile(r"(?:LABEL\.)*LABEL\Z".replace("LABEL", _LABEL))
_STABLE_BY_DECREE = "ßς"
_U_LABEL_CATEGORIES = frozenset({"Ll", "Lo", "Lm", "Mn", "Mc", "Nd"})


class AddressError(ValueError):
    """Text that is not one unambiguous address or domain; the sentence is fit for a client."""


def parse_domain(text: str, *, smtputf8: bool = True) -> str:
    """The canonical form of a domain name, or of an address literal in brackets; raises AddressError.

    U-labels are accepted with `smtputf8` only (RFC 6531, 3.3).
    """
    if text[:1] == "[":
        return parse_literal(text)
    name = text.lower() if text.isascii() else _encode(text, smtputf8=smtputf8)
    if len(name) > MAX_DOMAIN:
        raise AddressError(f"domain is longer than {MAX_DOMAIN} octets")
    if not _ASCII_DOMAIN.match(name):
        raise AddressError("domain is not a valid host name")
    last_label = name.rpartition(".")[2]
    if last_label.isdigit():  # 192.0.2.1 without brackets, or 192.1: resolvers take it for an address
        raise AddressError("domain is a bare number; address literals need brackets")
    return name


def parse_literal(text: str) -> str:
    """'[192.0.2.1]' or '[IPv6:2001:db8::1]' (RFC 5321, 4.1.3) in canonical spelling; raises AddressError."""
    inner = text[1:-1]
    if len(text) > 60 or text[:1] != "[" or text[-1:] != "]":
        raise AddressError("address literal is not closed")
    try:
        if inner[:5].lower() == "ipv6:" and "%" not in inner:
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError as error:
        raise AddressError("address literal is not an IP address") from error


def _encode(text: str, *, smtputf8: bool) -> str:
    if not smtputf8:
        raise AddressError("domain is not ASCII and SMTPUTF8 was not requested")
    if len(text) > MAX_DOMAIN:
        raise AddressError(f"domain is longer than {MAX_DOMAIN} octets")
    return ".".join(_encode_label(label) for label in text.split("."))


def _encode_label(label: str) -> str:
    if label.isascii():
        return label.lower()
    lower = label.lower()
    if unicodedata.normalize("NFKC", label) != label or not _is_stable(lower):
        raise AddressError("domain has characters that are not in normal form")
    if not _is_u_label(lower):
        raise AddressError("domain has characters that are not allowed in names")
    encoded = "xn--" + lower.encode("punycode").decode("ascii")
    if len(encoded) > MAX_LABEL or not _LDH_LABEL.match(encoded):
        raise AddressError("domain has a label that is too long")
    return encoded


def _is_stable(label: str) -> bool:
    """Whether no other spelling of it means the same (RFC 5892, 2.2, with the two exceptions of its 2.6)."""
    folded = "".join(char if char in _STABLE_BY_DECREE else char.casefold() for char in label)
    return unicodedata.normalize("NFKC", folded) == label


def _is_u_label(label: str) -> bool:
    if label[0] == "-" or label[-1] == "-" or label[2:4] == "--":
        return False
    if unicodedata.category(label[0]) in {"Mn", "Mc"}:
        return False
    return all(
        character == "-" or unicodedata.category(character) in _U_LABEL_CATEGORIES for character in label
    )
