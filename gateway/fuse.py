"""The abuse fuse of a relay process: counts cheaply what each login sends, looks closer when there is reason to.

Every accepted message is counted in memory. A login that sent enough since the last look is looked at within a second,
in the database, over all processes; the first process of a node also patrols all active logins now and then. A look
costs at most a tenth of the reader's time: after a slow one the next comes later.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.control import fuse
from gateway.db import Database
from gateway.rules.behaviour import Baseline, Breach, Limits, judge, numbers, signals
from gateway.store import behaviour

log = logging.getLogger(__name__)

LOOK_RECIPIENTS = 50  # accepted in this process since the last look
LOOK_BAD = 10  # or messages judged suspect or spam
GROWTH = 0.1  # a login that was found in order is looked at when its hour has grown by so much
LEAST_PAUSE_S = 1.0
COST_FACTOR = 10.0  # pause between two looks at a login, as a multiple of what the last one took
BASELINE_S = 1800.0  # how long a baseline is good
NOTABLE_S = 3600.0
LATE_ROUNDS = 10  # looks after a blow in which late arrivals are held as they come


@dataclass(slots=True)
class _Watched:
    """What this process knows of one login. Times are monotonic seconds."""

    recipients: int = 0
    bad: int = 0
    enough: float = LOOK_RECIPIENTS
    enough_bad: float = LOOK_BAD
    next_look: float = 0.0
    baseline: Baseline | None = None
    baseline_of: datetime | None = None  # the end of the release before it, if any
    baseline_until: float = 0.0
    notable: dict[str, Any] | None = None
    notable_until: float = 0.0

    @property
    def is_due(self) -> bool:
        return self.recipients >= self.enough or self.bad >= self.enough_bad


class Fuse:
    """One per relay process. `note` every accepted message, call `look` all the time and `patrol` now and then."""

    def __init__(
        self,
        database: Database,
        *,
        utc_now: Callable[[], datetime],
        monotonic: Callable[[], float],
        limits: Limits | None = None,
        on_blow: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`on_blow` is awaited as soon as a login was stopped (the relay reads its policy anew)."""
        self._on_blow = on_blow
        self._database = database
        self._utc_now = utc_now
        self._monotonic = monotonic
        self._limits = limits or Limits()
        self._watched: dict[int, _Watched] = {}
        self._due: set[int] = set()
        self._late_rounds = 0

    def note(self, credential_id: int | None, recipients: int, is_bad: bool) -> None:
        """Count one accepted message. Messages of registered networks have no login and no fuse."""
        if credential_id is None:
            return
        watched = self._watched.setdefault(credential_id, _Watched())
        watched.recipients += recipients
        watched.bad += is_bad
        if watched.is_due:
            self._due.add(credential_id)

    def notable(self, credential_id: int) -> dict[str, Any] | None:
        """What was unusual about a login at the last look, for the trace: {signal: [now, usual]}."""
        watched = self._watched.get(credential_id)
        if watched is None or watched.notable is None or self._monotonic() > watched.notable_until:
            return None
        return watched.notable

    async def look(self) -> None:
        """Look at the logins that sent enough; keep holding what slips in just after a fuse blew."""
        now = self._monotonic()
        for credential_id in [one for one in self._due if self._watched[one].next_look <= now]:
            self._due.discard(credential_id)
            await self.look_at(credential_id)
        if self._late_rounds:
            self._late_rounds -= 1
            await self._database.write(fuse.hold_late, self._utc_now())

    async def patrol(self) -> None:
        """Look at everybody who sends; forget logins that no longer do."""
        now = self._utc_now()
        since = now - behaviour.ACTIVE / 3
        active = await self._database.read(behaviour.active_logins, since, now, self._limits.min_recipients)
        for credential_id in active:
            if self._watched.get(credential_id, _Watched()).next_look <= self._monotonic():
                await self.look_at(credential_id)
        await self._database.write(fuse.hold_late, now)
        kept = {*active, *self._due}
        self._watched = {key: one for key, one in self._watched.items() if key in kept or one.recipients}

    async def look_at(self, credential_id: int) -> Breach | None:
        """Judge one login by all that every process accepted for it; blows the fuse on a breach and returns it."""
        watched = self._watched.setdefault(credential_id, _Watched())
        watched.recipients = watched.bad = 0
        started = self._monotonic()
        login = await self._database.read(behaviour.login, credential_id, self._utc_now(), self._limits)
        if login is None:
            return None
        breach = await self._judge(watched, login)
        if breach is not None:
            await self._blow(credential_id, breach)
        ended = self._monotonic()
        watched.next_look = ended + max(LEAST_PAUSE_S, COST_FACTOR * (ended - started))
        return breach

    async def _judge(self, watched: _Watched, login: behaviour.Login) -> Breach | None:
        now = await self._database.read(behaviour.traffic, login)
        if now.recipients < self._limits.min_recipients:
            return None
        before = await self._baseline(watched, login)
        found = signals(now, before, self._limits)
        growth = 0.0 if found else GROWTH
        watched.enough = max(LOOK_RECIPIENTS, growth * now.recipients)
        watched.enough_bad = max(LOOK_BAD, growth * now.bad_share * now.messages)
        watched.notable = numbers(found) if found else None
        watched.notable_until = self._monotonic() + NOTABLE_S
        return judge(now, before, self._limits)

    async def _baseline(self, watched: _Watched, login: behaviour.Login) -> Baseline:
        expired = self._monotonic() > watched.baseline_until or watched.baseline_of != login.released_at
        if watched.baseline is None or expired:
            watched.baseline = await self._database.read(behaviour.baseline, login, self._limits)
            watched.baseline_of = login.released_at
            watched.baseline_until = self._monotonic() + BASELINE_S
        return watched.baseline

    async def _blow(self, credential_id: int, breach: Breach) -> None:
        if not await self._database.write(fuse.contain, fuse.Stop(credential_id, breach)):
            return
        self._late_rounds = LATE_ROUNDS
        if self._on_blow is not None:
            await self._on_blow()
        while await self._database.write(fuse.hold_rest, credential_id):
            pass
