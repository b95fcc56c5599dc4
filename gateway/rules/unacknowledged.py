"""Messages that were queued while their client hung up, so that it never read our 250 (RFC 1047).

Such a client will send the same message again. Remembering a digest for a day lets the second copy be answered with the
first one's reply instead of being queued twice. Bounded and in memory: a restart or another process forgets, and then
the message arrives twice, which is the lesser evil.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable

from gateway.rules.types import Envelope, Reply


class Unacknowledged:
    """The replies nobody read, by digest of the message. `now` is any monotonic number of seconds."""

    def __init__(self, keep_s: float = 86_400.0, max_entries: int = 10_000) -> None:
        self._keep_s = keep_s
        self._max_entries = max_entries
        self._replies: OrderedDict[bytes, tuple[float, Reply]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._replies)

    def remember(self, envelope: Envelope, reply: Reply, now: float) -> None:
        self._replies[_digest(envelope)] = (now, reply)
        if len(self._replies) > self._max_entries:
            self._replies.popitem(last=False)

    def recall(self, envelope: Envelope, now: float) -> Reply | None:
        """The reply this very message got, once; None when it is new."""
        self._forget_old(now)
        if not self._replies:  # the rule: don't hash what cannot be there
            return None
        found = self._replies.pop(_digest(envelope), None)
        return found[1] if found else None

    def _forget_old(self, now: float) -> None:
        while self._replies and next(iter(self._replies.values()))[0] + self._keep_s <= now:
            self._replies.popitem(last=False)


def _digest(envelope: Envelope) -> bytes:
    hashed = hashlib.sha256()
    for part in _envelope_parts(envelope):
        hashed.update(part.encode() + b"\0")
    hashed.update(envelope.body)
    return hashed.digest()


def _envelope_parts(envelope: Envelope) -> Iterable[str]:
    yield str(envelope.customer_id)
    yield str(envelope.sender)
    yield from sorted(str(recipient.address) for recipient in envelope.recipients)
