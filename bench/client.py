"""CPU per message of the delivering half alone: our client against Postfix's smtp-sink.

    .venv/bin/python -m bench.client [--messages 20000] [--size 4096] [--parallel 10]

Prints one JSON line per run: messages/s and milliseconds of our process's CPU per message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import uvloop

from gateway.deliver import Deliverer
from gateway.outbound.session import Opener
from gateway.rules.policy import GatewayPolicy
from gateway.rules.route_types import DeliveryJob, Hop, JobRecipient, Route
from gateway.rules.types import Address, Pool, State
from gateway.tls.contexts import TlsContexts

GATEWAY = GatewayPolicy(id=1, name="bench", pool=Pool.GOOD, hostname="bench.smg.example")


@contextmanager
def sink() -> Iterator[int]:
    """smtp-sink on a free port; yields the port."""
    binary = shutil.which("smtp-sink") or "/usr/sbin/smtp-sink"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []  # smtp-sink refuses to run as root
    process = subprocess.Popen([binary, *as_nobody, f"127.0.0.1:{port}", "1000"])
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("smtp-sink does not answer")


async def run(port: int, messages: int, size: int, parallel: int) -> dict[str, float]:
    line = b"The quick brown fox jumps over the lazy dog, says the test.\r\n"
    body = b"From: a@acme.example\r\nSubject: bench\r\n\r\n" + line * (size // len(line))
    route = Route(GATEWAY, "partner.example", (Hop("mx.partner.example", port, ("127.0.0.1",)),))
    deliverer = Deliverer(Opener(TlsContexts(), lambda: datetime.now(UTC)))
    left = iter(range(messages))

    async def worker() -> None:
        for number in left:
            recipient = JobRecipient(number, Address("bob", "partner.example"))
            job = DeliveryJob(number, Address("alice", "acme.example"), (recipient,), body)
            (outcome,) = await deliverer.deliver(job, route, messages_per_connection=1000)
            assert outcome.state is State.DELIVERED, outcome

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(parallel)))
    seconds, used = time.perf_counter() - started, time.process_time() - cpu
    deliverer.close()
    return {"per_s": round(messages / seconds), "cpu_ms_per_message": round(used / messages * 1000, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--size", type=int, nargs="*", default=[4096, 51_200, 1_048_576])
    parser.add_argument("--parallel", type=int, nargs="*", default=[1, 10])
    options = parser.parse_args()
    with sink() as port:
        for size in options.size:
            for parallel in options.parallel:
                messages = max(options.messages * 4096 // max(size, 4096), 100)
                result = uvloop.run(run(port, messages, size, parallel))
                print(json.dumps({"size": size, "parallel": parallel, "messages": messages, **result}))


if __name__ == "__main__":
    main()
