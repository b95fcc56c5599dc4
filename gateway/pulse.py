"""Signs of life that a node's relay processes share: one number each, in memory that the master made before it forked.

The probe /healthz reads it. It needs no database: a relay that waits for its database lives.
"""

from __future__ import annotations

import mmap
import struct
import time

NUMBER = struct.Struct("d")


class Pulse:
    """When each of `processes` processes last said that it lives; they count as living when this is made."""

    def __init__(self, processes: int) -> None:
        self._memory = mmap.mmap(-1, processes * NUMBER.size)
        for index in range(processes):
            self.beat(index)

    def beat(self, index: int) -> None:
        NUMBER.pack_into(self._memory, index * NUMBER.size, time.monotonic())

    def ages_s(self) -> list[float]:
        """Since the last beat, by index."""
        now = time.monotonic()
        return [now - at for (at,) in NUMBER.iter_unpack(self._memory[:])]
