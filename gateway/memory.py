"""Memory that is free goes back to the system (glibc; elsewhere nothing is done).

glibc gives each thread a heap of its own and keeps what was freed in its middle. The database's threads have bodies in
hand now and then, so their heaps grow to the largest moment of each and stay: some megabytes a process that nobody
uses. One heap for all threads costs nothing here, as they take turns with the interpreter anyway.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

M_ARENA_MAX = -8  # malloc.h


def share_one_heap() -> None:
    """For this process and all it forks. Call before there are threads."""
    mallopt = _of_libc("mallopt")
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Whole pages that are free within the heap; takes a millisecond or two."""
    malloc_trim = _of_libc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _of_libc(name: str) -> Callable[..., int] | None:
    try:
        return getattr(ctypes.CDLL(None), name)  # type: ignore[no-any-return]
    except (AttributeError, OSError):
        return None
