"""Delivery to next hops that answer in every way: one outcome per recipient, always."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.rules.replies import REASONS
from gateway.rules.route_types import Hop
from gateway.rules.types import Reply, Stage, State
from tests.fake_next_hop import DROP, ENDLESS, GARBAGE, HTTP, LONG_LINE, STALL, FakeNextHop
from tests.gateway.deliver.helpers import (
    BODY,
    DEAD,
    GATEWAY,
    NOW,
    ONE_BY_ONE,
    Sending,
    job,
    route,
    summary,
)


async def test_a_message_arrives_as_it_was_sent(hop: FakeNextHop, sending: Sending) -> None:
    outcome = await sending.one(job(), route(hop))
    assert summary(outcome) == (State.DELIVERED, 250, "delivered", Stage.DOT)
    assert outcome.reply == Reply(250, "2.0.0", "taken")
    assert (outcome.remote_host, outcome.remote_ip) == ("mx.partner.example", "127.0.0.1")
    assert (outcome.gateway_id, outcome.at, outcome.tls) == (1, NOW, None)
    (message,) = hop.messages
    assert message.body == BODY
    assert b"\r\n..hidden dot\r\n" in message.raw
    assert message.rcpts == ["<bob@partner.example>"]
    assert message.mail == f"<alice@acme.example> SIZE={len(BODY)}"
    assert message.helo == "mta01.smg.example"


@pytest.mark.parametrize("features", [("PIPELINING", "SIZE"), ONE_BY_ONE, ()])
async def test_with_and_without_pipelining(
    hop: FakeNextHop, sending: Sending, features: tuple[str, ...]
) -> None:
    hop.features = features
    outcome = await sending.one(job("a@partner.example"), route(hop))
    assert outcome.state is State.DELIVERED
    assert [line.split()[0] for line in hop.commands] == ["EHLO", "MAIL", "RCPT", "DATA"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b".",
        b".\r\n",
        b"..\r\n.\r\nx",
        b"no end",
        b"\r\n",
        b".\r\n.\r\n.\r\n",
        b"a\r\n" * 200_000,
        b".x" * 100_000,
    ],
)
async def test_bodies_survive(hop: FakeNextHop, sending: Sending, body: bytes) -> None:
    assert (await sending.one(job(body=body), route(hop))).state is State.DELIVERED
    assert hop.messages[0].body == (body if not body or body.endswith(b"\r\n") else body + b"\r\n")


@pytest.mark.parametrize("body", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\n\n.\r\n", b"\r\n.\r", b"x\r\r\n"])
async def test_bare_line_ends_never_leave(hop: FakeNextHop, sending: Sending, body: bytes) -> None:
    outcome = await sending.one(job(body=body), route(hop))
    assert (outcome.state, outcome.reply.enhanced) == (State.BOUNCED, "5.6.0")
    assert hop.connections == 0


async def test_the_null_sender(hop: FakeNextHop, sending: Sending) -> None:
    await sending.one(job(sender=""), route(hop))
    assert hop.messages[0].mail.startswith("<> ")


STAGES = ["BANNER", "EHLO", "MAIL", "RCPT", "DATA", "DOT"]


@pytest.mark.parametrize("features", [("PIPELINING",), ONE_BY_ONE])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("how", [DROP, STALL, GARBAGE, HTTP, LONG_LINE, ENDLESS])
async def test_misbehaviour_at_any_stage_is_temporary(
    hop: FakeNextHop, sending: Sending, impatient: Sending, features: tuple[str, ...], stage: str, how: str
) -> None:
    hop.features = features
    hop.say(stage, how)
    sending = impatient if how == STALL else sending
    outcome = await asyncio.wait_for(sending.one(job(), route(hop)), 20)
    assert outcome.state is State.QUEUED
    expected = {DROP: "connection_lost", STALL: "timeout"}.get(how, "garbage")
    assert outcome.reason == expected
    assert outcome.reason in REASONS
    assert hop.messages == []


@pytest.mark.parametrize("features", [("PIPELINING",), ONE_BY_ONE])
@pytest.mark.parametrize(
    ("stage", "reply", "state", "reason"),
    [
        ("BANNER", "421 4.3.2 busy", State.QUEUED, "busy"),
        ("BANNER", "554 5.7.1 go away", State.QUEUED, "policy"),
        ("BANNER", "521 no mail here", State.BOUNCED, "no_mail"),
        ("EHLO", "550 no", State.QUEUED, "refused"),
        ("EHLO", "421 later", State.QUEUED, "busy"),
        ("MAIL", "550 5.1.8 sender domain not found", State.BOUNCED, "sender_unresolvable"),
        ("MAIL", "451 4.3.0 later", State.QUEUED, "server_error"),
        ("RCPT", "550 5.1.1 no such user", State.BOUNCED, "unknown_user"),
        ("RCPT", "450 4.7.1 greylisted", State.QUEUED, "greylisted"),
        ("RCPT", "421 4.7.0 too many connections", State.QUEUED, "rate_limited"),
        ("DATA", "554 5.7.1 spam detected", State.BOUNCED, "spam"),
        ("DATA", "451 4.3.0 oops", State.QUEUED, "server_error"),
        ("DATA", "250 what", State.QUEUED, "garbage"),
        ("DOT", "550 5.7.1 spam detected", State.BOUNCED, "spam"),
        ("DOT", "452 4.3.1 disk full", State.QUEUED, "server_error"),
        ("DOT", "354 what", State.QUEUED, "deferred"),
    ],
)
async def test_replies(
    hop: FakeNextHop,
    sending: Sending,
    features: tuple[str, ...],
    stage: str,
    reply: str,
    state: State,
    reason: str,
) -> None:
    hop.features = features
    hop.say(stage, reply)
    outcome = await sending.one(job(), route(hop))
    assert outcome.state is state
    if not (stage in ("DATA", "DOT") and reply.endswith("what")):
        assert outcome.reason == reason
        assert outcome.reply.code == int(reply[:3])
    assert hop.messages == []


@pytest.mark.parametrize("features", [("PIPELINING",), ONE_BY_ONE])
async def test_every_recipient_gets_its_own_outcome(
    hop: FakeNextHop, sending: Sending, features: tuple[str, ...]
) -> None:
    hop.features = features
    hop.say("RCPT", "250 ok", "550 5.1.1 unknown", "450 4.2.0 greylisted", "250 ok")
    outcomes = await sending(job("a@p.example", "b@p.example", "c@p.example", "d@p.example"), route(hop))
    assert [(one.recipient_id, one.state) for one in outcomes] == [
        (1, State.DELIVERED),
        (2, State.BOUNCED),
        (3, State.QUEUED),
        (4, State.DELIVERED),
    ]
    assert hop.messages[0].rcpts == ["<a@p.example>", "<d@p.example>"]


@pytest.mark.parametrize("features", [("PIPELINING",), ONE_BY_ONE])
async def test_a_refusal_outlives_a_broken_connection(
    hop: FakeNextHop, sending: Sending, features: tuple[str, ...]
) -> None:
    hop.features = features
    hop.say("RCPT", "550 5.1.1 unknown", "250 ok")
    hop.say("DOT", DROP)
    first, second = await sending(job("a@p.example", "b@p.example"), route(hop))
    assert summary(first) == (State.BOUNCED, 550, "unknown_user", Stage.RCPT)
    assert summary(second) == (State.QUEUED, 421, "connection_lost", Stage.DOT)


async def test_the_session_is_fit_for_the_next_message_after_refusals(
    hop: FakeNextHop, sending: Sending
) -> None:
    for stage, reply in [("MAIL", "550 no"), ("RCPT", "550 no"), ("DATA", "451 no"), ("DOT", "550 no")]:
        hop.say(stage, reply, "354 go on" if stage == "DATA" else "250 ok")
        assert (await sending.one(job(), route(hop))).state is not State.DELIVERED
        hop.say("DATA", "354 go on")
        hop.say(stage, "354 go on" if stage == "DATA" else "250 ok")
        assert (await sending.one(job(), route(hop))).state is State.DELIVERED
    assert hop.connections == 1


async def test_a_host_that_goes_on_though_it_took_no_recipient(hop: FakeNextHop, sending: Sending) -> None:
    hop.say("RCPT", "550 5.1.1 no", "250 ok")
    hop.say("DATA", "354 go on")
    hop.say("DOT", "554 5.5.1 no valid recipients", "250 ok")
    assert (await sending.one(job(), route(hop))).reason == "unknown_user"
    assert (await sending.one(job(), route(hop))).state is State.DELIVERED
    assert hop.connections == 1
    assert hop.messages[0].body == BODY


# -- several hosts


async def test_the_next_host_is_tried(sending: Sending, hop: FakeNextHop) -> None:
    for reply in ("421 busy", "554 5.7.1 blocked using zen.spamhaus.org", DROP, GARBAGE):
        async with FakeNextHop() as first:
            first.say("BANNER", reply)
            outcome = await sending.one(job(), route(DEAD, first, hop))
            assert outcome.state is State.DELIVERED


async def test_only_open_recipients_go_to_the_next_host(sending: Sending, hop: FakeNextHop) -> None:
    async with FakeNextHop() as first:
        first.say("RCPT", "250 ok", "451 4.3.0 later", "550 5.1.1 unknown")
        outcomes = await sending(job("a@p.example", "b@p.example", "c@p.example"), route(first, hop))
    assert [one.state for one in outcomes] == [State.DELIVERED, State.DELIVERED, State.BOUNCED]
    assert first.messages[0].rcpts == ["<a@p.example>"]
    assert hop.messages[0].rcpts == ["<b@p.example>"]


async def test_a_refusal_is_final_and_no_second_host_is_asked(sending: Sending, hop: FakeNextHop) -> None:
    async with FakeNextHop() as first:
        first.say("RCPT", "550 5.1.1 unknown")
        assert (await sending.one(job(), route(first, hop))).state is State.BOUNCED
    assert hop.connections == 0


async def test_greylisting_is_not_taken_to_the_next_host(sending: Sending, hop: FakeNextHop) -> None:
    async with FakeNextHop() as first:
        first.say("RCPT", "451 4.7.1 greylisted, try again in 300 seconds")
        assert (await sending.one(job(), route(first, hop))).reason == "greylisted"
    assert hop.connections == 0


async def test_no_second_host_after_a_lost_receipt(sending: Sending, hop: FakeNextHop) -> None:
    async with FakeNextHop() as first:
        first.say("DOT", DROP)
        assert (await sending.one(job(), route(first, hop))).state is State.QUEUED
    assert hop.messages == []


async def test_the_most_telling_reply_is_kept(sending: Sending, hop: FakeNextHop) -> None:
    hop.say("BANNER", "554 5.7.1 blocked using zen.spamhaus.org")
    outcome = await sending.one(job(), route(hop, DEAD))
    assert (outcome.state, outcome.reason, outcome.reply.code) == (State.QUEUED, "blocklisted", 554)


async def test_only_when_all_hosts_take_no_mail_is_it_refused(sending: Sending, hop: FakeNextHop) -> None:
    """RFC 7504 section 4: 521 speaks for one host."""
    async with FakeNextHop() as closed, FakeNextHop() as later:
        closed.say("BANNER", "521 no mail here")
        later.say("RCPT", "451 4.3.0 later")
        for others, state in (
            ([closed], State.BOUNCED),
            ([closed, hop], State.DELIVERED),
            ([closed, DEAD], State.QUEUED),
            ([DEAD, closed], State.QUEUED),
            ([later, closed], State.QUEUED),
            ([closed, later], State.QUEUED),
        ):
            outcome = await sending.one(job(), route(closed, *others))
            first = await sending.one(job(), route(*others))
            assert (outcome.state, first.state) == (state, state)


async def test_all_dead(sending: Sending) -> None:
    outcome = await sending.one(job(), route(DEAD, DEAD))
    assert summary(outcome) == (State.QUEUED, 421, "unreachable", Stage.CONNECT)
    assert outcome.reply.text == "Connection refused by 127.0.0.1"


async def test_no_hosts_at_all(sending: Sending) -> None:
    assert (await sending.one(job(), route())).state is State.QUEUED


async def test_many_recipients_go_in_several_transactions(hop: FakeNextHop, sending: Sending) -> None:
    outcomes = await sending(job(*(f"r{n}@p.example" for n in range(120))), route(hop))
    assert {one.state for one in outcomes} == {State.DELIVERED}
    assert [len(message.rcpts) for message in hop.messages] == [50, 50, 20]
    assert hop.connections == 1


async def test_what_was_delivered_stays_delivered_when_a_later_group_fails(
    hop: FakeNextHop, sending: Sending
) -> None:
    hop.say("BANNER", "220 hello", "521 no more mail")
    work = job(*(f"r{n}@p.example" for n in range(60)))
    outcomes = await sending(work, route(hop), messages_per_connection=1)
    assert [one.state for one in outcomes] == [State.DELIVERED] * 50 + [State.BOUNCED] * 10


# -- gateways


async def test_the_gateways_own_address_is_used(hop: FakeNextHop, sending: Sending) -> None:
    await sending.one(job(), route(hop, gateway=replace(GATEWAY, source_ip="127.0.0.77")))
    assert hop.peers == ["127.0.0.77"]


async def test_a_gateway_whose_address_is_elsewhere(hop: FakeNextHop, sending: Sending) -> None:
    outcome = await sending.one(job(), route(hop, gateway=replace(GATEWAY, source_ip="192.0.2.1")))
    assert (outcome.state, outcome.reason) == (State.QUEUED, "source_address")
    assert hop.connections == 0


async def test_a_gateway_without_ipv6_does_not_use_it(hop: FakeNextHop, sending: Sending) -> None:
    only4 = replace(GATEWAY, source_ip="127.0.0.1")
    outcome = await sending.one(job(), route(Hop("mx", hop.port, ("::1", "127.0.0.1")), gateway=only4))
    assert (outcome.state, outcome.remote_ip) == (State.DELIVERED, "127.0.0.1")
    outcome = await sending.one(job(), route(Hop("mx", hop.port, ("::1",)), gateway=only4))
    assert (outcome.state, outcome.reason) == (State.QUEUED, "unreachable")


@pytest.mark.parametrize(
    ("mechanisms", "sent"), [("PLAIN LOGIN", "AUTH PLAIN AHNtZwBzM2NyZXQ="), ("LOGIN", "czNjcmV0")]
)
async def test_next_hop_login(hop: FakeNextHop, sending: Sending, mechanisms: str, sent: str) -> None:
    hop.features = ("PIPELINING", f"AUTH {mechanisms}")
    smart = replace(
        GATEWAY, next_hop="relay.example:587", next_hop_username="smg", next_hop_password="s3cret"
    )
    assert (await sending.one(job(), route(hop, gateway=smart, smart_host=True))).state is State.DELIVERED
    assert sent in hop.commands


@pytest.mark.parametrize(
    ("features", "reply"),
    [((), "235 ok"), (("AUTH CRAM-MD5",), "235 ok"), (("AUTH PLAIN",), "535 5.7.8 wrong")],
)
async def test_a_failed_login_keeps_the_mail(
    hop: FakeNextHop, sending: Sending, features: tuple[str, ...], reply: str
) -> None:
    hop.features = features
    hop.say("AUTH", reply)
    smart = replace(
        GATEWAY, next_hop="relay.example:587", next_hop_username="smg", next_hop_password="s3cret"
    )
    outcome = await sending.one(job(), route(hop, gateway=smart, smart_host=True))
    assert summary(outcome)[::2] == (State.QUEUED, "login")
    assert not any(line.startswith("MAIL") for line in hop.commands)
