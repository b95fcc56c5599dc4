"""CPU per message of the receiving half alone: ours beside stock aiosmtpd, with nothing behind.

    .venv/bin/python -m bench.ingress [--seconds 3] [--sizes 4096,51200,1048576] [--ways data,bdat,tls,...]

Each server is a process of its own, measured by its CPU time (which other work on the machine disturbs little), under
a load of 16 sessions from this process. Prints one JSON line per server, way and size: milliseconds of CPU per message
and what one core could take, and the rate seen with both processes on this machine.

data = one command at a time, pipelined = MAIL, RCPT and DATA in one segment, bdat = in one segment with the body,
connect = one message per connection, tls = one message per connection with STARTTLS and AUTH.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import multiprocessing
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop
from aiosmtpd.smtp import SMTP, AuthResult

from gateway.config import Config, Endpoint
from gateway.reception import Login
from gateway.rules.ids import IdMaker
from gateway.rules.policy import Snapshot
from gateway.rules.types import Reply
from gateway.smtp.server import Listener, serve
from gateway.smtp.tls import server_context
from tests.gateway.accept.house import client_context

SESSIONS = 16
LINE = b"The invoice for November is attached, please pay it within 14 days.\r\n"
ENVELOPE = (b"MAIL FROM:<alice@acme.example>\r\n", b"RCPT TO:<bob@globex.example>\r\n")
AUTH = b"AUTH PLAIN " + base64.b64encode(b"\0acme-web\0s3cret") + b"\r\n"
OURS, STOCK = "ours", "stock"


# ---- the servers


class NullGatekeeper:
    """Everybody may send everything, and it is gone."""

    policy = Snapshot(networks=((ip_network("127.0.0.0/8"), 1),))

    def snapshot(self) -> Snapshot:
        return self.policy

    async def authenticate(self, *_asked: Any) -> Login:
        return Login(1, 1, "acme-web")

    async def check_sender(self, *_asked: Any) -> None:
        return None

    async def check_recipient(self, *_asked: Any) -> None:
        return None

    async def receive(self, *_asked: Any) -> Reply:
        return Reply(250, "2.0.0", "Ok: queued as nothing")

    def transaction_ended(self, *_told: Any) -> None: ...

    def record_refusal(self, *_told: Any) -> None: ...

    def observe(self, *_told: Any) -> None: ...


class NullHandler:
    async def handle_DATA(self, *_asked: Any) -> str:  # noqa: N802
        return "250 Ok"


def run_server(kind: str, use_uvloop: bool, pipe: Connection) -> None:
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd warns of itself at every AUTH
    factory = uvloop.new_event_loop if use_uvloop else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve_ours(pipe) if kind == OURS else serve_stock(pipe))


def config(var_dir: str) -> Config:
    return Config.from_env({"SMG_VAR_DIR": var_dir, "SMG_HOSTNAME": "relay.test"}, Path(var_dir))


async def serve_ours(pipe: Connection) -> None:
    with tempfile.TemporaryDirectory() as var_dir:
        here = [Listener(Endpoint("127.0.0.1", 0))]
        servers = await serve(config(var_dir), NullGatekeeper(), ids=IdMaker(1), listeners=here)
        pipe.send(servers.addresses[0][1])
        await asyncio.Event().wait()


async def serve_stock(pipe: Connection) -> None:
    with tempfile.TemporaryDirectory() as var_dir:
        context, loop = server_context(config(var_dir)), asyncio.get_running_loop()

        def protocol() -> SMTP:
            return SMTP(
                NullHandler(),
                data_size_limit=50 * 1024 * 1024,
                enable_SMTPUTF8=True,
                hostname="relay.test",
                tls_context=context,
                authenticator=lambda *_asked: AuthResult(success=True),
                loop=loop,
            )

        server = await loop.create_server(protocol, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()


# ---- the load


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, data: bytes, replies: int = 1) -> bytes:
        """Send, and read so many replies."""
        self.writer.write(data)
        line = b""
        for _ in range(replies):
            while (line := await self.reader.readline())[3:4] == b"-":
                pass
        if line[:1] not in b"23" or not line:
            raise RuntimeError(f"{data[:40]!r} was answered {line!r}")
        return line


async def opened(port: int) -> Client:
    client = Client(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))
    await client.ask(b"")
    await client.ask(b"EHLO bench\r\n")
    return client


async def say_data(client: Client, body: bytes) -> None:
    for command in (*ENVELOPE, b"DATA\r\n"):
        await client.ask(command)
    await client.ask(body + b".\r\n")


async def say_pipelined(client: Client, body: bytes) -> None:
    await client.ask(b"".join(ENVELOPE) + b"DATA\r\n", 3)
    await client.ask(body + b".\r\n")


async def say_bdat(client: Client, body: bytes) -> None:
    await client.ask(b"".join(ENVELOPE) + b"BDAT %d LAST\r\n" % len(body) + body, 3)


async def keep_alive(
    port: int, body: bytes, until: float, say: Callable[[Client, bytes], Awaitable[None]]
) -> int:
    client, sent = await opened(port), 0
    while time.monotonic() < until:
        await say(client, body)
        sent += 1
    client.writer.close()
    return sent


async def connect_each(port: int, body: bytes, until: float, *, tls: bool) -> int:
    sent = 0
    context = client_context()
    while time.monotonic() < until:
        client = await opened(port)
        if tls:
            await client.ask(b"STARTTLS\r\n")
            await client.writer.start_tls(context)
            await client.ask(b"EHLO bench\r\n")
            await client.ask(AUTH)
        await say_data(client, body)
        await client.ask(b"QUIT\r\n")
        client.writer.close()
        sent += 1
    return sent


WAYS: dict[str, Callable[[int, bytes, float], Awaitable[int]]] = {
    "data": lambda port, body, until: keep_alive(port, body, until, say_data),
    "pipelined": lambda port, body, until: keep_alive(port, body, until, say_pipelined),
    "bdat": lambda port, body, until: keep_alive(port, body, until, say_bdat),
    "connect": lambda port, body, until: connect_each(port, body, until, tls=False),
    "tls": lambda port, body, until: connect_each(port, body, until, tls=True),
}


async def load(port: int, way: str, body: bytes, seconds: float) -> int:
    until = time.monotonic() + seconds
    return sum(await asyncio.gather(*(WAYS[way](port, body, until) for _ in range(SESSIONS))))


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(kind: str, use_uvloop: bool, way: str, size: int, seconds: float) -> dict[str, Any]:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=run_server, args=(kind, use_uvloop, theirs))
    server.start()
    try:
        port = ours.recv()
        body = LINE * max(1, size // len(LINE))
        uvloop.run(load(port, way, body, 0.3))  # warm
        before = cpu_s(server.pid or 0)
        sent = uvloop.run(load(port, way, body, seconds))
        ms = (cpu_s(server.pid or 0) - before) * 1000 / sent
    finally:
        server.terminate()
        server.join()
    loop = "uvloop" if use_uvloop else "asyncio"
    return {
        "server": kind, "loop": loop, "way": way, "size": size, "messages": sent, "cpu_ms": round(ms, 3),
        "per_core_s": round(1000 / ms), "seen_s": round(sent / seconds),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--sizes", default="4096,51200,1048576")
    parser.add_argument("--ways", default="data,pipelined,bdat,connect,tls")
    parser.add_argument("--servers", default="stock/asyncio,ours/asyncio,ours/uvloop")
    options = parser.parse_args()
    for way in options.ways.split(","):
        sizes = [int(size) for size in options.sizes.split(",")] if way in {"data", "bdat"} else [4096]
        for size in sizes:
            for server in options.servers.split(","):
                kind, _slash, loop = server.partition("/")
                if kind == STOCK and way in {"pipelined", "bdat"}:
                    continue  # it offers neither
                print(json.dumps(measure(kind, loop == "uvloop", way, size, options.seconds)), flush=True)


if __name__ == "__main__":
    main()
