"""A message's whole way through a real relay: a real client in front, a real next hop behind."""

from __future__ import annotations

import asyncio
import email
import json
from collections.abc import Callable
from typing import Any

import dkim

from gateway.sign import generate_key
from tests.dns_server import DnsServer
from tests.fake_next_hop import DROP, FakeNextHop
from tests.relay_harness import RunningRelay, decoded, mail, numbered

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
DELIVERED = (
    "SELECT count(*) FROM gateway_recipient r JOIN gateway_message m ON m.id = r.message_id"
    " WHERE r.state = 'delivered' AND m.kind = 'customer'"
)


async def aside(function: Callable[..., object], *args: object, **kwargs: object) -> object:
    """A blocking client beside the event loop on which the fake next hops run."""
    return await asyncio.to_thread(function, *args, **kwargs)


async def test_an_ordinary_mail_leaves_by_good_signed_and_without_its_origin(
    relay: RunningRelay, good: FakeNextHop, bad: FakeNextHop
) -> None:
    pem, record = generate_key()
    (relay.directory / "key.pem").write_bytes(pem)
    await aside(
        relay.apply,
        '[[customers]]\nslug = "acme"\n[[customers.dkim_keys]]\ndomain = "acme.example"\nselector = "s1"\n'
        f'private_key_file = "{relay.directory / "key.pem"}"\n',
    )
    await aside(relay.wait_for, "SELECT count(*) FROM gateway_dkimkey WHERE state = 'active'", 1)
    await asyncio.sleep(1.2)  # the relay polls its policy once a second
    message = b"Received: from secret.acme.example ([10.1.2.3])\r\nX-Originating-IP: 10.1.2.3\r\n" + mail()
    assert await aside(relay.send, "web@acme.example", "someone@partner.example", message) == ""
    await aside(relay.wait_for, DELIVERED, 1)
    received = good.messages[0]
    assert (received.mail.split()[0], received.rcpts, bad.messages) == (
        "<web@acme.example>",
        ["<someone@partner.example>"],
        [],
    )
    assert dkim.verify(received.body, dnsfunc=lambda name, timeout=5: record.encode())
    assert relay.query("SELECT signed_by FROM gateway_attempt") == [("s1._domainkey.acme.example",)]
    assert b"secret.acme.example" not in received.body
    assert b"10.1.2.3" not in received.body
    assert b"127.0.0.1" not in received.body


async def test_the_trace_tells_what_was_checked(relay: RunningRelay) -> None:
    assert await aside(relay.send, "web@acme.example", "someone@partner.example", mail()) == ""
    await aside(relay.wait_for, DELIVERED, 1)
    (trace,) = relay.query("SELECT trace FROM gateway_message")[0]
    steps = [(entry["step"], entry["outcome"]) for entry in decoded(trace)]
    assert steps == [
        ("account", "pass"), ("sender_domain", "pass"), ("ownership", "pass"), ("rate", "pass"),
        ("authors", "pass"), ("loop", "pass"), ("virus", "pass"), ("spam", "info"),
    ]  # fmt: skip
    attempts = relay.query("SELECT state, stage, code FROM gateway_attempt")
    assert attempts == [("delivered", "dot", 250)]
    assert relay.query("SELECT accepted, suspect, spam, delivered FROM gateway_hourlycount") == [(1, 0, 0, 1)]
    assert relay.query("SELECT count(*) FROM gateway_body") == [(0,)]


async def test_suspected_spam_leaves_by_bad_and_ordinary_mail_never_does(
    relay: RunningRelay, good: FakeNextHop, bad: FakeNextHop
) -> None:
    await aside(relay.apply, '[[gateways]]\nname = "good1"\ndrained = true\n')
    await asyncio.sleep(1.2)
    assert await aside(relay.send, "web@acme.example", "someone@partner.example", mail(GTUBE)) == ""
    assert await aside(relay.send, "web@acme.example", "someone@partner.example", mail()) == ""
    await aside(relay.wait_for, DELIVERED, 1)
    assert (len(good.messages), len(bad.messages)) == (0, 1)
    assert GTUBE.encode() in bad.messages[0].body
    assert relay.query("SELECT state, pool FROM gateway_recipient WHERE state <> 'delivered'") == [
        ("queued", "good")
    ]
    await aside(relay.apply, '[[gateways]]\nname = "good1"\ndrained = false\n')
    await aside(relay.manage, "queue", "retry", "--all")
    await aside(relay.wait_for, DELIVERED, 2)
    assert (len(good.messages), len(bad.messages)) == (1, 1)


