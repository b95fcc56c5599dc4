"""Builds the reports we send: non-delivery, delay and delivery (RFC 3464 in the frame of RFC 6522, RFC 6533 forms).

Pure: the same input gives the same octets. Who gets one is decided in `rules/notify.py`; the words for people are in
`ndr_text.py`, the fields for machines in `rules/dsn.py`. A report goes out from the null sender and is marked as made
by a machine, so that nothing answers it (RFC 3834, RFC 5321 4.5.5).
"""

from __future__ import annotations

import hashlib
import quopri
import re
from email.header import Header
from email.utils import format_datetime
from typing import NamedTuple

from gateway.codes import code_dictionary
from gateway.ndr_text import human_part, words
from gateway.rules import headers
from gateway.rules.dsn import ACTIONS, ReportInput, clean, delivery_status

MAX_FULL_BYTES = 64 * 1024  # RET=FULL is obeyed up to here; bigger messages come back as their head
MAX_HEAD_BYTES = 32 * 1024
MAX_LINE = 998
SUBJECT_MAX_CHARS = 100

_MESSAGE_ID = re.compile(rb"<[!-;=?-~]{1,400}>")


class ReportError(ValueError):
    """There is nothing that could be reported: no recipient, no sender, or an unknown kind."""


class Part(NamedTuple):
    """One body part: its MIME header lines and its octets, both with CRLF."""

    head: str
    body: bytes


def build_report(kind: str, report: ReportInput) -> bytes:
    """The whole message, CRLF line ends, to be sent from <> to `report.sender`. `kind`: failed | delayed | delivered |
    relayed; it names the report and must be the action of all recipients. It is 7 bit unless it returns 8-bit content
    or `report.is_international`. Raises ReportError."""
    _check(kind, report)
    subject = headers.subject(report.original)
    parts = [
        _text_part(human_part(kind, report, subject, code_dictionary())),
        _status_part(report),
        *_original_parts(kind, report),
    ]
    return _assemble(_top_headers(kind, report, subject), parts, report)


def _check(kind: str, report: ReportInput) -> None:
    if kind not in ACTIONS:
        raise ReportError(f"unknown kind {kind!r}: expected one of {', '.join(ACTIONS)}")
    if not report.recipients or any(item.action != kind for item in report.recipients):
        raise ReportError(f"a report of kind {kind!r} needs recipients with that action")
    if not report.sender:
        raise ReportError("the null sender gets no report (RFC 5321 4.5.5)")


# ---------------------------------------------------------------- header


def _top_headers(kind: str, report: ReportInput, subject: str) -> list[str]:
    host = report.reporting_mta
    lines = [
        f"From: Mail Delivery System <mailer-daemon@{host}>",
        f"To: {clean(report.sender, wide=report.is_international)}",
        f"Subject: {_encoded_subject(words(report.language).subject[kind], subject)}",
        f"Date: {format_datetime(report.now)}",
        f"Message-ID: <{_digest(report, 'id')}@{host}>",
        *_thread_headers(report.original),
        "Auto-Submitted: auto-replied",
        "X-Auto-Response-Suppress: All",
        f"Content-Language: {words(report.language).code}",
        "MIME-Version: 1.0",
    ]
    return [line + "\r\n" for line in lines]


def _encoded_subject(prefix: str, subject: str) -> str:
    """RFC 2047 where needed; always for a text that looks encoded already, or it would be decoded once more."""
    text = f"{prefix}: {subject[:SUBJECT_MAX_CHARS]}" if subject else prefix
    charset = "us-ascii" if text.isascii() and "=?" not in text else "utf-8"
    return Header(text, charset, header_name="Subject").encode(linesep="\r\n")


def _thread_headers(original: bytes) -> list[str]:
    """RFC 3834 3.1.5: shown below the message it is about."""
    try:
        values = headers.find(headers.read_fields(original), b"message-id")
    except headers.HeadError:
        return []
    if not values or not _MESSAGE_ID.fullmatch(values[0]):
        return []
    message_id = values[0].decode("ascii")
    return [f"In-Reply-To: {message_id}", f"References: {message_id}"]


