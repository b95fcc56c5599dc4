"""250 stands on the disk: the system calls of a running relay, in order, as strace sees them."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.crash import children
from bench.wire import NextHop, PlainClient, letter, text_of
from tests.dns_server import DnsServer
from tests.relay_harness import Relays, RunningRelay, relay_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("strace") is None, reason="strace is not installed (Debian package strace)"
    ),
]
SYNCED = re.compile(r"(fdatasync|fsync)(\(\d+\)| resumed>\))\s+= 0")
ACCEPTED = re.compile(r'"250 2\.0\.0 Ok: queued as')
ATTACH_S = 10.0


@contextmanager
def traced(relay: RunningRelay, output: Path) -> Iterator[None]:
    """The system calls of the relay's first process, all threads of it."""
    assert relay.process is not None
    pid = children(relay.process.pid)[0]
    calls = "trace=fsync,fdatasync,write,writev,sendto,sendmsg"
    command = ["strace", "-f", "-tt", "-s", "60", "-e", calls, "-o", str(output), "-p", str(pid)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        if b"attached" not in process.stderr.readline():
            pytest.skip("strace may not attach to processes here")
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def relay(relays: Relays, dns: DnsServer) -> Iterator[RunningRelay]:
    with NextHop() as hop:
        running = relays.make(dns.endpoint, hop.port, hop.port, SMG_RELAY_PROCESSES="1")
        if not running.is_sqlite:
            pytest.skip("with PostgreSQL the server writes to the disk, not the relay")
        running.apply(relay_for())
        running.start()
        yield running
        running.kill()


def order(lines: list[str]) -> list[str]:
    """'sync' and '250' in the order in which they ended and began."""
    events = [(SYNCED.search(line), ACCEPTED.search(line)) for line in lines]
    return ["250" if accepted else "sync" for synced, accepted in events if synced or accepted]


@pytest.mark.timeout(90)
@pytest.mark.parametrize("size", [2000, 200_000], ids=["in the row", "in the spool"])
def test_no_250_before_the_disk_has_it(relay: RunningRelay, tmp_path: Path, size: int) -> None:
    trace = tmp_path / "trace"
    client = PlainClient(relay.port)
    time.sleep(1)  # the start's own commits
    with traced(relay, trace):
        client.envelope("web@acme.example", "someone@partner.example")
        before = len(trace.read_text().splitlines())
        client.ask(letter(1, text_of(size)) + b".\r\n")
    events = order(trace.read_text().splitlines()[before:])
    position = events.index("250")
    assert events[:position].count("sync") >= (3 if size > 100_000 else 1), events  # file, directory, commit
