"""Load for the comparison: smtp-source for throughput, a client of our own for latency and for TLS with AUTH."""

from __future__ import annotations

import asyncio
import base64
import ssl
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from bench.ingress import Client
from bench.peers import Server
from bench.rig import Sink, cpu_ms, percentile, pss_mib, rss_mib
from bench.wire import letter, text_of
from tests.relay_harness import SECRET
from tests.services import find_binary

SENDER, RECIPIENT = "web@acme.example", "someone@partner.example"
AUTH = b"AUTH PLAIN " + base64.b64encode(f"\0acme-web\0{SECRET}".encode()) + b"\r\n"


@dataclass
class Measured:
    """One run of one server. Times in seconds, processor time per message in ms."""

    server: str
    way: str
    size: int
    sessions: int
    messages: int
    accepted_per_s: float = 0.0
    delivered_per_s: float = 0.0
    cpu_ms: dict[str, float] = field(default_factory=dict)  # per message, by part
    rss_mib: dict[str, float] = field(
        default_factory=dict
    )  # largest process, and the proportional size of all
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    incomplete: int = 0  # messages that did not arrive in time

    @property
    def cpu_total_ms(self) -> float:
        return sum(self.cpu_ms.values())


class Meter:
    """Processor time of a server's parts between `start` and `read`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        return {part: cpu_ms(self._server.pids(part)) for part in self._server.parts}

    def per_message(self, messages: int) -> dict[str, float]:
        now = self._now()
        return {part: round((now[part] - self._before[part]) / messages, 3) for part in now}


def memory(server: Server) -> dict[str, float]:
    pids = [pid for part in server.parts if part != "clamd" for pid in server.pids(part)]
    return {"largest": round(max(map(rss_mib, pids)), 1), "all_pss": round(pss_mib(pids), 1)}


def message_file(directory: Path, size: int) -> Path:
    """What smtp-source sends (-F): lines without CR."""
    path = directory / f"message-{size}"
    path.write_bytes(letter(1, text_of(size - 300, 3)).replace(b"\r\n", b"\n"))
    return path


def throughput(
    server: Server,
    sink: Sink,
    file: Path,
    *,
    size: int,
    sessions: int,
    messages: int,
    keep_alive: bool = True,
    recipients: int = 1,
) -> Measured:
    """smtp-source as fast as it can, until all have arrived at the sink. Several recipients of a message share one
    domain, so that it arrives once."""
    way = "kept alive" if keep_alive else "connection each"
    way += f", {recipients} recipients" if recipients > 1 else ""
    result = Measured(server.name, way, size, sessions, messages)
    before, meter, started = sink.count, Meter(server), time.monotonic()
    source(
        server.port, file, sessions=sessions, messages=messages, keep_alive=keep_alive, recipients=recipients
    )
    result.accepted_per_s = round(messages / (time.monotonic() - started), 1)
    if not sink.wait_for(before + messages, 300):
        result.incomplete = before + messages - sink.count
    result.delivered_per_s = round((sink.count - before) / (time.monotonic() - started), 1)
    time.sleep(0.3)  # the last settlements
    result.cpu_ms = meter.per_message(messages)
    result.rss_mib = memory(server)
    return result


def source(
    port: int, file: Path, *, sessions: int, messages: int, keep_alive: bool = True, recipients: int = 1
) -> None:
    command = [find_binary("smtp-source") or "smtp-source", "-s", str(sessions), "-m", str(messages)]
    command += ["-f", SENDER, "-t", RECIPIENT, "-F", str(file), "-M", "client.acme.example"]
    command += ["-d"] if keep_alive else []
    command += ["-r", str(recipients)] if recipients > 1 else []
    subprocess.run([*command, f"127.0.0.1:{port}"], check=True, stdout=subprocess.DEVNULL)


# ---- our own client


async def _open(port: int) -> Client:
    client = Client(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))
    await client.ask(b"")
    await client.ask(b"EHLO client.acme.example\r\n")
    return client


async def _secure(client: Client, context: ssl.SSLContext, *, login: bool) -> None:
    await client.ask(b"STARTTLS\r\n")
    await client.writer.start_tls(context)
    await client.ask(b"EHLO client.acme.example\r\n")
    if login:
        await client.ask(AUTH)


async def _send(client: Client, message: bytes) -> float:
    for line in (f"MAIL FROM:<{SENDER}>\r\n", f"RCPT TO:<{RECIPIENT}>\r\n", "DATA\r\n"):
        await client.ask(line.encode())
    started = time.perf_counter()
    await client.ask(message + b".\r\n")
    return time.perf_counter() - started


def latency(server: Server, *, size: int, per_s: float, seconds: float, sessions: int = 20) -> Measured:
    """Messages at an even pace over kept connections; how long the 250 takes after the dot."""
    times = uvloop.run(_paced(server.port, size, per_s, seconds, sessions))
    meter_less = Measured(server.name, f"at {per_s:.0f}/s", size, sessions, len(times))
    meter_less.p50_ms = round(percentile(times, 0.5) * 1000, 2)
    meter_less.p99_ms = round(percentile(times, 0.99) * 1000, 2)
    return meter_less


async def _paced(port: int, size: int, per_s: float, seconds: float, sessions: int) -> list[float]:
    message, times = letter(1, text_of(size - 300, 3)), []
    free: asyncio.Queue[Client] = asyncio.Queue()
    for _ in range(sessions):
        free.put_nowait(await _open(port))

    async def one() -> None:
        client = await free.get()
        times.append(await _send(client, message))
        free.put_nowait(client)

    begun, tasks = time.perf_counter(), []
    for number in range(int(per_s * seconds)):
        await asyncio.sleep(max(0.0, begun + number / per_s - time.perf_counter()))
        tasks.append(asyncio.ensure_future(one()))
    await asyncio.gather(*tasks)
    return times


def secured(
    server: Server, sink: Sink, *, size: int, sessions: int, messages: int, keep_alive: bool, login: bool
) -> Measured:
    """STARTTLS (and AUTH where the server knows our login), once per session or per message."""
    way = ("TLS+AUTH" if login else "TLS") + (", kept alive" if keep_alive else ", connection each")
    result = Measured(server.name, way, size, sessions, messages)
    before, meter, started = sink.count, Meter(server), time.monotonic()
    times = uvloop.run(_secured(server.port, size, sessions, messages, keep_alive=keep_alive, login=login))
    result.accepted_per_s = round(messages / (time.monotonic() - started), 1)
    if not sink.wait_for(before + messages, 300):
        result.incomplete = before + messages - sink.count
    result.delivered_per_s = round((sink.count - before) / (time.monotonic() - started), 1)
    result.cpu_ms = meter.per_message(messages)
    result.p50_ms, result.p99_ms = (round(percentile(times, share) * 1000, 2) for share in (0.5, 0.99))
    return result


async def _secured(
    port: int, size: int, sessions: int, messages: int, *, keep_alive: bool, login: bool
) -> list[float]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    message, times, left = letter(1, text_of(size - 300, 3)), [], iter(range(messages))

    async def opened() -> Client:
        client = await _open(port)
        await _secure(client, context, login=login)
        return client

    async def worker() -> None:
        client: Client | None = None
        for _number in left:
            client = client or await opened()
            times.append(await _send(client, message))
            if not keep_alive:
                await client.ask(b"QUIT\r\n")
                client.writer.close()
                client = None

    await asyncio.gather(*(worker() for _ in range(sessions)))
    return times


def as_json(result: Measured) -> dict[str, Any]:
    return {**result.__dict__, "cpu_total_ms": round(result.cpu_total_ms, 3)}
