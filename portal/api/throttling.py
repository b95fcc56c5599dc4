"""How much one token or person may ask, over all web processes.

The running minute of each asker is one row. A process takes a block of the minute's requests from it and counts them
in memory, so that one request in thirty makes a write. What it does not use is lost to the others; never are more than
the limit let through within the minute.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from portal.models import ApiWindow

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it loads this class

BLOCKS = 20  # a minute's requests are handed out in so many
MOST_KNOWN = 10_000


@dataclass(slots=True)
class Block:
    """Requests that this process may still let through, until their minute ends (time.monotonic)."""

    left: int
    ends: float
    is_last: bool  # the minute has no other for anybody


_blocks: dict[str, Block] = {}
_lock = threading.Lock()


class Throttle(SimpleRateThrottle):
    scope = "api"
    num_requests: int  # of the rate, and the seconds it is for: set by DRF
    duration: int

    def get_cache_key(self, request: Request, view: APIView) -> str:
        if request.auth is not None:  # a token; a session has none
            return f"{self.scope}-token-{request.auth.pk}"
        if request.user.is_authenticated:
            return f"{self.scope}-user-{request.user.pk}"
        return f"{self.scope}-ip-{self.get_ident(request)}"

    def allow_request(self, request: Request, view: APIView) -> bool:
        with _lock:
            self._block = _block(self.get_cache_key(request, view), self.num_requests, self.duration)
            is_allowed = self._block.left > 0
            self._block.left -= is_allowed
            return is_allowed

    def wait(self) -> float:
        return max(1.0, self._block.ends - time.monotonic())


class ProbeThrottle(Throttle):
    """For what makes the gateway speak with strangers' servers."""

    scope = "probe"


def _block(asker: str, limit: int, minute_s: float) -> Block:
    """The block that is being used up; a new one when it is, unless the minute is known to be spent."""
    known = _blocks.get(asker)
    now = time.monotonic()
    if known and known.ends > now and (known.left > 0 or known.is_last):
        return known
    if len(_blocks) >= MOST_KNOWN:
        _forget_ended(now)
    wanted = max(1, limit // BLOCKS)
    granted, left_s = _take(asker, wanted, limit, minute_s)
    _blocks[asker] = Block(granted, now + left_s, granted < wanted)
    return _blocks[asker]


@transaction.atomic
def _take(asker: str, wanted: int, limit: int, minute_s: float) -> tuple[int, float]:
    """Count up to `wanted` requests against the asker's minute; returns how many, and the seconds it lasts."""
    now = timezone.now()
    locked = ApiWindow.objects.select_for_update()
    window, _created = locked.get_or_create(asker=asker, defaults={"started_at": now})
    if window.started_at <= now - timedelta(seconds=minute_s):
        window.started_at, window.used = now, 0
    granted = max(0, min(wanted, limit - window.used))
    window.used += granted
    window.save(update_fields=["started_at", "used"])
    return granted, minute_s - (now - window.started_at).total_seconds()


def _forget_ended(now: float) -> None:
    for asker in [asker for asker, block in _blocks.items() if block.ends <= now]:
        del _blocks[asker]


def forget_old() -> str:
    """Delete minutes that are over; run by the schedule."""
    old = timezone.now() - timedelta(hours=1)
    forgotten, _rows = ApiWindow.objects.filter(started_at__lt=old).delete()
    return f"{forgotten} minutes forgotten"
