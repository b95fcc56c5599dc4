"""The sockets: silence, refusals, forgeries, cut answers, a dead server, many questions at once."""

import asyncio

import pytest

from blacklist.probe.asker import DnsAsker
from blacklist.probe.pace import FAILURES, Breaker, Bucket, Pace
from blacklist.rules.types import Outcome
from gateway.config import Endpoint
from tests.services import free_port


@pytest.fixture
def asker(dns_server):
    return DnsAsker([Endpoint(dns_server.host, dns_server.port)], timeout_s=0.3)


@pytest.mark.parametrize(
    ("how", "outcome", "times"),
    [
        ("servfail", Outcome.SERVFAIL, 2), ("refused", Outcome.REFUSED, 2), ("nxdomain", Outcome.NXDOMAIN, 1),
        ("timeout", Outcome.TIMEOUT, 2),
        ("wrong_id", Outcome.TIMEOUT, 2), ("garbage", Outcome.TIMEOUT, 2), ("truncate", Outcome.RECORDS, 2),
        ("truncate_always", Outcome.TIMEOUT, 4),
    ],
)  # fmt: skip
async def test_every_failure_has_its_outcome(dns_server, asker, how, outcome, times):
    dns_server.add("x.bl.example", "A", "127.0.0.2")
    dns_server.fail("x.bl.example", how)
    async with asker:
        answer = await asker.address("x.bl.example")
    assert answer.outcome is outcome
    assert answer.addresses == (("127.0.0.2",) if outcome is Outcome.RECORDS else ())
    assert len(dns_server.queries) == times


async def test_long_answers_come_over_tcp(dns_server, asker):
    dns_server.add("x.bl.example", "TXT", *[f'"{"x" * 200} {number}"' for number in range(9)])
    async with asker:
        text = await asker.text("x.bl.example")
    assert text.startswith("xxx")
    assert len(text) == 500
    assert ("x.bl.example", "TXT", "tcp") in dns_server.queries


async def test_texts_are_one_clean_line(dns_server, asker):
    dns_server.add("x.bl.example", "TXT", '"evil\\010\\007 line"', '"two"')
    async with asker:
        text = await asker.text("x.bl.example")
    assert sorted(text.split(" / ")) == ["evil line", "two"]


async def test_nobody_listens():
    asker = DnsAsker([Endpoint("127.0.0.1", free_port())], timeout_s=0.3)
    async with asker:
        assert (await asker.address("x.bl.example")).outcome is Outcome.TIMEOUT


async def test_the_second_server_is_tried(dns_server):
    dns_server.add("x.bl.example", "A", "127.0.0.2")
    servers = [Endpoint("127.0.0.1", free_port()), Endpoint(dns_server.host, dns_server.port)]
    async with DnsAsker(servers, timeout_s=0.3) as asker:
        assert (await asker.address("x.bl.example")).addresses == ("127.0.0.2",)


async def test_many_questions_share_few_sockets(dns_server, asker):
    for number in range(100):
        dns_server.add(f"n{number}.bl.example", "A", f"127.0.0.{number + 2}")
    async with asker:
        answers = await asyncio.gather(*(asker.address(f"n{number}.bl.example") for number in range(100)))
    assert [answer.addresses for answer in answers] == [(f"127.0.0.{number + 2}",) for number in range(100)]


def test_no_server_is_a_clear_error():
    with pytest.raises(ValueError, match="SMG_DNSBL_NAMESERVERS"):
        DnsAsker([])


async def test_the_bucket_keeps_the_rate():
    now = [0.0]

    async def sleep(seconds):
        now[0] += seconds

    bucket = Bucket(5.0, Pace(clock=lambda: now[0], sleep=sleep))
    for _ in range(55):
        await bucket.take()
    assert now[0] == pytest.approx(10.0, abs=0.01)  # a burst of five, then five a second


def test_the_breaker():
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.failure("silent")
    breaker.success()
    for _ in range(FAILURES - 1):
        breaker.failure("silent")
    assert not breaker.is_open
    breaker.failure("silent")
    assert breaker.why == "silent"
    at_once = Breaker()
    at_once.failure("refused", stop=True)
    assert at_once.is_open
