"""The system's clock jumps by a day under a running relay (libfaketime): no retry storm, no early expiry."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench.wire import NextHop, PlainClient, letter, text_of
from tests import services
from tests.dns_server import DnsServer
from tests.relay_harness import Relays, RunningRelay, relay_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

LIBRARY = "*/faketime/libfaketime.so.1"  # below /usr/lib
ATTEMPTS = "SELECT count(*) FROM gateway_attempt"
STATES = "SELECT state, count(*) FROM gateway_recipient GROUP BY 1"
EXPIRES = "UPDATE gateway_recipient SET next_attempt_at = ?, expires_at = ?"
NUMBER = 20
DEGRADED = "SELECT count(*) FROM gateway_worker WHERE CAST(degraded AS text) LIKE '%%clock%%'"


def faked(relay: RunningRelay, offset: str) -> None:
    """What the time of day is for the relay from now on; clocks that nobody can set stay as they are."""
    path = Path(relay.env["FAKETIME_TIMESTAMP_FILE"])
    fresh = path.with_suffix(".new")
    fresh.write_text(offset + "\n")
    fresh.rename(path)


@pytest.mark.parametrize("jump", ["+1d", "-1d"])
def test_a_jump_of_a_day_neither_retries_nor_expires_anything(
    relays: Relays, dns: DnsServer, jump: str
) -> None:
    found = sorted(Path("/usr/lib").glob(LIBRARY))
    if not found:
        services.need("faketime")
        pytest.skip("libfaketime is not installed (Debian package faketime)")
    with NextHop() as hop:
        relay = relays.make(
            dns.endpoint, hop.port, hop.port, SMG_RETRY_SCHEDULE="600", SMG_QUEUE_LIFETIME="2h"
        )
        relay.apply(relay_for())
        relay.env |= {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(relay.directory / "faketime"),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }
        faked(relay, "+0d")
        relay.start()
        hop.set_mood("defer")
        client = PlainClient(relay.port)
        for number in range(NUMBER):
            client.send(letter(number, text_of(700)), "someone@partner.example")
        relay.wait_for(ATTEMPTS, NUMBER)
        faked(relay, jump)
        relay.wait_for(DEGRADED, 2, 30)  # both processes have seen it, and say so
        time.sleep(3)  # some claims
        assert relay.query(ATTEMPTS) == [(NUMBER,)]
        assert relay.query(STATES) == [("queued", NUMBER)]
        hop.set_mood("ok")
        client = PlainClient(relay.port)
        client.send(letter(NUMBER, text_of(700)), "someone@partner.example")
        relay.wait_for("SELECT count(*) FROM gateway_recipient WHERE state = 'delivered'", 1)
        relay.kill()
