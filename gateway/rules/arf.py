"""Feedback reports: a mailbox provider tells that one of its users complained about a message (ARF, RFC 5965).

Strangers write these bytes. Whatever they are, nothing but NotAReportError is raised; what is read is bounded, and
every value is cut and cleaned. Only Feedback-Type must be there, once: the other fields that RFC 5965 3.1 asks for
are missing in reports of the wild.
"""

from __future__ import annotations

import binascii
import hashlib
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.rules import headers

READ_BYTES = 2 * 1024 * 1024  # the report stands in front of the message it is about, whose head is enough
MAX_PARTS = 20
MAX_VALUE = 500
# What a person said about a message. The others are no complaints: not-spam (RFC 6430), auth-failure (RFC 6591).
COMPLAINTS = frozenset({"abuse", "fraud", "virus", "other"})
KNOWN = COMPLAINTS | {"not-spam", "auth-failure"}

_PARAMETER = re.compile(rb';\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')
_QUEUE_ID = re.compile(rb"\bid\s+([0-9A-Za-z]{13})\s*;")
_ADDRESS = re.compile(r"[^\s<>\"]{1,64}@[\w.-]{1,255}")


class NotAReportError(ValueError):
    """The message is no feedback report; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class FeedbackReport:
    """What a report says; '' where it does not."""

    kind: str  # of KNOWN; what nobody knows is 'other' (RFC 5965 3.1)
    reporter: str  # address in the report's From
    user_agent: str
    sender: str  # Original-Mail-From
    recipient: str  # Original-Rcpt-To, the first
    source_ip: str
    queue_ids: tuple[str, ...]  # what looks like one of ours in its Received fields, the newest first
    message_id: str  # with its angle brackets
    author: str  # the From field of the reported message
    digest: str  # the same report has the same

    @property
    def is_complaint(self) -> bool:
        return self.kind in COMPLAINTS

    def is_about(self, *domains: str) -> bool:
        """Whether the reported message names one of these as its sender's domain."""
        said = {_domain(address) for address in (*_ADDRESS.findall(self.author), self.sender)} - {""}
        return bool(said & {domain.lower() for domain in domains})


def parse(raw: bytes) -> FeedbackReport:
    """Raises NotAReportError."""
    message = raw[:READ_BYTES].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    fields, body = _split(message)
    parts = _parts(_boundary(fields), body)
    feedback_bytes = _first(parts, b"message/feedback-report")
    if feedback_bytes is None:
        raise NotAReportError("no part of type message/feedback-report")
    reported_bytes = (
        _first(parts, b"message/rfc822", b"text/rfc822-headers", b"message/rfc822-headers") or b""
    )
    feedback = _split(feedback_bytes.strip(b"\r\n") + b"\r\n\r\n")[0]
    reported = _split(reported_bytes.lstrip(b"\r\n") + b"\r\n")[0]
    said = headers.find(fields, b"message-id")
    return FeedbackReport(
        kind=_kind(feedback),
        reporter=_address(_value(fields, b"from")),
        user_agent=_value(feedback, b"user-agent"),
        sender=_address(_value(feedback, b"original-mail-from")),
        recipient=_address(_value(feedback, b"original-rcpt-to")),
        source_ip=_ip(_value(feedback, b"source-ip")),
        queue_ids=_queue_ids(reported),
        message_id=_value(reported, b"message-id"),
        author=_value(reported, b"from"),
        digest=hashlib.sha256(b"\0".join([*said, feedback_bytes, reported_bytes])).hexdigest(),
    )


def _split(message: bytes) -> tuple[Sequence[headers.Field], bytes]:
    try:
        fields, body = headers.split(message)
    except headers.HeadError as error:
        raise NotAReportError(str(error)) from error
    return fields, body


def _boundary(fields: Sequence[headers.Field]) -> bytes:
    """Of multipart/report; report-type=feedback-report (RFC 5965 2)."""
    found = headers.find(fields, b"content-type")
    if len(found) != 1 or not found[0].lower().startswith(b"multipart/report"):
        raise NotAReportError("not of type multipart/report")
    parameters = {
        match[1].lower(): match[2] or match[3] or b"" for match in _PARAMETER.finditer(found[0][:2000])
    }
    if parameters.get(b"report-type", b"").lower() != b"feedback-report":
        raise NotAReportError("report-type is not feedback-report")
    boundary = re.sub(rb"\\(.)", rb"\1", parameters.get(b"boundary", b""))
    if not 1 <= len(boundary) <= 70:
        raise NotAReportError("no boundary")
    return boundary


def _parts(boundary: bytes, body: bytes) -> list[tuple[bytes, bytes]]:
    """(content type, decoded content) of the parts; what comes behind the last delimiter is none (RFC 2046 5.1.1)."""
    delimiter = re.compile(rb"(?:\A|\r\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r\n|\Z)")
    found, start = [], -1
    for match in delimiter.finditer(body):
        if start >= 0:
            found.append(body[start : match.start()])
        start = -1 if match[1] else match.end() + 2
        if match[1] or len(found) == MAX_PARTS:
            break
    if start >= 0 and len(found) < MAX_PARTS:
        found.append(body[start:])  # cut off, by us or by the reporter
    return [_part(one) for one in found]


def _part(raw: bytes) -> tuple[bytes, bytes]:
    fields, body = _split(raw + b"\r\n\r\n")
    kind = next(iter(headers.find(fields, b"content-type")), b"text/plain")
    encoding = next(iter(headers.find(fields, b"content-transfer-encoding")), b"").lower()
    return kind.partition(b";")[0].strip().lower(), _decoded(body, encoding)


def _decoded(body: bytes, encoding: bytes) -> bytes:
    if encoding == b"quoted-printable":
        body = binascii.a2b_qp(body)
    elif encoding == b"base64":
        try:
            body = binascii.a2b_base64(body)
        except binascii.Error:
            return b""
    else:
        return body
    return body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _first(parts: Sequence[tuple[bytes, bytes]], *kinds: bytes) -> bytes | None:
    return next((content for kind, content in parts if kind in kinds), None)


def _kind(feedback: Sequence[headers.Field]) -> str:
    found = [_clean(value).lower() for value in headers.find(feedback, b"feedback-type")]
    if len(found) != 1:
        raise NotAReportError("Feedback-Type must be there once (RFC 5965 3.1)")
    return found[0] if found[0] in KNOWN else "other"


def _value(fields: Sequence[headers.Field], name: bytes) -> str:
    """The first field of this name."""
    return next((_clean(value) for value in headers.find(fields, name)), "")


def _clean(value: bytes) -> str:
    return headers.showable(value.decode("utf-8", "replace"))[:MAX_VALUE].strip()


def _address(value: str) -> str:
    found = _ADDRESS.search(value)
    return found[0] if found else ""


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower().strip(".")


def _ip(value: str) -> str:
    try:
        found = ipaddress.ip_address(value.strip("[]").removeprefix("IPv6:"))
    except ValueError:
        return ""
    return "" if "%" in value else str(found)


def _queue_ids(reported: Sequence[headers.Field]) -> tuple[str, ...]:
    found = [_QUEUE_ID.search(value[:2000]) for value in headers.find(reported, b"received")]
    return tuple(match[1].decode().lower() for match in found[:50] if match)
