"""Bytes to text whatever the label says: a lying or unknown charset never raises and never costs much.

Only plain text charsets are honoured. Python knows codecs that are no charsets (`punycode` is quadratic, `zlib`
inflates); a stranger must not be able to name one.
"""

from __future__ import annotations

import binascii
import re

_KNOWN = re.compile(
    r"(?:us-?ascii|utf-?8|utf-?16(?:[bl]e)?|iso-?8859-?\d{1,2}|(?:windows|cp)-?\d{3,4}|koi8-[rut]|gb2312|gbk|gb18030|"
    r"big5(?:-hkscs)?|euc-(?:jp|kr)|shift_jis|iso-2022-(?:jp|kr)|ks_c_5601-1987|macintosh|tis-620)",
    re.ASCII,
)
_ENCODED_WORD = re.compile(rb"=\?([\w.:*-]{1,40}+)\?([bBqQ])\?([^?\s]{0,1000}+)\?=(?:[ \t]{1,20}(?==\?))?")


def charset_name(label: str) -> str:
    """The label in one spelling, "" when it is none that we honour."""
    name = label.strip().lower()[:30]
    return name if _KNOWN.fullmatch(name) else ""


def decode_text(data: bytes, label: str) -> str:
    """Text of `data`; UTF-8 is tried when the label is missing, unknown or wrong, then Windows-1252."""
    name = charset_name(label)
    for candidate in (name, "utf-8"):
        if candidate:
            try:
                return data.decode(candidate)
            except (UnicodeDecodeError, LookupError):
                continue
    if name:
        try:
            return data.decode(name, "replace")
        except LookupError:
            pass
    return data.decode("cp1252", "replace")


def decode_words(value: bytes) -> str:
    """A header's text, RFC 2047 words decoded; at most 1,000 bytes of each word are looked at."""
    if b"=?" in value:
        value = _ENCODED_WORD.sub(_decoded, value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("cp1252", "replace")


def _decoded(word: re.Match[bytes]) -> bytes:
    label, kind, payload = word.groups()
    if kind in b"qQ":
        data = binascii.a2b_qp(payload, header=True)
    else:
        data = _lenient_base64(payload)
    return decode_text(data, label.decode("ascii", "replace").partition("*")[0]).encode("utf-8", "replace")


def _lenient_base64(payload: bytes) -> bytes:
    try:
        return binascii.a2b_base64(payload + b"=" * (-len(payload) % 4))
    except binascii.Error:
        return b""
