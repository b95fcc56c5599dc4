"""MAIL and RCPT with their parameters (RFC 5321, 1870, 3461, 4954, 6152, 6531, 8689): text in, plain values out.

Keywords are taken in any case; values keep theirs. Whatever we don't know, and whatever is given twice, is refused:
a client that believes it asked for something must not be told 250.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.rules.address import AddressError, parse_path
from gateway.rules.types import Address, Reply

MAX_ENVID = 100  # RFC 3461, 4.4
MAX_ORCPT = 500  # RFC 3461, 4.2
NOTIFY_WORDS = frozenset({"SUCCESS", "FAILURE", "DELAY"})

# A path may hold '>' and spaces, but only in a quoted local part.
_PATH = re.compile(r'<(?:"(?:[^"\\]|\\.)*")?[^<>" ]*>')
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+(?:=[^\x00-\x20\x7f]*)?))?\Z")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")
_XTEXT_HEX = re.compile(r"\+([0-9A-F]{2})")
_UTF8_ADDRESS = re.compile(r"(?:[!-*,-<>-\[\]-~\x80-\U0010ffff]|\\x\{[0-9A-F]{2,6}\})+\Z")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}\Z")


class GrammarError(ValueError):
    """A command that cannot be understood or fulfilled; `reply` is what the client is told."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.reply = Reply(code, enhanced, text)


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM, understood."""

    sender: Address | None  # None = <>
    size_bytes: int = 0  # 0 = not announced
    eight_bit: bool = False
    smtputf8: bool = False
    require_tls: bool = False
    ret: str = ""  # FULL | HDRS | ''
    envid: str = ""  # decoded


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT TO, understood."""

    recipient: Address
    notify: frozenset[str] = frozenset()
    orcpt: str = ""  # 'type;address', decoded


def parse_mail(argument: str, *, extended: bool = True, under_tls: bool = False) -> Mail:
    """What follows the word MAIL; raises GrammarError. `extended`: EHLO was said, so parameters are allowed."""
    path, rest = _split_path(argument, "FROM:", "5.1.7")
    given = _parameters(rest, _MAIL_PARAMETERS, extended=extended)
    if "REQUIRETLS" in given and not under_tls:  # RFC 8689, 2: only offered, so only known, under TLS
        raise _unknown("REQUIRETLS")
    smtputf8 = "SMTPUTF8" in given
    return Mail(
        sender=_address(path, "sender", "5.1.7", smtputf8=smtputf8),
        size_bytes=given.get("SIZE", 0),
        eight_bit=given.get("BODY") == "8BITMIME",
        smtputf8=smtputf8,
        require_tls="REQUIRETLS" in given,
        ret=given.get("RET", ""),
        envid=given.get("ENVID", ""),
    )


def parse_rcpt(argument: str, *, extended: bool = True, smtputf8: bool = False) -> Rcpt:
    """What follows the word RCPT; raises GrammarError. `smtputf8`: the transaction was begun with it."""
    path, rest = _split_path(argument, "TO:", "5.1.3")
    given = _parameters(rest, _RCPT_PARAMETERS, extended=extended)
    recipient = _address(path, "recipient", "5.1.3", smtputf8=smtputf8)
    if recipient is None:
        raise GrammarError(501, "5.1.3", "Bad recipient address: it is empty")
    orcpt: str = given.get("ORCPT", "")
    if not orcpt.isascii() and not smtputf8:
        raise _bad("ORCPT")
    return Rcpt(recipient, given.get("NOTIFY", frozenset()), orcpt)


def decode_xtext(text: str) -> str:
    """RFC 3461, 4: '+2B' -> '+'. Raises ValueError for anything that is not xtext of printable ASCII."""
    if not _XTEXT.match(text):
        raise ValueError("not xtext")
    decoded = _XTEXT_HEX.sub(lambda found: chr(int(found.group(1), 16)), text)
    if not decoded.isascii() or not decoded.isprintable():
        raise ValueError("xtext hides characters that are not printable")
    return decoded