ANOTHERS_NAME = [
    ("web@nowhere.example", mail(), "550 Sender Domain must resolve"),
    ("web@globex.example", mail(), "553 5.7.1 Sender domain is not one of your verified domains"),
    (
        "web@acme.example",
        mail(author="boss@globex.example"),
        "550 5.7.1 Header From names a domain that is not one of your verified domains",
    ),
    (
        "web@acme.example",
        b"Sender: boss@globex.example\r\n" + mail(),
        "550 5.7.1 Header Sender names a domain that is not one of your verified domains",
    ),
    (
        "web@acme.example",
        b"From: boss@globex.example\r\n" + mail(),
        "550 5.7.1 Message must have exactly one From header with one author",
    ),
    (
        "web@acme.example",
        mail(author="team: web@acme.example, boss@globex.example;"),
        "550 5.7.1 Header From cannot be read unambiguously",
    ),
]


async def test_nobody_sends_in_anothers_name(relay: RunningRelay, good: FakeNextHop) -> None:
    for sender, message, reply in ANOTHERS_NAME:
        assert await aside(relay.send, sender, "someone@partner.example", message) == reply
    await aside(relay.wait_for, "SELECT count(*) FROM gateway_refusal", len(ANOTHERS_NAME))
    codes = [
        code
        for (code,) in relay.query("SELECT code FROM gateway_refusal WHERE username = 'acme-web' ORDER BY id")
    ]
    assert codes == [int(reply[:3]) for _, _, reply in ANOTHERS_NAME]
    assert good.messages == []


async def test_the_limit_is_exact_over_two_processes(relay: RunningRelay) -> None:
    await aside(relay.apply, '[[customers]]\nslug = "globex"\nrate_limit = 20\n')
    await asyncio.sleep(1.2)

    def send_ten() -> list[str]:
        message = mail(author="web@globex.example")
        return [
            relay.send("web@globex.example", "x@partner.example", message, "globex-web") for _ in range(10)
        ]

    answers = [
        answer
        for group in await asyncio.gather(*(asyncio.to_thread(send_ten) for _ in range(4)))
        for answer in group
    ]
    assert sorted(answers) == [""] * 20 + ["451 Ratelimit reached"] * 20


async def test_a_refused_recipient_is_reported_to_the_sender(relay: RunningRelay, good: FakeNextHop) -> None:
    good.say("RCPT", "550 5.1.1 <nobody@partner.example>: User unknown", "250 ok")
    assert await aside(relay.send, "web@acme.example", "nobody@partner.example", mail()) == ""
    await aside(relay.wait_for, "SELECT count(*) FROM gateway_message WHERE kind = 'ndr'", 1)
    await aside(relay.wait_for, "SELECT count(*) FROM gateway_recipient WHERE state = 'delivered'", 1)
    report = good.messages[0]
    assert (report.mail.split()[0], report.rcpts) == ("<>", ["<web@acme.example> NOTIFY=NEVER"])
    parsed = email.message_from_bytes(report.body)
    assert parsed.get_content_type() == "multipart/report"
    assert b"Final-Recipient: rfc822; nobody@partner.example" in report.body
    assert relay.query("SELECT address, enhanced, kind FROM gateway_ndrreport") == [
        ("nobody@partner.example", "5.1.1", "failed")
    ]


async def test_deferred_mail_is_tried_again(relay: RunningRelay, good: FakeNextHop) -> None:
    good.say("RCPT", "450 4.2.0 greylisted, come back", "250 ok")
    assert await aside(relay.send, "web@acme.example", "someone@partner.example", mail()) == ""
    await aside(relay.wait_for, DELIVERED, 1)
    assert relay.query("SELECT state, code FROM gateway_attempt ORDER BY id") == [
        ("queued", 450),
        ("delivered", 250),
    ]


