"""A long queue for a dead destination: how soon new mail leaves, what waiting costs, how long a restart takes.

python -m bench.waiting                 # 100,000 waiting messages
python -m bench.waiting --number 20000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from bench.rig import cpu_ms, peak_mib, pss_mib, rss_mib, tree_of
from bench.wire import NextHop, PlainClient, letter, text_of
from tests.dns_server import DnsServer
from tests.relay_harness import Relays, RunningRelay, relay_for

FILL = Path("tests/whole_way/deferred.py")
DEAD, ALIVE = "dead.example", "partner.example"
WAITING = f"SELECT count(*) FROM gateway_recipient WHERE state = 'queued' AND domain = '{DEAD}'"  # noqa: S608
IDLE_S = 60


def made(relays: Relays, dns: DnsServer, hop: NextHop, number: int) -> RunningRelay:
    """A relay that delivers by MX, with so many messages due for a destination where nobody listens."""
    for domain, ip in (("acme.example", "127.0.0.1"), (ALIVE, "127.0.0.1"), (DEAD, "127.0.0.9")):
        dns.mail_domain(domain, ip)
    relay = relays.make(dns.endpoint, hop.port, hop.port, SMG_DELIVERY_PORT=str(hop.port))
    relay.apply(relay_for())
    relay.execute("UPDATE gateway_gateway SET next_hop = ?", [""])
    relay.manage("shell", "-c", f"{FILL.read_text()}\nfill({number}, {DEAD!r})")
    return relay


def delay_s(relay: RunningRelay, hop: NextHop, number: int) -> float:
    """From the connection of a client to the arrival of its message at the next hop."""
    started = time.monotonic()
    client = PlainClient(relay.port)
    client.send(letter(number, text_of(1500)), f"someone@{ALIVE}")
    client.close()
    while number not in hop.book.times:
        if time.monotonic() - started > 60:
            raise TimeoutError(f"message {number} did not arrive\n{relay.log[-3000:]}")
        time.sleep(0.005)
    return hop.book.times[number] - started


def started_s(relay: RunningRelay) -> float:
    begun = time.monotonic()
    relay.start()
    return time.monotonic() - begun


def idle_share(relay: RunningRelay, seconds: float) -> float:
    """Processor time of all processes of the relay, as a share of one processor."""
    pids = tree_of(relay.process.pid) if relay.process else []
    used, begun = cpu_ms(pids), time.monotonic()
    time.sleep(seconds)
    return (cpu_ms(pids) - used) / 1000 / (time.monotonic() - begun)


def show_delays(name: str, delays: list[float]) -> None:
    print(
        f"{name:<34} {max(delays):6.2f} s at most of {len(delays)}, {sorted(delays)[len(delays) // 2]:.2f} s median"
    )


def measure(relay: RunningRelay, hop: NextHop, number: int) -> None:
    print(f"{'start with ' + str(number) + ' due':<34} {started_s(relay):6.2f} s")
    show_delays("new mail, just after the start", [delay_s(relay, hop, number) for number in range(1, 21)])
    time.sleep(10)
    print(f"{'processor while they wait':<34} {idle_share(relay, IDLE_S):6.1%} of one, over {IDLE_S} s")
    show_delays("new mail, a minute later", [delay_s(relay, hop, number) for number in range(21, 41)])
    pids = tree_of(relay.process.pid) if relay.process else []
    largest = max(pids, key=rss_mib)
    print(
        f"{'memory, largest process':<34} {rss_mib(largest):6.0f} MiB, {peak_mib(largest):.0f} MiB at its peak"
    )
    print(f"{'memory, all processes':<34} {pss_mib(pids):6.0f} MiB")
    begun = time.monotonic()
    relay.stop()
    print(f"{'orderly stop':<34} {time.monotonic() - begun:6.2f} s")
    print(f"{'start again':<34} {started_s(relay):6.2f} s")
    relay.kill()
    print(f"{'start after kill -9':<34} {started_s(relay):6.2f} s")
    show_delays("new mail after that", [delay_s(relay, hop, number) for number in range(41, 61)])
    print(f"{'still waiting':<34} {relay.query(WAITING)[0][0]:6}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--number", type=int, default=100_000)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="smg-waiting-") as directory,
        DnsServer() as dns,
        NextHop() as hop,
    ):
        relays = Relays(Path(directory))
        try:
            measure(made(relays, dns, hop, options.number), hop, options.number)
        finally:
            relays.stop_all()


if __name__ == "__main__":
    main()