# ---------------------------------------------------------------- parts


def _text_part(text: str) -> Part:
    text = text.replace("\n", "\r\n")
    if text.isascii() and _lines_are_short(text.encode()):
        return Part(_part_head("text/plain; charset=us-ascii", "7bit"), text.encode())
    return Part(_part_head("text/plain; charset=utf-8", "quoted-printable"), _quoted(text.encode()))


def _status_part(report: ReportInput) -> Part:
    status = delivery_status(report).encode()
    if report.is_international:
        return Part(_part_head("message/global-delivery-status", "8bit"), status)
    return Part(_part_head("message/delivery-status", "7bit"), status)


def _original_parts(kind: str, report: ReportInput) -> list[Part]:
    """The third part: the whole message only for a failure, on request, when it is small and not dangerous."""
    if (
        kind == "failed"
        and report.ret == "FULL"
        and report.quote_body
        and len(report.original) <= MAX_FULL_BYTES
    ):
        return [_whole_part(report)]
    head = _original_head(report.original)
    return [_head_part(head, wide=report.is_international)] if head else []


def _whole_part(report: ReportInput) -> Part:
    encoding = "7bit" if report.original.isascii() else "8bit"
    kind = "message/global" if report.is_international else "message/rfc822"
    return Part(_part_head(kind, encoding), report.original)


def _head_part(head: bytes, *, wide: bool) -> Part:
    if wide:
        return Part(_part_head("message/global-headers", "8bit"), head)
    if head.isascii() and _lines_are_short(head):
        return Part(_part_head("text/rfc822-headers", "7bit"), head)
    return Part(_part_head("text/rfc822-headers", "quoted-printable"), _quoted(head))


def _original_head(original: bytes) -> bytes:
    """The original's fields as they were, up to 32 KiB of whole fields; nothing of the body."""
    try:
        fields = headers.read_fields(original)
    except headers.HeadError:
        return b""
    kept: list[bytes] = []
    room = MAX_HEAD_BYTES
    for field in fields:
        room -= len(field.raw)
        if room < 0:
            break
        kept.append(field.raw)
    return b"".join(kept)


def _part_head(content_type: str, encoding: str) -> str:
    return f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n"


def _lines_are_short(octets: bytes) -> bool:
    return max(map(len, octets.split(b"\r\n"))) <= MAX_LINE and b"\0" not in octets


def _quoted(octets: bytes) -> bytes:
    lines = octets.replace(b"\r\n", b"\n")
    return quopri.encodestring(lines).replace(b"\r", b"=0D").replace(b"\n", b"\r\n")


# ---------------------------------------------------------------- frame


def _assemble(top: list[str], parts: list[Part], report: ReportInput) -> bytes:
    bodies = [f"{part.head}\r\n".encode() + part.body for part in parts]
    boundary = _boundary(report, b"".join(bodies))
    kind = "global-delivery-status" if report.is_international else "delivery-status"
    top = [
        *top,
        f'Content-Type: multipart/report; report-type={kind};\r\n\tboundary="{boundary}"\r\n',
        *(["Content-Transfer-Encoding: 8bit\r\n"] if not b"".join(bodies).isascii() else []),
    ]
    mark = f"--{boundary}\r\n".encode()
    framed = b"".join(mark + body + b"\r\n" for body in bodies)
    return "".join(top).encode() + b"\r\n" + framed + f"--{boundary}--\r\n".encode()


def _boundary(report: ReportInput, content: bytes) -> str:
    """From the seed, and never a string that the quoted message holds (it could guess one and end its part)."""
    number = 0
    while (boundary := f"=_{_digest(report, f'boundary {number}')}").encode() in content:
        number += 1
    return boundary


def _digest(report: ReportInput, purpose: str) -> str:
    text = f"{purpose}\0{report.seed}\0{report.queue_id}\0{report.reporting_mta}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
