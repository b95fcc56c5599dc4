"""Delivery to next hops that answer in every way: one outcome per recipient, always."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.outbound.session import Deadlines
from gateway.rules.replies import REASONS
from gateway.rules.route_types import Hop
from gateway.rules.types import Outcome, Reply, Stage, State
from tests.fake_next_hop import DROP, ENDLESS, GARBAGE, HTTP, LONG_LINE, STALL, FakeNextHop
from tests.gateway.deliver.helpers import BODY, GATEWAY, NOW, PATIENT, Sending, job, notifying, route

DEAD = Hop("dead.partner.example", 1, ("127.0.0.1",))
ONE_BY_ONE = ("SIZE 10000000", "8BITMIME")


def summary(outcome: Outcome) -> tuple[State, int, str, Stage]:
    return outcome.state, outcome.reply.code, outcome.reason, outcome.stage


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


# -- keeping connections


async def test_connections_are_reused_up_to_the_limit(hop: FakeNextHop, sending: Sending) -> None:
    for _ in range(7):
        await sending.one(job(), route(hop), messages_per_connection=3)
    assert hop.connections == 3
    assert len(hop.messages) == 7


async def test_another_gateway_or_demand_gets_its_own_connection(hop: FakeNextHop, sending: Sending) -> None:
    await sending.one(job(), route(hop))
    await sending.one(job(), route(hop, gateway=replace(GATEWAY, id=2)))
    await sending.one(job(), route(hop, gateway=replace(GATEWAY, hostname="new.smg.example")))
    assert hop.connections == 3


@pytest.mark.parametrize("features", [("PIPELINING",), ONE_BY_ONE])
async def test_an_idle_connection_that_was_closed_is_replaced(
    hop: FakeNextHop, sending: Sending, features: tuple[str, ...]
) -> None:
    hop.features = features
    await sending.one(job(), route(hop))
    await hop.drop_all()
    assert (await sending.one(job(), route(hop))).state is State.DELIVERED
    assert (hop.connections, len(hop.messages)) == (2, 2)


@pytest.mark.parametrize("farewell", ["421 4.4.2 idle too long", DROP])
@pytest.mark.parametrize("features", [("PIPELINING",), ONE_BY_ONE])
async def test_a_kept_connection_that_dies_at_mail_costs_nothing(
    hop: FakeNextHop, sending: Sending, features: tuple[str, ...], farewell: str
) -> None:
    hop.features = features
    await sending.one(job(), route(hop))
    hop.say("MAIL", farewell, "250 ok")
    assert (await sending.one(job(), route(hop))).state is State.DELIVERED
    assert (hop.connections, len(hop.messages)) == (2, 2)


async def test_unasked_words_while_idle_end_the_connection(hop: FakeNextHop, sending: Sending) -> None:
    await sending.one(job(), route(hop))
    (writer,) = hop.writers
    writer.write(b"250 surprise\r\n")
    await writer.drain()
    await asyncio.sleep(0.02)
    assert (await sending.one(job(), route(hop))).state is State.DELIVERED
    assert hop.connections == 2


async def test_idle_connections_are_closed(hop: FakeNextHop) -> None:
    sending = Sending(idle_s=0.05)
    await sending.one(job(), route(hop))
    assert sending.pool.idle_count == 1
    for _ in range(100):
        if "QUIT" in hop.commands:
            break
        await asyncio.sleep(0.02)
    assert sending.pool.idle_count == 0
    assert hop.commands[-1] == "QUIT"


async def test_closing_ends_everything(hop: FakeNextHop, sending: Sending) -> None:
    await sending.one(job(), route(hop))
    sending.deliverer.close()
    await sending.one(job(), route(hop))
    assert sending.pool.idle_count == 0


async def test_many_at_once(hop: FakeNextHop) -> None:
    sending = Sending(max_idle_per_key=5)
    results = await asyncio.gather(*(sending.one(job(), route(hop)) for _ in range(50)))
    assert all(one.state is State.DELIVERED for one in results)
    assert len(hop.messages) == 50
    assert sending.pool.idle_count == 5


# -- what messages need


async def test_size_limits_are_known_beforehand(hop: FakeNextHop, sending: Sending) -> None:
    hop.features = ("PIPELINING", "SIZE 50")
    outcome = await sending.one(job(), route(hop))
    assert (outcome.state, outcome.reply.enhanced, outcome.reason) == (State.BOUNCED, "5.3.4", "size")
    assert not any(line.startswith("MAIL") for line in hop.commands)


async def test_eight_bit(hop: FakeNextHop, sending: Sending) -> None:
    await sending.one(job(eight_bit=True), route(hop))
    assert hop.messages[0].mail.endswith("BODY=8BITMIME")
    hop.features = ("PIPELINING",)
    sending.pool.close()
    await sending.one(job(eight_bit=True), route(hop))
    assert "BODY" not in hop.messages[1].mail


@pytest.mark.parametrize(
    ("recipient", "body", "offered", "state"),
    [
        ("bøb@p.example", BODY, True, State.DELIVERED),
        ("bøb@p.example", BODY, False, State.BOUNCED),
        ("bob@p.example", "Subject: grüße\r\n\r\nx\r\n".encode(), False, State.BOUNCED),
        (
            "bob@p.example",
            "Subject: x\r\n\r\ngrüße\r\n".encode(),
            False,
            State.DELIVERED,
        ),  # not needed after all
    ],
)
async def test_smtputf8(
    hop: FakeNextHop, sending: Sending, recipient: str, body: bytes, offered: bool, state: State
) -> None:
    hop.features = ("PIPELINING", "8BITMIME", *(["SMTPUTF8"] if offered else []))
    outcome = await sending.one(job(recipient, body=body, smtputf8=True), route(hop))
    assert outcome.state is state
    if state is State.BOUNCED:
        assert (outcome.reply.enhanced, outcome.reason) == ("5.6.7", "utf8")
    elif offered:
        assert "SMTPUTF8" in hop.messages[0].mail


async def test_dsn_parameters_are_passed_on(hop: FakeNextHop, sending: Sending) -> None:
    work = notifying(job(ret="HDRS", envid="a+b=c"), "SUCCESS", "FAILURE", orcpt="rfc822;b+ob@p.example")
    outcome = await sending.one(work, route(hop))
    assert outcome.reason == "delivered"
    assert hop.messages[0].mail.endswith("RET=HDRS ENVID=a+2Bb+3Dc")
    assert hop.messages[0].rcpts == [
        "<bob@partner.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2Bob@p.example"
    ]


async def test_without_dsn_the_outcome_says_relayed(hop: FakeNextHop, sending: Sending) -> None:
    hop.features = ("PIPELINING",)
    assert (await sending.one(notifying(job(ret="FULL"), "SUCCESS"), route(hop))).reason == "relayed"
    assert (await sending.one(notifying(job(), "FAILURE"), route(hop))).reason == "delivered"
    assert hop.messages[0].rcpts == ["<bob@partner.example>"]


@pytest.mark.parametrize(
    "recipient",
    ["a\r\nRCPT TO:<x@y>@p.example", "a\0@p.example", "a b@p.example", "a>@p.example", "\udc80@p.example"],
)
async def test_addresses_cannot_smuggle_commands(hop: FakeNextHop, sending: Sending, recipient: str) -> None:
    outcome = await sending.one(job(recipient), route(hop))
    assert (outcome.state, outcome.reason) == (State.BOUNCED, "address")
    assert not any(line.startswith(("MAIL", "RCPT")) for line in hop.commands)


async def test_quoted_local_parts_pass(hop: FakeNextHop, sending: Sending) -> None:
    await sending.one(job('"a b>c"@p.example'), route(hop))
    assert hop.messages[0].rcpts == ['<"a b>c"@p.example>']


@pytest.mark.parametrize(
    ("reply", "state", "enhanced"),
    [
        ("552 5.3.4 too big", State.BOUNCED, "5.3.4"),
        ("250 2.0.0 taken", State.QUEUED, "4.5.0"),  # it cannot have taken what it does not have
    ],
)
async def test_an_early_answer_to_a_big_message(
    sending: Sending, reply: str, state: State, enhanced: str
) -> None:
    """The host answers while we are still sending and hangs up: its reply counts, not the broken pipe."""

    async def answer_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        await reader.readline()
        writer.write(b"250 x\r\n")
        for polite in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            await reader.readline()
            writer.write(polite)
        await reader.read(100_000)
        writer.write(reply.encode() + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()

    server = await asyncio.start_server(answer_early, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    outcome = await sending.one(job(body=b"x" * 30_000_000 + b"\r\n"), route(Hop("mx", port, ("127.0.0.1",))))
    server.close()
    assert (outcome.state, outcome.reply.enhanced) == (state, enhanced)


async def test_a_reply_too_many_before_the_message_is_no_receipt(hop: FakeNextHop, sending: Sending) -> None:
    hop.say("DATA", b"354 go\r\n250 2.0.0 taken\r\n", "354 go")
    outcome = await sending.one(job(), route(hop))
    assert (outcome.state, outcome.reply.enhanced) == (State.QUEUED, "4.5.0")
    assert (await sending.one(job(), route(hop))).state is State.DELIVERED
    assert hop.connections == 2


async def test_a_host_that_stops_reading_is_given_up(impatient: Sending) -> None:
    async def stop_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        await reader.readline()
        writer.write(b"250-x\r\n250 PIPELINING\r\n")
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(3)

    server = await asyncio.start_server(stop_reading, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    outcome = await impatient.one(
        job(body=b"x" * 30_000_000 + b"\r\n"), route(Hop("mx", port, ("127.0.0.1",)))
    )
    server.close()
    assert summary(outcome) == (State.QUEUED, 421, "timeout", Stage.DOT)


async def test_a_host_that_drips_is_given_up_in_the_end(hop: FakeNextHop) -> None:
    """Every reply comes in time, every stage makes progress, and it would still never end."""
    hop.features = ()
    hop.delay_s = 0.1
    sending = Sending(replace(PATIENT, transaction=0.5))
    recipients = [f"r{number}@partner.example" for number in range(50)]
    outcomes = await sending(job(*recipients), route(hop))
    assert {summary(outcome) for outcome in outcomes} == {(State.QUEUED, 421, "timeout", Stage.RCPT)}
    assert "not finished within" in outcomes[0].reply.text
    assert hop.messages == []
    assert sending.pool.idle_count == 0


async def test_a_host_that_takes_the_message_a_little_at_a_time_is_given_up() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        await reader.readline()
        writer.write(b"250-x\r\n250 PIPELINING\r\n")
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
        while await reader.read(50_000):
            await asyncio.sleep(0.05)

    server = await asyncio.start_server(drip, "127.0.0.1", 0, limit=50_000)
    port = server.sockets[0].getsockname()[1]
    sending = Sending(replace(PATIENT, transaction=1))
    where = route(Hop("mx", port, ("127.0.0.1",)))
    outcome = await sending.one(job(body=b"x" * 30_000_000 + b"\r\n"), where)
    server.close()
    assert summary(outcome) == (State.QUEUED, 421, "timeout", Stage.DOT)


async def test_a_cancelled_delivery_leaves_no_connection(hop: FakeNextHop) -> None:
    sending = Sending(Deadlines())
    hop.say("DOT", STALL)
    task = asyncio.create_task(sending.one(job(), route(hop)))
    while not hop.commands or hop.commands[-1] != "DATA":
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sending.pool.idle_count == 0


async def test_an_unexpected_error_is_temporary(
    hop: FakeNextHop, sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.deliver.needs_smtputf8", lambda *_: 1 / 0)
    hop.features = ()
    outcome = await sending.one(job(smtputf8=True), route(hop))
    assert (outcome.state, str(outcome.reply)) == (State.QUEUED, "451 4.3.0 Internal error while delivering")


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
