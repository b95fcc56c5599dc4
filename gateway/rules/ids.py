"""Message ids: 63-bit, unique without asking anybody, growing with time.

Layout, from the top: 41 bits of milliseconds since 2024-01-01 (until 2093), 10 bits of node, 12 bits of sequence. They
are made before the row is written, so that body, recipients and reply can name them, and they sort as the log does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta

EPOCH_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
NODES = 1 << 10
ALPHABET = (
    "0123456789abcdefghjkmnpqrstvwxyz"  # base32 without i, l, o, u: nothing to misread on the telephone
)
TEXT_LENGTH = 13

_SEQUENCE_BITS = 12
_NODE_BITS = 10
_VALUE = {character: value for value, character in enumerate(ALPHABET)}


class IdMaker:
    """Makes ids for one process. Two processes that run at the same time must have different nodes (0..1023)."""

    def __init__(self, node: int) -> None:
        if not 0 <= node < NODES:
            raise ValueError(f"node {node}: expected 0 to {NODES - 1}")
        self._node = node << _SEQUENCE_BITS
        self._last_ms = 0
        self._sequence = 0

    def next(self, now_ms: int) -> int:
        """A new id, greater than all before it from this maker, even when the clock goes back."""
        moment = now_ms - EPOCH_MS
        if moment > self._last_ms:
            self._last_ms, self._sequence = moment, 0
        else:
            self._sequence += 1
            if self._sequence >> _SEQUENCE_BITS:  # 4096 in one millisecond: borrow the next one
                self._last_ms, self._sequence = self._last_ms + 1, 0
        return self._last_ms << (_SEQUENCE_BITS + _NODE_BITS) | self._node | self._sequence


def to_text(message_id: int) -> str:
    """The id as 13 lower-case characters; sorts like the number. Raises ValueError outside of 63 bits."""
    if not 0 <= message_id < 1 << 63:
        raise ValueError(f"message id {message_id} is outside of 63 bits")
    return "".join(ALPHABET[message_id >> shift & 31] for shift in range(60, -1, -5))


def from_text(text: str) -> int:
    """The number behind `to_text`; upper case is accepted. Raises ValueError for anything else."""
    digits = [_VALUE.get(character) for character in text.lower()]
    if len(digits) != TEXT_LENGTH or None in digits:
        raise ValueError(f"not a message id: {text[:40]!r}")
    message_id = 0
    for digit in digits:
        message_id = message_id << 5 | (digit or 0)
    if message_id >> 63:
        raise ValueError(f"not a message id: {text!r}")
    return message_id


def ids_of(texts: Iterable[str]) -> Iterator[int]:
    """The numbers behind those texts that are ids."""
    for text in texts:
        with suppress(ValueError):
            yield from_text(text)


def created_ms(message_id: int) -> int:
    """When the id was made, in milliseconds since 1970."""
    return (message_id >> (_SEQUENCE_BITS + _NODE_BITS)) + EPOCH_MS


def first_id(at_ms: int) -> int:
    """The least id that can be made at or after this moment (milliseconds since 1970): turns a time range of the log
    into a range of its primary key."""
    return max(0, at_ms - EPOCH_MS) << (_SEQUENCE_BITS + _NODE_BITS)


def id_at(moment: datetime) -> int:
    """The same of an aware datetime."""
    return first_id(int(moment.timestamp() * 1000))


def ids_in(span: timedelta) -> int:
    """How far apart the first ids of two moments are."""
    return first_id(EPOCH_MS + int(span.total_seconds() * 1000))
