"""Messages of ten mebibytes take less than three times their size in memory, from the first octet to the next hop's
250, and it comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.rig import peak_mib, rss_mib, tree_of
from bench.wire import NextHop, PlainClient, letter, text_of
from tests.dns_server import DnsServer
from tests.relay_harness import Relays, RunningRelay, relay_for

pytestmark = pytest.mark.slow

SIZE_MIB = 10
TIMES = 3
AT_ONCE = 4
BESIDE_MIB = 8  # what small mail and the measuring may take
GIVEN_BACK_S = 45.0  # the relay gives free memory back every half minute


@pytest.fixture
def relay(relays: Relays, dns: DnsServer, hop: NextHop) -> Iterator[RunningRelay]:
    running = relays.make(dns.endpoint, hop.port, hop.port, SMG_RELAY_PROCESSES="1")
    running.apply(relay_for())
    running.start()
    yield running
    running.kill()


def worker_of(relay: RunningRelay) -> int:
    assert relay.process is not None
    return tree_of(relay.process.pid)[1]


def forget_peak(pid: int) -> float:
    """Let VmHWM begin anew; what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return rss_mib(pid)


def send(port: int, numbers: list[int], text: bytes) -> None:
    def one(number: int) -> None:
        client = PlainClient(port, timeout_s=60)
        client.send(letter(number, text), "someone@partner.example")
        client.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def wait_for(hop: NextHop, count: int) -> None:
    end = time.monotonic() + 60
    while len(hop.book.copies) < count:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.timeout(300)
def test_big_messages_take_less_than_three_times_their_size(relay: RunningRelay, hop: NextHop) -> None:
    big, small = text_of(SIZE_MIB << 20), text_of(2000)
    send(relay.port, list(range(1, 20)), small)
    wait_for(hop, 19)
    pid = worker_of(relay)
    start = forget_peak(pid)
    send(relay.port, [100], big)
    wait_for(hop, 20)
    one = peak_mib(pid) - start
    assert one < TIMES * SIZE_MIB, f"{one:.0f} MiB for one message"
    start = forget_peak(pid)
    send(relay.port, list(range(200, 200 + AT_ONCE)), big)
    wait_for(hop, 20 + AT_ONCE)
    several = peak_mib(pid) - start
    assert several < TIMES * SIZE_MIB * AT_ONCE, f"{several:.0f} MiB for {AT_ONCE} messages"
    assert hop.book.damaged == []
    end = time.monotonic() + GIVEN_BACK_S
    while (kept := rss_mib(pid) - start) > BESIDE_MIB:
        assert time.monotonic() < end, f"{kept:.0f} MiB are kept"
        time.sleep(0.5)
    print(f"one {one:.1f}, several {several:.1f}, kept {kept:.1f} MiB")
