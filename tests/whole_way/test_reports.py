"""What the sender of one message to several domains is told: once, about all of them, even after a crash."""

from __future__ import annotations

import asyncio

import pytest

from tests.fake_next_hop import STALL, FakeNextHop, Received
from tests.gateway.bounce_parsers import flufl
from tests.relay_harness import RunningRelay, mail
from tests.whole_way.test_way import aside

pytestmark = pytest.mark.slow

GONE = "550 5.1.1 no such user"
OPEN = "SELECT count(*) FROM gateway_recipient WHERE state = 'queued'"
REPORTS = "SELECT count(*) FROM gateway_message WHERE kind = 'ndr'"


def reports(hop: FakeNextHop) -> list[Received]:
    return [message for message in hop.messages if message.mail.startswith("<>")]


async def test_failures_of_one_message_make_one_report(relay: RunningRelay, good: FakeNextHop) -> None:
    good.say("RCPT", GONE, GONE, GONE, "250 2.1.5 ok")
    to = ["bob@one.example", "bob@two.example", "bob@three.example"]
    assert await aside(relay.send, "web@acme.example", to, mail()) == ""
    await aside(relay.wait_for, OPEN, 0)
    (report,) = reports(good)
    assert report.rcpts == ["<web@acme.example> NOTIFY=NEVER"]
    assert flufl(report.body)[1] == set(to)
    assert relay.query("SELECT DISTINCT ndr FROM gateway_recipient WHERE ndr IS NOT NULL") == relay.query(
        "SELECT id FROM gateway_message WHERE kind = 'ndr'"
    )
    assert relay.query("SELECT count(*), count(DISTINCT report) FROM gateway_ndrreport") == [(3, 1)]


async def test_a_report_that_waits_for_the_rest_survives_a_crash(
    relay: RunningRelay, good: FakeNextHop
) -> None:
    good.say("RCPT", GONE, STALL)
    to = ["bob@one.example", "bob@two.example"]
    assert await aside(relay.send, "web@acme.example", to, mail()) == ""
    await aside(relay.wait_for, REPORTS, 1)
    await asyncio.sleep(2)  # a report that is due at once would have left by now
    assert reports(good) == []
    await aside(relay.kill)
    good.say("RCPT", GONE, "250 2.1.5 ok")
    await aside(relay.start)
    await aside(relay.wait_for, OPEN, 0, 40.0)
    assert [flufl(report.body)[1] for report in reports(good)] == [set(to)]


async def test_what_fails_later_gets_a_report_of_its_own(relay: RunningRelay, good: FakeNextHop) -> None:
    good.say("RCPT", GONE, "451 4.2.0 later", "250 2.1.5 ok")
    to = ["bob@one.example", "bob@two.example"]
    await aside(relay.execute, "UPDATE gateway_customer SET delay_warning_h = ?", [0])
    assert await aside(relay.send, "web@acme.example", to, mail()) == ""
    await aside(relay.wait_for, OPEN, 0, 60.0)
    assert len(reports(good)) == 1
    assert len(flufl(reports(good)[0].body)[1]) == 1
