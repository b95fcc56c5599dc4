"""One check at a time over all nodes: a lease in the database, renewed while the check lives."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from blacklist.models import RunLease

LEASE = timedelta(seconds=180)


class RunBusy(Exception):
    """Another check holds the lease; the text says who and until when."""


class LeaseLost(Exception):
    """Ours ran out (the machine slept?) and another one took over: stop at once."""


class Lease:
    """A held lease. `renew` must be called at least every two minutes."""

    def __init__(self, owner: str) -> None:
        self.owner = owner

    def renew(self) -> None:
        """Raises LeaseLost."""
        if not RunLease.objects.filter(id=1, owner=self.owner).update(until=timezone.now() + LEASE):
            raise LeaseLost(self.owner)

    def release(self) -> None:
        RunLease.objects.filter(id=1, owner=self.owner).update(owner="", until=None)


@contextmanager
def hold_lease() -> Iterator[Lease]:
    """Take the lease for the time of the block. Raises RunBusy."""
    lease = Lease(f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}")
    _take(lease)
    try:
        yield lease
    finally:
        lease.release()


def _take(lease: Lease) -> None:
    """Compare-and-set: free, run out, or of a process on this machine that is gone."""
    now = timezone.now()
    RunLease.objects.get_or_create(id=1)
    free = Q(owner="") | Q(until__isnull=True) | Q(until__lt=now)
    if RunLease.objects.filter(free, id=1).update(owner=lease.owner, until=now + LEASE):
        return
    holder = RunLease.objects.get(id=1)
    if _is_gone(holder.owner) and RunLease.objects.filter(id=1, owner=holder.owner).update(
        owner=lease.owner, until=now + LEASE
    ):
        return
    raise RunBusy(
        f"a check is running ({holder.owner.rpartition(':')[0]}, lease until {holder.until:%H:%M:%S} UTC)"
    )


def _is_gone(owner: str) -> bool:
    """Whether the holder was a process of this machine that was killed."""
    host, _, rest = owner.partition(":")
    pid = rest.partition(":")[0]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def is_running() -> bool:
    """Whether some process holds the lease just now."""
    return RunLease.objects.exclude(owner="").filter(until__gt=timezone.now()).exists()
