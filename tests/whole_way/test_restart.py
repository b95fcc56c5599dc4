"""Restarts while clients connect all the time: nobody is refused, nothing is lost, nothing arrives twice."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.crash import children
from bench.wire import NextHop, PlainClient, Refused, letter, text_of
from tests.dns_server import DnsServer
from tests.relay_harness import ROOT, Relays, RunningRelay, relay_for

pytestmark = pytest.mark.slow
TEXT = text_of(1500)
OPEN = "SELECT count(*) FROM gateway_recipient WHERE state = 'queued'"
LEASED = "SELECT count(*) FROM gateway_recipient WHERE lease_owner <> ''"


@pytest.fixture
def made(relays: Relays, dns: DnsServer, hop: NextHop) -> Iterator[RunningRelay]:
    """Not yet started; ACME may relay from 127.0.0.1."""
    relay = relays.make(
        dns.endpoint, hop.port, hop.port, SMG_MAX_CONNECTIONS_PER_ADDRESS="500", SMG_RETRY_SCHEDULE="1"
    )
    relay.apply(relay_for())
    yield relay
    relay.kill()


@dataclass
class Comers:
    """Clients that open a connection for each message; `faults` is what they were told instead of a 250."""

    port: int
    taken: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: int = 0

    def _number(self) -> int:
        with self._lock:
            self._last += 1
            return self._last

    def _work(self) -> None:
        while not self._stop.is_set():
            number = self._number()
            try:
                client = PlainClient(self.port, timeout_s=30)
                client.send(letter(number, TEXT), "someone@partner.example")
                client.close()
            except (OSError, Refused) as error:
                self.faults.append(f"{number}: {error!r}")
            else:
                self.taken.append(number)

    def wait_for_more(self, number: int) -> None:
        """Until so many more were taken."""
        end, enough = time.monotonic() + 60, len(self.taken) + number
        while len(self.taken) < enough:
            assert time.monotonic() < end, self.faults
            time.sleep(0.02)

    @contextlib.contextmanager
    def coming(self, clients: int = 4) -> Iterator[None]:
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(clients)]
        for thread in threads:
            thread.start()
        yield
        self._stop.set()
        for thread in threads:
            thread.join()


def wait_for_others(pid: int, before: set[int]) -> set[int]:
    """Until none of these children is left and as many others are there."""
    end = time.monotonic() + 60
    while not (now := set(children(pid))) or now & before or len(now) < len(before):
        assert time.monotonic() < end, (before, now)
        time.sleep(0.05)
    return now


@pytest.mark.timeout(120)
def test_a_reload_under_load_refuses_nobody_and_delivers_once(made: RunningRelay, hop: NextHop) -> None:
    made.start()
    assert made.process is not None
    comers = Comers(made.port)
    with comers.coming():
        for _ in range(2):
            time.sleep(1)
            before = set(children(made.process.pid))
            made.process.send_signal(signal.SIGHUP)
            wait_for_others(made.process.pid, before)
        time.sleep(1)
    made.wait_for(OPEN, 0)
    assert comers.faults == []
    assert len(comers.taken) > 50
    assert set(comers.taken) == set(hop.book.copies)
    assert set(hop.book.copies.values()) == {1}


@pytest.mark.timeout(120)
def test_a_reload_into_a_broken_setting_is_not_done(made: RunningRelay, tmp_path: Path) -> None:
    certificate = made.directory / "tls.pem"
    made.env |= {"SMG_TLS_CERT": str(certificate), "SMG_TLS_KEY": str(certificate)}
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=x", "-keyout", str(certificate), "-out", str(tmp_path / "cert")],
        check=True, capture_output=True,
    )  # fmt: skip
    certificate.write_bytes(certificate.read_bytes() + (tmp_path / "cert").read_bytes())
    made.start()
    assert made.process is not None
    while made.log.count("relay ready") < 2:
        time.sleep(0.05)
    before = children(made.process.pid)
    certificate.write_text("broken")
    made.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 30
    while "it would not start" not in made.log:
        assert time.monotonic() < end, made.log
        time.sleep(0.1)
    assert children(made.process.pid) == before
    PlainClient(made.port).close()


@pytest.mark.timeout(120)
def test_sigterm_gives_leases_back_within_ten_seconds_and_sends_nothing_twice(
    made: RunningRelay, hop: NextHop
) -> None:
    made.start()
    assert made.process is not None
    comers = Comers(made.port)
    with comers.coming():
        time.sleep(1.5)
        began = time.monotonic()
        made.stop()
        took_s = time.monotonic() - began
        comers._stop.set()
    assert took_s < 10
    assert made.query(LEASED) == [(0,)]
    assert made.query("SELECT count(*) FROM gateway_worker") == [(0,)]
    made.start()
    made.wait_for(OPEN, 0)
    assert set(comers.taken) <= set(hop.book.copies)
    assert set(hop.book.copies.values()) == {1}


@pytest.mark.timeout(120)
def test_with_a_socket_from_systemd_a_restart_refuses_nobody(made: RunningRelay, hop: NextHop) -> None:
    """Whoever holds the socket (here the test) keeps connections waiting while no relay runs at all."""
    with socket.create_server(("127.0.0.1", made.port), backlog=500) as held:
        comers = Comers(made.port)
        run = start_with(held, made)
        with comers.coming():
            for _ in range(2):
                comers.wait_for_more(20)
                run.send_signal(signal.SIGTERM)
                assert run.wait(15) == 0, made.log
                run = start_with(held, made)
            comers.wait_for_more(20)
        made.wait_for(OPEN, 0)
        run.terminate()
        run.wait(15)
    assert comers.faults == []
    assert len(comers.taken) > 20
    assert set(comers.taken) == set(hop.book.copies)
    assert set(hop.book.copies.values()) == {1}


def start_with(held: socket.socket, relay: RunningRelay) -> subprocess.Popen[bytes]:
    """As systemd does (sd_listen_fds(3)): the socket is descriptor 3."""
    command = ["sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "sh", sys.executable, "manage.py", "relay"]
    log = relay.directory / "activated.log"
    relay.logs.append(log)
    with log.open("ab") as output:
        return subprocess.Popen(
            command, cwd=ROOT, env=relay.env, stdout=output, stderr=output, close_fds=False,
            preexec_fn=lambda: os.dup2(held.fileno(), 3, inheritable=True),  # noqa: PLW1509
        )  # fmt: skip
