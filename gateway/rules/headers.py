"""The head of a message, read and prepared as bytes: never through a parser that would write it anew.

A message is `head CRLF body`. The head ends at the first empty line, or at the first line that is no header field
(as Postfix reads it); `prepare` then puts the missing empty line in, so that every reader after us splits where we did.
All line ends are CRLF already: accept refuses bare CR, LF and NUL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from email.errors import MessageError
from email.header import decode_header
from email.utils import format_datetime
from functools import lru_cache
from typing import NamedTuple

from gateway.rules.ids import to_text
from gateway.rules.origin import hide_ids, is_origin, names_client
from gateway.rules.types import Envelope

MAX_HEAD_BYTES = 512 * 1024
MAX_FIELDS = 2000
CACHED_HEAD_BYTES = 16 * 1024
SUBJECT_MAX_CHARS = 250

AUTHOR_NAMES = ("from", "sender", "resent-from", "resent-sender")
ID_NAMES = frozenset({b"message-id", b"in-reply-to", b"references", b"resent-message-id"})

# RFC 5322 2.2 field, with the obsolete white space before the colon (4.5); folded lines belong to the value.
_FIELD = re.compile(rb"([!-9;-~]{1,998})([ \t]*):([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n")
_FIELD_BEGIN = re.compile(rb"[!-9;-~]{1,998}[ \t]*:|[ \t]")
_MBOX_FROM = re.compile(
    rb">?From (?![ \t]*:)[^\r\n]*\r\n"
)  # a mailbox file's separator that slipped into the mail
_BLANK_FOLD = re.compile(
    rb"\r\n[ \t]+(?=\r\n)"
)  # a folded line of white space only: some readers end the head here
_VT_FF = bytes.maketrans(b"\x0b\x0c", b"  ")  # white space to some verifiers, text to others
_HIDDEN_HOPS = re.compile(rb"\(origin hidden, hops (\d{1,4})\)")
# C0, DEL, C1, the marks that reorder text, and lone surrogates, which cannot even be stored.
_UNSHOWABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"
)


class HeadError(ValueError):
    """The head is beyond the limits. To the client: 550 5.6.0, with this text."""


class Field(NamedTuple):
    """One header field. `name` is lower case, `value` still folded and without its last CRLF, `raw` the whole field."""

    name: bytes
    value: bytes
    raw: bytes


class Message(NamedTuple):
    """A message split for good: its fields in order, and the body behind the empty line."""

    fields: tuple[Field, ...]
    body: bytes


class Prepared(NamedTuple):
    """A message as it may leave, before signing, without a second copy of its body."""

    fields: tuple[Field, ...]
    body: memoryview  # of the message as it came
    end: bytes  # CRLF, where the last line was left open

    def octets(self, signature: bytes = b"") -> bytes:
        """The whole, with a signature field in front."""
        return b"".join((signature, *[field.raw for field in self.fields], b"\r\n", self.body, self.end))


def split(message: bytes) -> Message:
    """Fields and body of a message. Raises HeadError beyond 512 KiB of head or 2000 fields."""
    fields, start = _locate(message)
    return Message(fields, message[start:])


def read_fields(message: bytes) -> tuple[Field, ...]:
    """The fields alone, without a copy of the body. Raises HeadError."""
    return _locate(message)[0]


def _locate(message: bytes) -> tuple[tuple[Field, ...], int]:
    """The fields, and where the body begins."""
    empty_line = 0 if message.startswith(b"\r\n") else message.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES + 4) + 2
    is_cut = empty_line == 1 and len(message) > MAX_HEAD_BYTES
    head = message[: MAX_HEAD_BYTES if empty_line == 1 else empty_line]
    fields, stop = _parse_cached(head) if len(head) <= CACHED_HEAD_BYTES else _parse(head)
    if is_cut and (stop == len(head) or _FIELD_BEGIN.match(message, stop)):
        raise HeadError("header section is too big")
    return fields, stop + 2 if message.startswith(b"\r\n", stop) else stop


def _parse(head: bytes) -> tuple[tuple[Field, ...], int]:
    fields: list[Field] = []
    mbox = _MBOX_FROM.match(head)
    stop = mbox.end() if mbox else 0
    while found := _FIELD.match(head, stop):
        if len(fields) == MAX_FIELDS:
            raise HeadError("too many header fields")
        fields.append(_normal_field(found))
        stop = found.end()
    return tuple(fields), stop


# Each message's head is asked for its authors, hops, subject and ids, then prepared and signed: parsed once or twice.
_parse_cached = lru_cache(maxsize=32)(_parse)


def _normal_field(found: re.Match[bytes]) -> Field:
    """The field as it stands, with the three oddities gone that readers disagree about."""
    raw, name, gap, value = found.group(0, 1, 2, 3)
    if gap or b"\x0b" in value or b"\x0c" in value or (b"\n" in value and _BLANK_FOLD.search(raw)):
        return _field(name, _BLANK_FOLD.sub(b"", value.translate(_VT_FF) + b"\r\n")[:-2])
    return Field(name.lower(), value, raw)


def _field(name: bytes, value: bytes) -> Field:
    return Field(name.lower(), value, name + b":" + value + b"\r\n")


def find(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """The unfolded values of every field of this (lower-case) name, in order."""
    return [unfold(field.value) for field in fields if field.name == name]


def unfold(value: bytes) -> bytes:
    """RFC 5322 2.2.3: the CRLFs go, the white space stays; stripped at both ends."""
    return value.replace(b"\r\n", b"").strip(b" \t")


def author_headers(message: bytes) -> dict[str, list[bytes]]:
    """Raw, unfolded values of 'from', 'sender', 'resent-from' and 'resent-sender', all of them, in order; every key
    is there. Raises HeadError."""
    fields = read_fields(message)
    return {name: find(fields, name.encode()) for name in AUTHOR_NAMES}


def subject(message: bytes) -> str:
    """The subject as a person reads it: RFC 2047 decoded, without control and direction marks, at most 250
    characters; '' when there is none. Never fails: an unreadable head has no subject."""
    try:
        values = find(read_fields(message), b"subject")
    except HeadError:
        return ""
    return decode_text(values[0]) if values else ""


def decode_text(value: bytes, max_chars: int = SUBJECT_MAX_CHARS) -> str:
    """An unstructured header value as safe text on one line. Broken encoded words are shown as they stand."""
    text = value[: 4 * 1024].decode("utf-8", "replace")  # the cap keeps the standard decoder linear
    with suppress(MessageError, ValueError):  # not base64: the raw words are still worth showing
        text = "".join(_decode_part(part, charset) for part, charset in decode_header(text))
    return showable(text)[:max_chars]


def showable(text: str) -> str:
    """A stranger's words on one line, without controls and marks that would reorder what stands beside them."""
    return " ".join(_UNSHOWABLE.sub(" ", text).split())


