"""How much space must be left on a disk for one more message to be taken."""

from __future__ import annotations

from dataclasses import dataclass

RESERVE_BYTES = 256 * 1024 * 1024
RESERVE_SHARE = 0.05  # of a small disk
COPIES = 2  # a body is written to the log of the database and from there to its file


@dataclass(frozen=True, slots=True)
class Space:
    """Of one file system."""

    free_bytes: int
    total_bytes: int


def reserve_bytes(total_bytes: int) -> int:
    """What is kept free for outcomes, reports and logs: 256 MiB, or 5 % where the disk is small."""
    return min(RESERVE_BYTES, int(total_bytes * RESERVE_SHARE))


def is_short(space: Space, size_bytes: int) -> bool:
    """Whether a message of so many octets would take from the reserve."""
    return space.free_bytes - COPIES * size_bytes < reserve_bytes(space.total_bytes)
