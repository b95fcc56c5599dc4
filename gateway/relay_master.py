"""The parent of the relay processes of a node: forks them, starts one again that ended, stops them all in time.

SIGTERM stops, SIGHUP replaces the processes by fresh ones of the program that is on the disk, without a moment in which
nobody serves.

The parent loads everything first, so that the children share its memory, and opens neither event loop, threads nor
database connections of its own before it forks.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gateway import memory
from gateway.clock import SteadyClock
from gateway.codes import code_dictionary
from gateway.config import Config, ConfigError
from gateway.doors import PREDECESSORS, Doors
from gateway.orphans import die_with_parent
from gateway.pulse import Pulse
from gateway.relay import Relay
from gateway.smtp.tls import server_context
from gateway.spam.tables import shipped

log = logging.getLogger(__name__)

SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
STOP_TIMEOUT_S = 12.0
LONGEST_WAIT_S = 60.0
TRY_TIMEOUT_S = 60.0
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)  # service is to be back within ten seconds whatever happened before
STEADY_S = 30.0  # a process that ran this long starts again without delay
# The event loop and the writer thread hand the interpreter to and fro; with Python's 5 ms the writer waits that long
# for each of a transaction's statements while the loop is busy, and clients wait for their 250.
SWITCH_S = 0.0005
# Each message makes and drops hundreds of objects, few of them in circles: 700, as Python has it, is a tenth of the
# rate. 20,000 is no faster than this and lets closed connections, which are circles, wait for longer.
GC_THRESHOLDS = (5_000, 20, 50)
EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h: starting again would not help


class Master:
    """`run` returns the exit code of the whole."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._clock = SteadyClock()
        self._doors = Doors([])
        self._pulse = Pulse(config.relay_processes)
        self._children: dict[int, tuple[int, float]] = {}  # pid -> (index, started)
        self._old = predecessors()  # pid -> index
        self._failures: dict[int, int] = {}
        self._due: dict[int, float] = {}  # index -> when it is to be started again
        self._overdue_at = float("inf")
        self._stopping = False
        self._code = 0

    def run(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            load_shared()
            self._doors = Doors.open(self._config)
        except ConfigError as error:
            log.error("relay cannot start: %s", error)  # noqa: TRY400 - the sentence is all the operator needs
            return EXIT_CONFIG
        for index in range(self._config.relay_processes):
            self._fork(index)
        while self._children or self._old or self._due:
            self._wait()
        return self._code

    def _wait(self) -> None:
        """For the next signal or for what is due, whichever comes first."""
        next_at = min([self._overdue_at, *self._due.values()])
        info = signal.sigtimedwait(SIGNALS, max(0.0, min(next_at - time.monotonic(), LONGEST_WAIT_S)))
        if info is not None and info.si_signo in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif info is not None and info.si_signo == signal.SIGHUP:
            self._reload()
        self._reap()
        self._start_due()

    def _fork(self, index: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            die_with_parent(parent)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            relay = Relay(
                self._config,
                index=index,
                listeners=self._doors.for_process(index),
                clock=self._clock,
                pulse=self._pulse,
            )
            os._exit(run_process(relay, self._replaced_by(index)))
        self._children[pid] = (index, time.monotonic())

    def _replaced_by(self, index: int) -> list[int]:
        """The processes from before a reload that end when this one is ready."""
        return [pid for pid, old in self._old.items() if old % self._config.relay_processes == index]

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                self._ended(found[0], os.waitstatus_to_exitcode(found[1]))

    def _ended(self, pid: int, code: int) -> None:
        """Start it again unless we are stopping, it was replaced, or it cannot be configured."""
        self._old.pop(pid, None)
        if pid not in self._children:
            return
        index, started = self._children.pop(pid)
        if self._stopping:
            return
        if code == EXIT_CONFIG:
            self._code = EXIT_CONFIG
            self._stop()
            return
        steady = time.monotonic() - started >= STEADY_S
        failures = 1 if steady else self._failures.get(index, 0) + 1
        self._failures[index] = failures
        log.error("relay process ended, starting it again", extra={"index": index, "code": code})
        self._due[index] = time.monotonic() + BACKOFF_S[min(failures, len(BACKOFF_S)) - 1]

    def _start_due(self) -> None:
        now = time.monotonic()
        for index in [index for index, at in self._due.items() if at <= now]:
            del self._due[index]
            self._fork(index)
        if now >= self._overdue_at:
            self._overdue_at = float("inf")
            self._signal_all(signal.SIGKILL)

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._doors.close()
        self._due.clear()
        self._signal_all(signal.SIGTERM)
        self._overdue_at = time.monotonic() + STOP_TIMEOUT_S

    def _signal_all(self, signum: signal.Signals) -> None:
        for pid in (*self._children, *self._old):
            _send(pid, signum)

    def _reload(self) -> None:
        """Become a fresh master, with the code and the certificate that are on the disk now: the same process, the
        same sockets. The processes of today serve until their successors are ready."""
        if self._stopping or not _would_start():
            return
        log.info("relay reloads")
        serving = {**self._old, **{pid: index for pid, (index, _) in self._children.items()}}
        os.environ[PREDECESSORS] = ",".join(f"{index}:{pid}" for pid, index in serving.items())
        self._doors.hand_over()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves


def predecessors() -> dict[int, int]:
    """{pid: index} of the processes that served before a reload; they are this process's children, too."""
    pairs = [pair.split(":") for pair in os.environ.pop(PREDECESSORS, "").split(",") if pair]
    return {int(pid): int(index) for index, pid in pairs}


def _would_start() -> bool:
    """Try the code and the settings in another process first: a broken one must not replace what serves."""
    tried = subprocess.run(
        [sys.executable, "-m", "django", "relay", "--check"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=TRY_TIMEOUT_S,
        check=False,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS),
    )
    if tried.returncode:
        log.error("not reloaded, it would not start", extra={"output": tried.stderr[-2000:]})
    return tried.returncode == 0


def check(config: Config) -> None:
    """Raises what would keep a relay from starting: broken files, an unusable certificate."""
    load_shared()
    server_context(config)


def load_shared() -> None:
    """What every process needs and none changes: read once, shared by the fork. Fails here if it is broken."""
    shipped()
    code_dictionary()
    sys.setswitchinterval(SWITCH_S)
    memory.share_one_heap()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.freeze()  # or the collector would touch, and so copy, every shared page


def _send(pid: int, signum: signal.Signals) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        log.debug("relay process had ended already")


def run_process(relay: Relay, replaces: list[int]) -> int:
    """One relay process from start to end; returns its exit code. When it serves, the processes it replaces end."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve_until_stopped(relay, replaces))
    except ConfigError as error:
        log.error("relay cannot start: %s", error)  # noqa: TRY400 - the sentence is all the operator needs
        return EXIT_CONFIG
    except Exception:
        log.exception("relay process failed")
        return 1
    return 0


async def _serve_until_stopped(relay: Relay, replaces: list[int]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    await relay.start()
    for pid in replaces:
        _send(pid, signal.SIGTERM)
    await stop.wait()
    await relay.stop()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one; asyncio's own otherwise."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
