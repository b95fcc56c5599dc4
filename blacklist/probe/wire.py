"""DNS messages as octets, as much as blocklists need: A and TXT questions, and what may come back (RFC 1035).

Answers are strangers' bytes: every length is checked, compression pointers only go backwards, and anything that cannot
be read raises WireError.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

A = 1
CNAME = 5
TXT = 16
IN = 1
HEADER = struct.Struct("!HHHHHH")
RECORD = struct.Struct("!HHIH")
RECURSION_DESIRED = 0x0100
IS_RESPONSE = 0x8000
OPCODE = 0x7800
TRUNCATED = 0x0200
RCODE = 0x000F
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
MAX_RECORDS = 200
MAX_CNAMES = 8


class WireError(ValueError):
    """Octets that are no DNS message we can use, or a name that cannot be asked."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a message said about the asked name. `texts` only for TXT, `addresses` only for A."""

    rcode: int
    truncated: bool = False
    addresses: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    ttl_s: int = 0


def encode_name(name: str) -> bytes:
    """Raises WireError for labels and names that DNS cannot carry."""
    try:
        labels = [label.encode("ascii") for label in name.rstrip(".").split(".")]
    except UnicodeEncodeError as error:
        raise WireError("name is not ASCII") from error
    if not all(0 < len(label) < 64 for label in labels) or sum(map(len, labels)) + len(labels) > 254:
        raise WireError("label or name too long")
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def question(query_id: int, name: str, rdtype: int) -> bytes:
    """A recursive question for one name."""
    header = HEADER.pack(query_id, RECURSION_DESIRED, 1, 0, 0, 0)
    return header + encode_name(name) + struct.pack("!HH", rdtype, IN)


def belongs(message: bytes, asked: bytes) -> bool:
    """Whether `message` can be the answer to `asked`: a response with the same id and the same question.

    Everything else that arrives (forged, late, somebody else's) is not an error but noise.
    """
    if len(message) < len(asked) or message[:2] != asked[:2] or not message[2] & 0x80:
        return False
    return message[12 : len(asked)].lower() == asked[12:].lower()


def parse(message: bytes, asked: bytes) -> Response:
    """Read a message that `belongs`. Raises WireError."""
    try:
        return _parse(message, asked)
    except (struct.error, IndexError) as error:
        raise WireError("message is cut short") from error


def _parse(message: bytes, asked: bytes) -> Response:
    _, flags, questions, answers, _, _ = HEADER.unpack_from(message)
    if questions != 1 or answers > MAX_RECORDS or flags & OPCODE:
        raise WireError("not an answer to one question")
    rcode = flags & RCODE
    rdtype = struct.unpack("!H", asked[-4:-2])[0]
    records = _records(message, len(asked), answers)
    chosen, ttl_s = _for_name(records, _name_at(asked, 12)[0], rdtype)
    return Response(
        rcode=rcode,
        truncated=bool(flags & TRUNCATED),
        addresses=tuple(_address(data) for data in chosen) if rdtype == A else (),
        texts=tuple(_text(data) for data in chosen) if rdtype == TXT else (),
        ttl_s=ttl_s,
    )


_Record = tuple[str, int, int, bytes, str]  # owner, type, ttl, data, alias


def _records(message: bytes, offset: int, count: int) -> list[_Record]:
    found: list[_Record] = []
    for _ in range(count):
        owner, offset = _name_at(message, offset)
        rdtype, rdclass, ttl_s, length = RECORD.unpack_from(message, offset)
        offset += RECORD.size
        if offset + length > len(message):
            raise WireError("record is cut short")
        alias = _name_at(message, offset)[0] if rdtype == CNAME else ""
        if rdclass == IN:
            found.append((owner, rdtype, min(ttl_s, 0x7FFFFFFF), message[offset : offset + length], alias))
        offset += length
    return found


def _for_name(records: list[_Record], name: str, rdtype: int) -> tuple[list[bytes], int]:
    """The data of the asked type for the name, along its aliases; nothing that belongs to another name."""
    ttls: list[int] = []
    for _ in range(MAX_CNAMES):
        chosen = [record for record in records if record[0] == name and record[1] == rdtype]
        if chosen:
            ttls += [record[2] for record in chosen]
            return [record[3] for record in chosen], min(ttls)
        alias = next((record for record in records if record[0] == name and record[1] == CNAME), None)
        if alias is None:
            return [], min(ttls, default=0)
        ttls.append(alias[2])
        name = alias[4]
    raise WireError("alias chain without end")


def _name_at(message: bytes, offset: int) -> tuple[str, int]:
    """(lower-case name, offset behind it). Pointers must go backwards, so they cannot loop."""
    labels: list[str] = []
    end = 0
    limit = offset
    while True:
        length = message[offset]
        if length & 0xC0 == 0xC0:
            end = end or offset + 2
            target = (length & 0x3F) << 8 | message[offset + 1]
            if target >= limit:
                raise WireError("compression pointer does not go back")
            offset = limit = target
            continue
        if length & 0xC0:
            raise WireError("unknown label type")
        offset += 1
        if not length:
            return ".".join(labels), end or offset
        label = message[offset : offset + length]
        if len(label) != length or len(labels) > 127:
            raise WireError("label is cut short")
        labels.append(label.decode("ascii", "backslashreplace").lower())
        offset += length


def _address(data: bytes) -> str:
    if len(data) != 4:
        raise WireError("A record without four octets")
    return ".".join(map(str, data))


def _text(data: bytes) -> str:
    """The strings of one TXT record, joined; undecodable octets are shown, not trusted."""
    parts: list[bytes] = []
    offset = 0
    while offset < len(data):
        length = data[offset]
        parts.append(data[offset + 1 : offset + 1 + length])
        if len(parts[-1]) != length:
            raise WireError("TXT string is cut short")
        offset += 1 + length
    return b"".join(parts).decode("utf-8", "replace")
