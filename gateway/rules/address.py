"""Mailboxes and paths by the grammar of RFC 5321 (4.1.2) and RFC 6531 (3.3), strictly: no comments, no source routes,
no white space, no controls. What comes out is the one canonical form that every check uses.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from gateway.rules.domain_names import AddressError, parse_domain
from gateway.rules.types import Address

__all__ = ["MAX_LOCAL", "MAX_PATH", "AddressError", "parse_domain", "parse_mailbox", "parse_path"]

MAX_LOCAL = 64  # octets, RFC 5321, 4.5.3.1.1
MAX_PATH = 256  # octets with the angle brackets, RFC 5321, 4.5.3.1.3

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]"
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*\Z")
_QUOTED_STRING = re.compile(r'"(?:[ !#-\[\]-~\x80-\U0010ffff]|\\[ -~])+"\Z')
_QUOTED_PREFIX = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ALLOWED = " \u200c\u200d"  # space (only in quotes, by the grammar above); joiners of the scripts of India and Persia
# Controls, surrogates (= octets that were not UTF-8), unassigned, private, format (bidirectional overrides), separators
_BAD_CATEGORIES = frozenset({"Cc", "Cs", "Cn", "Co", "Cf", "Zs", "Zl", "Zp"})


def parse_path(text: str, *, smtputf8: bool) -> Address | None:
    """'<local@domain>' of MAIL or RCPT, brackets included -> Address; '<>' -> None; raises AddressError."""
    if text == "<>":
        return None
    if len(text) < 3 or text[0] != "<" or text[-1] != ">":
        raise AddressError("address must be in angle brackets")
    return parse_mailbox(text[1:-1], smtputf8=smtputf8)


@lru_cache(maxsize=4096)
def parse_mailbox(text: str, *, smtputf8: bool = True) -> Address:
    """'local@domain' without brackets -> Address in canonical form; raises AddressError.

    A quoted local part is kept whole, with its quotes: in `"a@evil"@good` the domain is `good`.
    """
    if len(text) > MAX_PATH - 2:
        raise AddressError(f"address is longer than {MAX_PATH} octets")
    local, domain = _split(text)
    _check_local(local, smtputf8=smtputf8)
    address = Address(local, parse_domain(domain, smtputf8=smtputf8))
    if len(local.encode()) + len(address.domain) + 3 > MAX_PATH:
        raise AddressError(f"address is longer than {MAX_PATH} octets")
    return address


def _split(text: str) -> tuple[str, str]:
    if text[:1] == '"':
        quoted = _QUOTED_PREFIX.match(text)
        end = quoted.end() if quoted else 0
        if not end or text[end : end + 1] != "@":
            raise AddressError("quoted local part must be followed by @ and a domain")
        return text[:end], text[end + 1 :]
    local, at, domain = text.partition("@")
    if not at:
        raise AddressError("address has no domain")
    return local, domain


def _check_local(local: str, *, smtputf8: bool) -> None:
    if not (_QUOTED_STRING if local[:1] == '"' else _DOT_STRING).match(local):
        raise AddressError("local part is not valid")
    if local.isascii():
        if len(local) > MAX_LOCAL:
            raise AddressError(f"local part is longer than {MAX_LOCAL} octets")
        return
    if not smtputf8:
        raise AddressError("address is not ASCII and SMTPUTF8 was not requested")
    if any(_is_bad(character) for character in local):
        raise AddressError("local part has characters that cannot be shown")
    if len(local.encode()) > MAX_LOCAL:
        raise AddressError(f"local part is longer than {MAX_LOCAL} octets")


def _is_bad(character: str) -> bool:
    return unicodedata.category(character) in _BAD_CATEGORIES and character not in _ALLOWED
