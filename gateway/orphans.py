"""No orphans: a child process ends when its parent does, even if that was killed with -9 (Linux).

The kernel sends the signal when the *thread* that made the child ends, so children are made in the main thread.
"""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int, signum: signal.Signals = signal.SIGKILL) -> None:
    """Call first thing in a child: the kernel sends it `signum` when its parent, process `parent`, is gone.

    Ends the child at once when the parent is gone already (between fork and this call). Elsewhere than on Linux it
    does nothing. A child that changes its user afterwards loses the bond.
    """
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (AttributeError, OSError):
        return
    prctl(PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def bind_forked_children(signum: signal.Signals = signal.SIGKILL) -> None:
    """From now on every process that this one (or a child of it) forks dies with its own parent."""
    parent = 0

    def remember() -> None:
        nonlocal parent
        parent = os.getpid()

    os.register_at_fork(before=remember, after_in_child=lambda: die_with_parent(parent, signum))