def _split_path(argument: str, keyword: str, enhanced: str) -> tuple[str, str]:
    """('<path>', 'the parameters'). One tolerance: spaces between colon and bracket, which many scripts write."""
    if argument[: len(keyword)].upper() != keyword:
        raise GrammarError(
            501, "5.5.4", f"Syntax: {'MAIL' if keyword == 'FROM:' else 'RCPT'} {keyword}<address>"
        )
    text = argument[len(keyword) :].lstrip(" ")
    found = _PATH.match(text)
    if not found or text[found.end() : found.end() + 1] not in {"", " "}:
        what = "sender" if keyword == "FROM:" else "recipient"
        raise GrammarError(501, enhanced, f"Bad {what} address syntax: address must be in angle brackets")
    return found.group(), text[found.end() :].strip(" ")


def _address(path: str, what: str, enhanced: str, *, smtputf8: bool) -> Address | None:
    try:
        return parse_path(path, smtputf8=smtputf8)
    except AddressError as error:
        if not path.isascii() and not smtputf8:  # RFC 6531, 3.5
            raise GrammarError(553, "5.6.7", f"Bad {what} address: {error}") from error
        raise GrammarError(501, enhanced, f"Bad {what} address: {error}") from error


_Readers = dict[str, Callable[[str], Any]]


def _parameters(text: str, known: _Readers, *, extended: bool) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if text and not extended:
        raise GrammarError(555, "5.5.4", "Parameters are allowed after EHLO only")
    for word in text.split():
        name, value = _parameter(word)
        if name not in known:
            raise _unknown(name)
        if name in given:
            raise GrammarError(501, "5.5.4", f"{name} is given twice")
        given[name] = _checked(name, value, known[name])
    return given


def _parameter(word: str) -> tuple[str, str]:
    found = _PARAMETER.match(word)
    if not found:
        raise GrammarError(501, "5.5.4", "Parameter syntax: NAME or NAME=value")
    return found.group(1).upper(), found.group(2) or ""


def _checked(name: str, value: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise _bad(name) from error


def _bad(name: str) -> GrammarError:
    return GrammarError(501, "5.5.4", f"Bad value of {name}")


def _unknown(name: str) -> GrammarError:
    return GrammarError(555, "5.5.4", f"{name[:40]} is not supported")


def _size(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 20):  # RFC 1870, 4
        raise ValueError(value)
    return int(value)


def _body(value: str) -> str:
    return _one_of(value, "7BIT", "8BITMIME")


def _ret(value: str) -> str:
    return _one_of(value, "FULL", "HDRS")


def _one_of(value: str, *words: str) -> str:
    if value.upper() not in words:
        raise ValueError(value)
    return value.upper()


def _flag(value: str) -> bool:
    if value:
        raise ValueError(value)
    return True


def _envid(value: str) -> str:
    if not 0 < len(value) <= MAX_ENVID:
        raise ValueError(value)
    return decode_xtext(value)


def _auth(value: str) -> str:
    """Accepted and ignored, as RFC 4954, 5 allows; who sends is what was logged in."""
    return "" if value == "<>" else decode_xtext(value or "\n")


def _notify(value: str) -> frozenset[str]:
    words = value.upper().split(",")
    if words == ["NEVER"] or (len(set(words)) == len(words) and NOTIFY_WORDS.issuperset(words)):
        return frozenset(words)
    raise ValueError(value)


def _orcpt(value: str) -> str:
    kind, semicolon, address = value.partition(";")
    if not semicolon or not address or len(value.encode()) > MAX_ORCPT or not _ADDRESS_TYPE.match(kind):
        raise ValueError(value)
    if kind.lower() == "utf-8" and _UTF8_ADDRESS.match(address):  # RFC 6533, 3: passed on as it is
        return value
    return f"{kind};{decode_xtext(address)}"


_MAIL_PARAMETERS: _Readers = {
    "SIZE": _size,
    "BODY": _body,
    "SMTPUTF8": _flag,
    "AUTH": _auth,
    "RET": _ret,
    "ENVID": _envid,
    "REQUIRETLS": _flag,
}
_RCPT_PARAMETERS: _Readers = {"NOTIFY": _notify, "ORCPT": _orcpt}
