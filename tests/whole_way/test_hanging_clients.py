"""Clients that hang in every stage of a session do not keep good ones waiting."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Self

import pytest

from bench.wire import NextHop, PlainClient, letter, text_of
from tests.dns_server import DnsServer
from tests.relay_harness import Relays, RunningRelay, relay_for

pytestmark = pytest.mark.slow

HANGING = 200
MESSAGES = 200
SENDERS = 4
HELLO = b"EHLO client.acme.example\r\n"
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the first octets of one that has 512


def mute(_: socket.socket) -> None:
    """Connects and reads nothing."""


def half_hello(client: socket.socket) -> None:
    client.recv(1000)
    client.sendall(HELLO[:4])


def half_handshake(client: socket.socket) -> None:
    client.recv(1000)
    client.sendall(HELLO)
    client.recv(1000)
    client.sendall(b"STARTTLS\r\n")
    client.recv(1000)
    client.sendall(CLIENT_HELLO)


def half_message(client: socket.socket) -> None:
    client.recv(1000)
    for line in (HELLO, b"MAIL FROM:<web@acme.example>\r\n", b"RCPT TO:<x@partner.example>\r\n", b"DATA\r\n"):
        client.sendall(line)
        client.recv(1000)
    client.sendall(b"Subject: never\r\n\r\nto be")


STAGES: tuple[Callable[[socket.socket], None], ...] = (mute, half_hello, half_handshake, half_message)


class HangingClients:
    """All hang; of those who have said something every second one goes on with a single octet now and then."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.sockets: list[socket.socket] = []
        self._stop = threading.Event()
        self._dripping = threading.Thread(target=self._drip)

    def __enter__(self) -> Self:
        for number, stage in zip(range(HANGING), itertools.cycle(STAGES), strict=False):
            source = f"127.0.0.{2 + number % 8}"  # no address may have too many connections
            client = socket.create_connection(("127.0.0.1", self._port), 20, (source, 0))
            self.sockets.append(client)
            stage(client)
        self._dripping.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._dripping.join()
        for client in self.sockets:
            client.close()

    def _drip(self) -> None:
        while not self._stop.wait(0.2):
            for number, client in enumerate(self.sockets):
                if number % len(STAGES) and number // len(STAGES) % 2:
                    client.sendall(b"x")

    def still_open(self) -> int:
        """Whom the relay has not hung up on: room for good clients was not made at the cost of slow ones."""
        return sum(map(_is_open, self.sockets))


def _is_open(client: socket.socket) -> bool:
    client.settimeout(0)
    try:
        while client.recv(1000):
            pass
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@pytest.fixture
def relay(relays: Relays, dns: DnsServer, hop: NextHop) -> Iterator[RunningRelay]:
    running = relays.make(dns.endpoint, hop.port, hop.port)
    running.apply(relay_for().replace("127.0.0.1/32", "127.0.0.0/28"))
    running.start()
    yield running
    running.kill()


def send_all(port: int, numbers: range, failed: list[str]) -> None:
    for number in numbers:
        try:
            client = PlainClient(port)
            client.send(letter(number, text_of(2000)), "someone@partner.example")
            client.close()
        except Exception as error:
            failed.append(repr(error))


@pytest.mark.timeout(180)
def test_good_mail_passes_two_hundred_hanging_clients(relay: RunningRelay, hop: NextHop) -> None:
    failed: list[str] = []  # the senders' errors
    with HangingClients(relay.port) as hanging:
        threads = [
            threading.Thread(target=send_all, args=(relay.port, range(first, MESSAGES, SENDERS), failed))
            for first in range(SENDERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        relay.wait_for(
            "SELECT count(*) FROM gateway_recipient WHERE state = 'delivered'", MESSAGES, timeout_s=30
        )
        assert hanging.still_open() == HANGING
    assert failed == []
    assert sorted(hop.book.copies) == list(range(MESSAGES))
    assert set(hop.book.copies.values()) == {1}
