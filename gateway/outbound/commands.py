"""Command lines for a next hop, made of what the message needs and what the host offers.

Nothing that could end a line early gets in: an address with a control character or a surrogate is refused here, though
the door has refused it before. RFC 5321 (SIZE: 1870, 8BITMIME: 6152, SMTPUTF8: 6531, DSN: 3461, REQUIRETLS: 8689).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.rules.route_types import DeliveryJob, JobRecipient
from gateway.rules.types import Address

_NOT_IN_A_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_XTEXT = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x7e]")
PIECE_BYTES = 256 * 1024
_NOTIFY_ORDER = ("NEVER", "SUCCESS", "FAILURE", "DELAY")


class BadAddress(ValueError):
    """An address that cannot be put into a command."""


@dataclass(frozen=True, slots=True)
class Features:
    """What the host said to EHLO: keyword (upper case) -> parameters."""

    keywords: Mapping[str, str]

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.keywords

    @property
    def size_limit_bytes(self) -> int:
        """The host's limit, 0 = none named."""
        value = self.keywords.get("SIZE", "")
        return int(value) if value.isdecimal() and len(value) < 16 else 0

    @property
    def auth_mechanisms(self) -> frozenset[str]:
        return frozenset(self.keywords.get("AUTH", "").upper().replace("=", " ").split())


def parse_ehlo(text_lines: list[str]) -> Features:
    """Features from the lines of an EHLO reply (the first is the greeting)."""
    keywords: dict[str, str] = {}
    for line in text_lines[1:]:
        keyword, _, rest = line.strip().partition(" ")
        if keyword.upper().startswith("AUTH="):  # an old form that some hosts still send
            keyword, rest = "AUTH", keyword[5:] + " " + rest
        keywords[keyword.upper()] = " ".join((keywords.get(keyword.upper(), ""), rest)).strip()
    return Features(keywords)


def needs_smtputf8(job: DeliveryJob, recipients: tuple[JobRecipient, ...]) -> bool:
    """Only mail that was handed over with SMTPUTF8 can need it, and only if an address or a header is not ASCII."""
    if not job.smtputf8:
        return False
    addresses = [job.sender, *(recipient.address for recipient in recipients)]
    if any(not str(address).isascii() for address in addresses if address is not None):
        return True
    head, _, _ = job.body.partition(b"\r\n\r\n")
    return not head.isascii()


def mail_command(
    job: DeliveryJob, features: Features, size_bytes: int, *, utf8: bool, require_tls: bool
) -> bytes:
    parts = [f"MAIL FROM:<{_path(job.sender)}>"]
    if "SIZE" in features:
        parts.append(f"SIZE={size_bytes}")
    if job.eight_bit and "8BITMIME" in features:
        parts.append("BODY=8BITMIME")
    if utf8:
        parts.append("SMTPUTF8")
    if require_tls:
        parts.append("REQUIRETLS")
    if "DSN" in features:
        parts += [f"RET={job.ret}"] if job.ret in ("FULL", "HDRS") else []
        parts += [f"ENVID={xtext(job.envid)}"] if job.envid else []
    return (" ".join(parts) + "\r\n").encode()


def rcpt_command(recipient: JobRecipient, features: Features) -> bytes:
    command = f"RCPT TO:<{_path(recipient.address)}>"
    if "DSN" in features and (recipient.notify or recipient.orcpt):
        command += _dsn_parameters(recipient)
    return (command + "\r\n").encode()


def _dsn_parameters(recipient: JobRecipient) -> str:
    notify = ",".join(word for word in _NOTIFY_ORDER if word in recipient.notify)
    kind, _, original = recipient.orcpt.partition(";")
    parts = f" NOTIFY={notify}" if notify else ""
    if kind.replace("-", "").isalnum() and kind.isascii() and original.isascii():
        parts += f" ORCPT={kind};{xtext(original)}"
    return parts


def xtext(text: str) -> str:
    """RFC 3461 section 4: everything but printable ASCII, '+' and '=' as '+' and two hex digits."""
    return _XTEXT.sub(lambda found: "".join(f"+{octet:02X}" for octet in found.group().encode()), text)


def _path(address: Address | None) -> str:
    if address is None:
        return ""
    text = str(address)
    if _NOT_IN_A_PATH.search(text) or _outside_quotes_has(address, " <>") or len(text) > 1000:
        raise BadAddress(f"the address {text[:100]!r} cannot be sent in an SMTP command")
    return text


def _outside_quotes_has(address: Address, characters: str) -> bool:
    quoted = len(address.local) >= 2 and address.local.startswith('"') and address.local.endswith('"')
    text = address.domain if quoted else str(address)
    return any(character in text for character in characters)


def stuffed(body: bytes, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """The message as it goes over the wire after 354, piece by piece: dots doubled, ended by CRLF.CRLF (RFC 5321
    section 4.5.2). No CR stands alone in it (`has_bare_line_ends`)."""
    end = b".\r\n" if not body or body.endswith(b"\r\n") else b"\r\n.\r\n"
    start, begins_line = 0, True
    while start + piece_bytes < len(body):
        stop = body.find(b"\n", start + piece_bytes - 1, start + piece_bytes + 1) + 1 or start + piece_bytes
        yield _dots_doubled(body[start:stop], begins_line=begins_line)
        begins_line = body[stop - 1] == 10
        start = stop
    yield _dots_doubled(body[start:], begins_line=begins_line) + end


def _dots_doubled(piece: bytes, *, begins_line: bool) -> bytes:
    doubled = piece.replace(b"\r\n.", b"\r\n..")
    return b"." + doubled if begins_line and doubled.startswith(b".") else doubled


def has_bare_line_ends(body: bytes) -> bool:
    """Whether CR or LF stand alone somewhere: with such a body a second message can be smuggled past a lenient host."""
    pairs = body.count(b"\r\n")
    return body.count(b"\n") != pairs or body.count(b"\r") != pairs