async def test_a_connection_lost_at_the_dot_is_tried_again(relay: RunningRelay, good: FakeNextHop) -> None:
    good.say("DOT", DROP, "250 ok")
    assert await aside(relay.send, "web@acme.example", "someone@partner.example", mail()) == ""
    await aside(relay.wait_for, DELIVERED, 1)


async def test_big_mail_goes_by_the_spool_and_leaves_nothing_there(
    relay: RunningRelay, good: FakeNextHop
) -> None:
    big = mail("0123456789abcdef" * 4 * 50 + "\r\n", subject="big") + b"line of a big mail\r\n" * 20_000
    assert await aside(relay.send, "web@acme.example", "someone@partner.example", big) == ""
    await aside(relay.wait_for, DELIVERED, 1)
    assert good.messages[0].body.partition(b"\r\n\r\n")[2] == big.partition(b"\r\n\r\n")[2]
    await aside(relay.wait_for, "SELECT count(*) FROM gateway_body", 0)
    end = asyncio.get_running_loop().time() + 5
    while list(relay.directory.glob("spool/*/*")):
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.05)


async def test_what_was_accepted_survives_kill_9(relay: RunningRelay, good: FakeNextHop) -> None:
    good.say("RCPT", "450 4.3.0 not yet")
    for number in range(20):
        assert await aside(relay.send, "web@acme.example", "someone@partner.example", numbered(number)) == ""
    await aside(relay.kill)
    good.say("RCPT", "250 ok")
    await aside(relay.start)
    await aside(relay.wait_for, DELIVERED, 20)
    subjects = {email.message_from_bytes(item.body)["Subject"] for item in good.messages}
    assert subjects == {f"no-{number}" for number in range(20)}


async def test_sigterm_stops_in_order_and_leaves_no_lease(relay: RunningRelay, good: FakeNextHop) -> None:
    assert await aside(relay.send, "web@acme.example", "someone@partner.example", mail()) == ""
    await aside(relay.stop)
    assert relay.query("SELECT count(*) FROM gateway_recipient WHERE lease_owner <> ''") == [(0,)]
    assert relay.query("SELECT count(*) FROM gateway_worker") == [(0,)]
    assert "relay stopped" in relay.log


async def test_no_dns_is_not_no_domain(relay: RunningRelay, dns: DnsServer) -> None:
    dns.fail("acme.example", "servfail")
    reply = await aside(relay.send, "web@acme.example", "someone@partner.example", mail())
    assert str(reply).startswith("451 4.4.3")


async def test_explain_says_what_the_relay_then_does(relay: RunningRelay, good: FakeNextHop) -> None:
    letters = [
        mail(),
        mail(GTUBE),
        mail(author="boss@globex.example"),
        mail("Win $1,000,000 now! http://bit.ly/x\r\n"),
    ]
    told = [await aside(explained, relay, letter) for letter in letters]
    replies = [
        await aside(relay.send, "web@acme.example", "someone@partner.example", letter) for letter in letters
    ]
    assert [not reply for reply in replies] == [one["accepted"] for one in told]
    await aside(relay.wait_for, DELIVERED, 3)
    accepted = [decoded(trace) for (trace,) in relay.query("SELECT trace FROM gateway_message ORDER BY id")]
    refused = [decoded(trace) for (trace,) in relay.query("SELECT trace FROM gateway_refusal")]
    done = [accepted[0], accepted[1], refused[0], accepted[2]]
    assert [without_time(one["trace"]) for one in told] == [without_time(trace) for trace in done]
    assert relay.query("SELECT count(*) FROM gateway_message") == [(3,)]


def explained(relay: RunningRelay, letter: bytes) -> dict[str, Any]:
    options = [
        "--sender",
        "web@acme.example",
        "--recipient",
        "someone@partner.example",
        "--credential",
        "acme-web",
    ]
    told: dict[str, Any] = json.loads(relay.manage("explain", *options, "--json", stdin=letter))
    return told


def without_time(trace: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key != "ms"} for entry in trace]
