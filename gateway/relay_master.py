"""The parent of the relay processes of a node: forks them, starts one again that ended, stops them all in time.

The parent loads everything first, so that the children share its memory, and opens neither event loop, threads nor
database connections of its own before it forks.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from gateway.codes import code_dictionary
from gateway.config import Config, ConfigError
from gateway.orphans import die_with_parent
from gateway.relay import Relay
from gateway.spam.tables import shipped

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 12.0
BACKOFF_S = (0.2, 1.0, 2.0, 5.0, 10.0)
STEADY_S = 30.0  # a process that ran this long starts again without delay
# The event loop and the writer thread hand the interpreter to and fro; with Python's 5 ms the writer waits that long
# for each of a transaction's statements while the loop is busy, and clients wait for their 250.
SWITCH_S = 0.0005
GC_THRESHOLDS = (20_000, 20, 50)  # each message makes and drops hundreds of objects, few of them in circles
EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h: starting again would not help


class Master:
    """`run` returns the exit code of the whole."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._children: dict[int, tuple[int, float]] = {}  # pid -> (index, started)
        self._failures: dict[int, int] = {}
        self._stopping = False

    def run(self) -> int:
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        load_shared()
        for index in range(self._config.relay_processes):
            self._fork(index)
        code = 0
        while self._children:
            code = max(code, self._wait())
        return code

    def _fork(self, index: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            die_with_parent(parent)
            os._exit(run_process(self._config, index))
        self._children[pid] = (index, time.monotonic())

    def _wait(self) -> int:
        """Wait for one child to end; start it again unless we are stopping or it cannot be configured."""
        pid, status = os.wait()
        index, started = self._children.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        if self._stopping:
            return 0
        if code == EXIT_CONFIG:
            self._on_stop(signal.SIGTERM, None)
            return EXIT_CONFIG
        steady = time.monotonic() - started >= STEADY_S
        failures = 0 if steady else self._failures.get(index, 0) + 1
        self._failures[index] = failures
        log.error("relay process ended, starting it again", extra={"index": index, "code": code})
        time.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
        if not self._stopping:
            self._fork(index)
        return 0

    def _on_stop(self, signum: int, frame: FrameType | None) -> None:
        if self._stopping:
            return
        self._stopping = True
        for pid in self._children:
            _send(pid, signal.SIGTERM)
        signal.signal(signal.SIGALRM, self._on_overdue)
        signal.setitimer(signal.ITIMER_REAL, STOP_TIMEOUT_S)

    def _on_overdue(self, signum: int, frame: FrameType | None) -> None:
        for pid in self._children:
            _send(pid, signal.SIGKILL)


def load_shared() -> None:
    """What every process needs and none changes: read once, shared by the fork. Fails here if it is broken."""
    shipped()
    code_dictionary()
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*GC_THRESHOLDS)
    gc.freeze()  # or the collector would touch, and so copy, every shared page


def _send(pid: int, signum: signal.Signals) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        log.debug("relay process had ended already")


def run_process(config: Config, index: int) -> int:
    """One relay process from start to end; returns its exit code."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve_until_stopped(config, index))
    except ConfigError as error:
        log.error("relay cannot start: %s", error)  # noqa: TRY400 - the sentence is all the operator needs
        return EXIT_CONFIG
    except Exception:
        log.exception("relay process failed")
        return 1
    return 0


async def _serve_until_stopped(config: Config, index: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    relay = Relay(config, index=index)
    await relay.start()
    await stop.wait()
    await relay.stop()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one; asyncio's own otherwise."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
