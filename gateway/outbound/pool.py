"""Sessions kept open between transactions: what makes the second message to a host ten times cheaper than the first.

A session is found again by (gateway, host, port, TLS demand): mail under a stricter demand never rides on a session
that was opened under a weaker one, and a changed gateway (address, name) gets new sessions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from gateway.outbound.session import Session

Key = Hashable


class SessionPool:
    """One per event loop. `idle_s`: how long an unused session stays open; hosts dislike long ones."""

    def __init__(self, *, idle_s: float = 5.0, max_idle: int = 200, max_idle_per_key: int = 20) -> None:
        self._idle_s = idle_s
        self._max_idle = max_idle
        self._max_idle_per_key = max_idle_per_key
        self._idle: dict[Key, list[Session]] = {}
        self._count = 0
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, key: Key) -> Session | None:
        """The session used last, or None when a new one must be opened."""
        waiting = self._idle.get(key)
        while waiting:
            session = waiting.pop()
            self._count -= 1
            if session.reusable:
                return session
            session.end()
        self._idle.pop(key, None)
        return None

    def give_back(self, key: Key, session: Session, *, max_transactions: int) -> None:
        """Keep it for the next message, or end it when it is used up, out of step, or one too many."""
        waiting = self._idle.get(key)
        crowded = self._count >= self._max_idle or (
            waiting is not None and len(waiting) >= self._max_idle_per_key
        )
        if self._closed or crowded or session.transactions >= max_transactions or not session.reusable:
            session.end()
            return
        loop = asyncio.get_running_loop()
        session.idle_since = loop.time()
        if waiting is None:
            self._idle[key] = [session]
        else:
            waiting.append(session)
        self._count += 1
        if self._sweeping is None:
            self._sweeping = loop.call_later(self._idle_s, self._sweep)

    @property
    def idle_count(self) -> int:
        return self._count

    def close(self) -> None:
        """End all idle sessions; those in use end when they are given back."""
        self._closed = True
        self._end_older_than(float("inf"))

    def _sweep(self) -> None:
        self._sweeping = None
        loop = asyncio.get_running_loop()
        self._end_older_than(loop.time() - self._idle_s)
        if self._count:
            self._sweeping = loop.call_later(self._idle_s / 2, self._sweep)

    def _end_older_than(self, limit: float) -> None:
        for key, waiting in list(self._idle.items()):
            kept = [session for session in waiting if session.idle_since > limit and session.reusable]
            for session in waiting:
                if session not in kept:
                    session.end()
            self._count -= len(waiting) - len(kept)
            if kept:
                self._idle[key] = kept
            else:
                del self._idle[key]
        if self._sweeping is not None and not self._count:
            self._sweeping.cancel()
            self._sweeping = None
