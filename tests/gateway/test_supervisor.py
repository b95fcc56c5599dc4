"""The supervisor with real small children: prefixed output, restarts, a clean stop, and no orphan after kill -9."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway import supervisor
from gateway.config import Config, Endpoint
from gateway.supervisor import PartSpec, Supervisor

TIMEOUT_S = 20.0


def alive(pid: int) -> bool:
    """Is the process there and not a zombie that only waits for its new parent to look?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def child(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", textwrap.dedent(code)]


class Screen:
    """What the supervisor wrote."""

    def __init__(self) -> None:
        self.text = ""
        self.changed = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.text += data.decode()
        self.changed.set()

    async def shows(self, words: str, times: int = 1) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while self.text.count(words) < times:
                self.changed.clear()
                await self.changed.wait()


async def ready() -> str:
    return "everything answers"


async def supervise(*specs: PartSpec) -> tuple[Supervisor, Screen, asyncio.Task[int]]:
    screen = Screen()
    running = Supervisor(specs, screen.write)
    return running, screen, asyncio.create_task(running.run(ready))


SLEEPER = """
    import signal, sys, time
    signal.signal(signal.SIGTERM, lambda *_: (print("bye"), sys.exit(0)))
    print("up")
    time.sleep(600)
"""


async def test_output_is_prefixed_and_the_stop_is_clean() -> None:
    running, screen, task = await supervise(
        PartSpec("web", child(SLEEPER)), PartSpec("relay", child(SLEEPER))
    )
    await screen.shows("| up", times=2)
    await screen.shows("everything answers")
    running.stop()
    await asyncio.wait_for(task, TIMEOUT_S)
    assert "web   | bye" in screen.text
    assert "relay | bye" in screen.text
    assert task.result() == 0
    assert "starting again" not in screen.text


async def test_a_part_that_ends_starts_again() -> None:
    running, screen, task = await supervise(PartSpec("web", child("print('up'); raise SystemExit(3)")))
    await screen.shows("web | up", times=2)
    running.stop()
    await asyncio.wait_for(task, TIMEOUT_S)
    assert "ended with code 3" in screen.text
    assert "starting again in 0.5 s" in screen.text


async def test_a_part_that_cannot_be_configured_stops_everything() -> None:
    _, screen, task = await supervise(
        PartSpec("web", child(SLEEPER)), PartSpec("relay", child("raise SystemExit(78)"))
    )
    assert await asyncio.wait_for(task, TIMEOUT_S) == 78
    assert "relay | cannot be started with these settings" in screen.text


async def test_the_greeting_waits_for_the_probe() -> None:
    answers = iter([False, False, True])

    async def probe() -> bool:
        return next(answers)

    running, screen, task = await supervise(PartSpec("web", child(SLEEPER), probe))
    await screen.shows("everything answers")
    assert next(answers, "asked three times") == "asked three times"
    running.stop()
    await asyncio.wait_for(task, TIMEOUT_S)


async def test_a_part_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STOP_TIMEOUT_S", 0.3)
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"
    running, screen, task = await supervise(PartSpec("web", child(stubborn)))
    await screen.shows("up")
    running.stop()
    await asyncio.wait_for(task, TIMEOUT_S)


async def test_what_a_killed_leader_leaves_behind_is_killed() -> None:
    code = """
        import subprocess, sys, time
        print("grandchild", subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
        time.sleep(600)
    """
    running, screen, task = await supervise(PartSpec("web", child(code)))
    await screen.shows("grandchild")
    grandchild = int(screen.text.split("grandchild ")[1].split()[0])
    (leader,) = running._running.values()
    leader.kill()
    await screen.shows("was killed by signal 9")
    assert eventually(lambda: not alive(grandchild))
    running.stop()
    await asyncio.wait_for(task, TIMEOUT_S)


# ------------------------------------------------------------------------------------------------- kill -9

WHOLE_TREE = """
    import asyncio, sys
    from gateway import supervisor
    from gateway.supervisor import PartSpec, Supervisor

    async def ready():
        return "ready"

    def write(data):
        sys.stdout.buffer.write(data)
        sys.stdout.flush()

    specs = [PartSpec(name, supervisor.leader("forks_and_sleeps")) for name in ("web", "relay")]
    asyncio.run(Supervisor(specs, write).run(ready))
"""
LEADER_STAND_IN = """
    import django.core.management, os, time

    def stand_in(argv):
        child = os.fork()  # as multiprocessing does for django-q2's workers
        os.write(1, b"pids %d %d\\n" % (os.getpid(), child))  # in one piece: both write to one pipe
        time.sleep(600)

    django.core.management.execute_from_command_line = stand_in
"""


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A supervisor process with two leaders that have a child each, and the pids of those four."""
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(LEADER_STAND_IN))
    process = subprocess.Popen(
        child(WHOLE_TREE),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())])},
    )
    try:
        yield process, _pids_printed_by(process)
    finally:
        process.kill()
        process.communicate()


def _pids_printed_by(process: subprocess.Popen[str]) -> list[int]:
    """Both leaders and both children print a pair; a child's second number is 0."""
    pids: list[int] = []
    assert process.stdout is not None
    while len(pids) < 8:
        line = process.stdout.readline()
        assert line, "the supervisor ended early"
        if "pids" in line:
            pids += map(int, line.split("pids ")[1].split())
    return [pid for pid in pids if pid]


def test_no_orphan_after_the_supervisor_is_killed(tree: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, pids = tree
    assert len(set(pids)) == 4
    assert all(map(alive, pids))
    process.send_signal(signal.SIGKILL)
    assert eventually(lambda: not any(map(alive, pids))), [pid for pid in pids if alive(pid)]


def test_sigterm_ends_the_tree_with_code_0(tree: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, pids = tree
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0
    assert not any(map(alive, pids))


def test_a_leader_whose_supervisor_is_gone_does_not_start() -> None:
    gone = subprocess.run(
        [sys.executable, "-m", "gateway.leader", "1", "qcluster"], capture_output=True, timeout=30
    )
    assert gone.returncode == 1
    assert gone.stdout == b""


# ------------------------------------------------------------------------------------------------- probes


async def test_smtp_probe() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smg.example ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
    async with server:
        assert await supervisor.answers_smtp(endpoint)
        assert not await supervisor.answers_http(endpoint, "/healthz")
    assert not await supervisor.answers_smtp(endpoint)


async def test_outside_parts_names_what_is_missing() -> None:
    config = Config.from_env(
        {"SMG_CLAMD": "tcp:127.0.0.1:1", "SMG_SPAMD": "127.0.0.1:1"}, Path("/nonexistent")
    )
    parts = await supervisor.outside_parts(config)
    assert [(part.setting, part.answers) for part in parts] == [("SMG_CLAMD", False), ("SMG_SPAMD", False)]
    bare = await supervisor.outside_parts(Config.from_env({}, Path("/nonexistent")))
    assert [part.setting for part in bare] == ["SMG_CLAMD", "SMG_RSPAMD"]


async def test_scanners_that_answer(
    clamd_endpoint: str, rspamd_url: str, spamd_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "PROBE_TIMEOUT_S", 30.0)  # a busy machine is no silent scanner
    env = {"SMG_CLAMD": clamd_endpoint, "SMG_RSPAMD": rspamd_url, "SMG_SPAMD": spamd_endpoint}
    parts = await supervisor.outside_parts(Config.from_env(env, Path("/nonexistent")))
    assert [part.answers for part in parts] == [True, True, True]
