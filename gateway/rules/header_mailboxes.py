"""The authors that a From, Sender or Resent-From header names, or a refusal when two readers could disagree.

RFC 5322 allows comments, groups and nesting in so many places that mail programs read the same line differently; who
can write such a line can show one author to the check and another to the recipient. So this parser knows the whole
grammar but takes only what everybody reads the same way:

- `a@b`, `Name <a@b>`, `"any, text" <a@b>`, several of them separated by commas, folded in any way;
- comments beside an address, if there is nothing in them that looks like an address;
- encoded words (RFC 2047) in names only.

One pass over the text, no recursion, bounded in size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from gateway.rules.address import parse_mailbox
from gateway.rules.domain_names import AddressError
from gateway.rules.types import Address

__all__ = ["MAX_MAILBOXES", "MAX_VALUE_BYTES", "parse_header_mailboxes"]

MAX_VALUE_BYTES = 8192
MAX_MAILBOXES = 50
MAX_COMMENT_DEPTH = 3

_FOLD = re.compile(r"\r\n(?=[ \t])")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x80-\x9f\u2028\u2029]")
_SPACE = re.compile(r"[ \t]+")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_LITERAL = re.compile(r"\[[^\[\]\\]*\]")
_ATOM = re.compile(r'[^ \t()<>@,;:\\"]+')
_COMMENT_PIECE = re.compile(r"(?:[^()\\]|\\.)*")
_ENCODED_WORD = re.compile(r"=\?[^?]*\?[^?]*\?[^?]*\?=")
_ADDRESS_SIGNS = frozenset("@<>")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # 'space', 'comment', 'quoted', 'atom', 'literal' or one of < > @ ,
    text: str


@lru_cache(maxsize=256)  # a program writes the same author into each of its messages
def parse_header_mailboxes(value: bytes) -> tuple[Address, ...]:
    """All mailboxes of one header value (what follows the colon, still folded), in order; never empty.

    Raises AddressError for a value that is not a list of mailboxes or whose author is open to interpretation: groups,
    routes, comments inside addresses or with addresses in them, encoded words in addresses, bare or second addresses in
    names, controls.
    """
    tokens = _tokens(_unfold(value))
    mailboxes = tuple(_mailbox(part) for part in _split_at_commas(tokens))
    if len(mailboxes) > MAX_MAILBOXES:
        raise AddressError(f"header names more than {MAX_MAILBOXES} mailboxes")
    return mailboxes


def _unfold(value: bytes) -> str:
    if len(value) > MAX_VALUE_BYTES:
        raise AddressError(f"address header is longer than {MAX_VALUE_BYTES} octets")
    # Names in Latin-1 and other old encodings are seen; they become surrogates, which no address may contain.
    text = _FOLD.sub("", value.decode("utf-8", "surrogateescape").removesuffix("\r\n"))
    if _CONTROL.search(text):
        raise AddressError("address header contains control characters")
    return text


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        after_at = bool(tokens) and tokens[-1].kind == "@"
        token = _next_token(text, position, after_at=after_at)
        tokens.append(token)
        position += len(token.text)
    return tokens


def _next_token(text: str, position: int, *, after_at: bool) -> _Token:
    first = text[position]
    if first in "<>@,":
        return _Token(first, first)
    if first in ":;":
        raise AddressError("groups are not allowed in this header")
    if first == "(":
        return _Token("comment", _comment(text, position))
    if first == ")":
        raise AddressError("comment is closed but was not opened")
    kind, pattern = _pattern_for(first, after_at=after_at)
    found = pattern.match(text, position)
    if not found:
        raise AddressError("quotation or literal is not closed")
    return _Token(kind, found.group())


def _pattern_for(first: str, *, after_at: bool) -> tuple[str, re.Pattern[str]]:
    if first in " \t":
        return "space", _SPACE
    if first == '"':
        return "quoted", _QUOTED
    if first == "[" and after_at:
        return "literal", _LITERAL
    return "atom", _ATOM


def _comment(text: str, start: int) -> str:
    """The comment that opens at `start`, nested ones included."""
    depth, position = 1, start + 1
    while depth:
        position = _end_of_piece(text, position)
        if position >= len(text) or depth > MAX_COMMENT_DEPTH or text[position] == "\\":
            raise AddressError("comment is not closed or nested too deep")
        depth += 1 if text[position] == "(" else -1
        position += 1
    comment = text[start:position]
    if _ADDRESS_SIGNS & set(comment):
        raise AddressError("comment contains an address")
    return comment


def _end_of_piece(text: str, position: int) -> int:
    piece = _COMMENT_PIECE.match(text, position)
    return piece.end() if piece else position


def _split_at_commas(tokens: list[_Token]) -> list[list[_Token]]:
    parts: list[list[_Token]] = [[]]
    for token in tokens:
        if token.kind == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _mailbox(tokens: list[_Token]) -> Address:
    inner = _strip(tokens, {"space", "comment"})
    kinds = [token.kind for token in inner]
    if "<" in kinds or ">" in kinds:
        opening = _angle_start(kinds)
        _check_name(inner[:opening])
        inner = _strip(inner[opening + 1 : -1], {"space"})
    return _addr_spec(inner)


def _strip(tokens: list[_Token], kinds: set[str]) -> list[_Token]:
    start, end = 0, len(tokens)
    while start < end and tokens[start].kind in kinds:
        start += 1
    while end > start and tokens[end - 1].kind in kinds:
        end -= 1
    return tokens[start:end]


def _angle_start(kinds: list[str]) -> int:
    if kinds.count("<") != 1 or kinds.count(">") != 1 or kinds[-1] != ">":
        raise AddressError("angle brackets do not enclose exactly one address")
    return kinds.index("<")


def _check_name(tokens: list[_Token]) -> None:
    if any(token.kind == "@" for token in tokens):
        raise AddressError("name contains an address; it must be quoted")


def _addr_spec(tokens: list[_Token]) -> Address:
    if not tokens:
        raise AddressError("address is empty")
    if any(token.kind in {"space", "comment", "<", ">"} for token in tokens):
        raise AddressError("address contains white space or a comment")
    text = "".join(token.text for token in tokens)
    address = parse_mailbox(text, smtputf8=True)
    if address.local[:1] == '"' and _ADDRESS_SIGNS & set(address.local):
        raise AddressError("quoted local part contains an address")
    if _ENCODED_WORD.search(address.local):  # some mail programs decode it, and then read another address
        raise AddressError("address contains an encoded word")
    return address