def _decode_part(part: bytes | str, charset: str | None) -> str:
    if isinstance(part, str):
        return part
    if charset is None:  # the standard library hands raw text on as raw-unicode-escape
        return part.decode("raw-unicode-escape", "replace")
    try:
        return part.decode(charset, "replace")
    except (LookupError, ValueError):  # no such charset, or one that is no charset ('hex', 'undefined', NUL)
        return part.decode("ascii", "replace")


def count_received(message: bytes) -> int:
    """Hops so far: the Received fields, and those of earlier passes that we hid (told in a comment of ours). The
    check step refuses beyond its limit (RFC 5321 6.3). Raises HeadError."""
    return _count_hops(read_fields(message))


def _count_hops(fields: Iterable[Field]) -> int:
    received = [field.value for field in fields if field.name == b"received"]
    return len(received) + sum(int(hops) for value in received for hops in _HIDDEN_HOPS.findall(value[:4096]))


def prepare(message: bytes, envelope: Envelope, *, our_hostname: str, message_id_domain: str) -> Prepared:
    """The message as it may leave, before signing: origin hidden, Date and Message-ID there, our Received in front.

    The same message and envelope give the same octets at every attempt. Nothing in the body changes; a last line
    that BDAT left open is closed, as it would be on the wire after the signature. Which fields go is the table in
    `rules/origin.py`. Raises HeadError.
    """
    fields, start = _locate(message)
    kept = [
        _hide_ids(field, envelope, message_id_domain)
        for field in fields
        if not _tells_origin(field, envelope)
    ]
    received = _received(envelope, _count_hops(fields), our_hostname)
    prepared = (received, *kept, *_missing(fields, envelope, message_id_domain))
    is_closed = start == len(message) or message.endswith(b"\r\n", start)
    return Prepared(prepared, memoryview(message)[start:], b"" if is_closed else b"\r\n")


def _tells_origin(field: Field, envelope: Envelope) -> bool:
    return is_origin(field.name) or names_client(field.name, field.value, envelope.client_ip)


def _hide_ids(field: Field, envelope: Envelope, domain: str) -> Field:
    if field.name not in ID_NAMES:
        return field
    hidden = hide_ids(field.value, envelope.client_ip, domain)
    return field if hidden == field.value else _field(field.raw[: len(field.name)], hidden)


def _received(envelope: Envelope, hops: int, our_hostname: str) -> Field:
    """RFC 5321 4.4 trace field without the client: neither address nor HELO name, and no recipient (Bcc). Mail of our
    own (reports, alerts) came from nobody."""
    by, at = f"by {our_hostname}", f"id {to_text(envelope.id)};\r\n\t{_date(envelope.received_at)}"
    if envelope.customer_id is None:
        text = f" {by} {at}"
    else:
        comment = f"(origin hidden, hops {min(hops, 9999)})" if hops else "(origin hidden)"
        text = f" from authenticated-user {comment}\r\n\t{by} with {envelope.with_protocol} {at}"
    return _field(b"Received", text.encode("ascii", "replace"))


def _missing(fields: Iterable[Field], envelope: Envelope, domain: str) -> list[Field]:
    names = {field.name for field in fields}
    added = []
    if b"date" not in names:
        added.append(_field(b"Date", f" {_date(envelope.received_at)}".encode()))
    if b"message-id" not in names:
        added.append(_field(b"Message-ID", f" {own_message_id(envelope, domain)}".encode()))
    return added


def own_message_id(envelope: Envelope, domain: str) -> str:
    """What a message without a Message-ID gets (RFC 5322 3.6.4); the same at every attempt."""
    return f"<{envelope.received_at:%Y%m%d%H%M%S}.{to_text(envelope.id)}@{domain}>"


def _date(moment: datetime) -> str:
    return _date_of_second(moment.replace(microsecond=0))


_date_of_second = lru_cache(maxsize=16)(format_datetime)  # shared by all that comes within it
