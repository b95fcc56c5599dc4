"""Runs the gateway's parts together: starts them, passes their output on, starts one again that ended, stops all.

Each part's leader has a session of its own: Ctrl-C in the terminal reaches the supervisor alone, and only leaders get
SIGTERM (django-q2's cluster hangs when its whole group gets it). What a leader leaves behind is killed with its group.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.config import Config, Endpoint
from gateway.rules import supervision
from gateway.rules.supervision import LinePrefixer

STOP_TIMEOUT_S = 15.0  # longer than the relay takes at most to finish what it holds (relay_master)
EXIT_CONFIG = 78  # a part says that starting it again would not help (EX_CONFIG of sysexits.h)
READY_TIMEOUT_S = 60.0
PROBE_EVERY_S = 0.2
PROBE_TIMEOUT_S = 2.0

Write = Callable[[bytes], None]
Probe = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class PartSpec:
    """One part: its name in front of its lines, its command line, and how to see that it works (None: it runs)."""

    name: str
    command: Sequence[str]
    probe: Probe | None = None


def leader(*command: str) -> list[str]:
    """Command line of a part that ends with this process, whatever happens to it."""
    return [sys.executable, "-m", "gateway.leader", str(os.getpid()), *command]


def parts(config: Config) -> list[PartSpec]:
    """Portal, relay and scheduler; in the demo the sink at the end of its gateways, too."""
    gunicorn = [
        "gunicorn", "portal.wsgi", "--no-control-socket", "--bind", str(config.web_listen),
        "--workers", "2", "--threads", "4", "--timeout", "60", "--graceful-timeout", "8", "--log-level", "warning",
    ]  # fmt: skip
    first = config.smtp_listen[0] if config.smtp_listen else None
    found = [
        PartSpec("web", leader(*gunicorn), lambda: answers_http(config.web_listen, "/healthz")),
        PartSpec("relay", leader("relay"), (lambda: answers_smtp(first)) if first else None),
        PartSpec("scheduler", leader("scheduler")),
    ]
    if config.demo:
        found.append(PartSpec("sink", leader("demo_sink"), lambda: answers_smtp(config.demo_sink)))
    return found


class Supervisor:
    """Keeps `specs` running until `stop` is called or a signal comes. Output goes to `write`."""

    def __init__(self, specs: Sequence[PartSpec], write: Write, *, colour: bool = False) -> None:
        self._specs = specs
        self._write = write
        self._colour = colour
        self._width = max(len(spec.name) for spec in specs)
        self._stopping = asyncio.Event()
        self._code = 0
        self._running: dict[str, asyncio.subprocess.Process] = {}

    def stop(self) -> None:
        self._stopping.set()

    async def run(self, when_ready: Callable[[], Awaitable[str]]) -> int:
        """Returns after a clean stop, 0 or the code of a part that cannot be started at all; prints what `when_ready`
        returns once every part answers."""
        self._listen_to_signals()
        keepers = [asyncio.create_task(self._keep(spec)) for spec in self._specs]
        greeter = asyncio.create_task(self._greet(when_ready))
        await self._stopping.wait()
        greeter.cancel()
        await asyncio.gather(*(self._end(process) for process in list(self._running.values())))
        await asyncio.gather(*keepers)
        return self._code

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(signum, self.stop)

    async def _keep(self, spec: PartSpec) -> None:
        """Starts a part again and again, ever more slowly while its lives are short."""
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._live(spec)
            if self._stopping.is_set():
                return
            if code == EXIT_CONFIG:
                self._say(spec.name, "cannot be started with these settings; everything stops")
                self._code = code
                self.stop()
                return
            ran_s = time.monotonic() - began
            failures = supervision.failures_in_a_row(failures, ran_s)
            delay_s = supervision.restart_delay_s(failures)
            self._say(
                spec.name,
                f"{supervision.ending(code)} after {ran_s:.1f} s, starting again in {delay_s:.1f} s",
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)

    async def _live(self, spec: PartSpec) -> int:
        """One life of a part, from its start to its exit status."""
        # A pipe of our own: asyncio's would make wait() last until the last grandchild has closed it.
        output, end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *spec.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=end,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(end)
        self._running[spec.name] = process
        passing_on = asyncio.create_task(self._pass_on(spec.name, output))
        code = await process.wait()
        _kill_group(process.pid)  # what a killed leader left behind
        await passing_on
        del self._running[spec.name]
        return code

    async def _pass_on(self, name: str, output: int) -> None:
        lines = LinePrefixer(name, self._width, self._colour)
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb", 0)
        )
        while chunk := await reader.read(65536):
            self._write(lines.feed(chunk))
        self._write(lines.finish())
        transport.close()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """SIGTERM to the leader alone, SIGKILL to its group when it takes too long."""
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            _kill_group(process.pid)

    async def _greet(self, when_ready: Callable[[], Awaitable[str]]) -> None:
        until = time.monotonic() + READY_TIMEOUT_S
        waiting = {spec.name: spec.probe for spec in self._specs if spec.probe}
        while waiting and time.monotonic() < until:
            answers = {name: await probe() for name, probe in waiting.items()}
            waiting = {name: probe for name, probe in waiting.items() if not answers[name]}
            if waiting:
                await asyncio.sleep(PROBE_EVERY_S)
        for name in waiting:
            self._say(name, f"does not answer after {READY_TIMEOUT_S:.0f} s; its lines above say why")
        if not waiting:
            self._write((await when_ready()).encode() + b"\n")

    def _say(self, name: str, text: str) -> None:
        self._write(LinePrefixer(name, self._width, self._colour).feed(text.encode() + b"\n"))


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


# ------------------------------------------------------------------------------------------------- does it answer?


async def answers_http(endpoint: Endpoint, path: str) -> bool:
    """Does a GET bring a 200?"""
    request = f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()
    return b" 200 " in (await _exchange(endpoint, request)).split(b"\r\n", 1)[0]


async def answers_smtp(endpoint: Endpoint) -> bool:
    """Is there a 220 greeting? (A proxy protocol listener stays silent: a connection is enough there.)"""
    return (await _exchange(endpoint, b"")).startswith(b"220")


async def answers_clamd(endpoint: Endpoint) -> bool:
    return (await _exchange(endpoint, b"zPING\0")).startswith(b"PONG")


async def answers_spamd(endpoint: Endpoint) -> bool:
    return b"PONG" in await _exchange(endpoint, b"PING SPAMC/1.2\r\n\r\n")


async def answers_rspamd(url: str) -> bool:
    """Does the normal worker of this URL answer its /ping?"""
    parts = urlsplit(url)
    return await answers_http(Endpoint(host=parts.hostname or "", port=parts.port or 11333), "/ping")


async def _exchange(endpoint: Endpoint, request: bytes) -> bytes:
    """What comes first after `request`; empty when nobody answers in time."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await _connect(endpoint)
            writer.write(request)
            answer = await reader.read(512)
            writer.close()
            return answer
    except (OSError, TimeoutError):
        return b""


async def _connect(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if endpoint.path:
        return await asyncio.open_unix_connection(endpoint.path)
    there = endpoint.as_client()
    return await asyncio.open_connection(there.host, there.port)


async def outside_parts(config: Config) -> list[supervision.Part]:
    """The scanners, asked whether they answer."""
    clamd = all([await answers_clamd(endpoint) for endpoint in config.clamd])
    rspamd = bool(config.rspamd) and await answers_rspamd(config.rspamd)
    spamd = config.spamd is not None and await answers_spamd(config.spamd)
    found = [
        supervision.Part("SMG_CLAMD", ",".join(map(str, config.clamd)), clamd),
        supervision.Part("SMG_RSPAMD", config.rspamd, rspamd),
        supervision.Part("SMG_SPAMD", str(config.spamd or ""), spamd),
    ]
    both_unset = not config.rspamd and not config.spamd
    return [
        part
        for part in found
        if part.value or part.setting == "SMG_CLAMD" or (both_unset and part.setting == "SMG_RSPAMD")
    ]
