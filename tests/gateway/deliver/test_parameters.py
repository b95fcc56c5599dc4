"""What messages need of a host: SIZE, 8BITMIME, SMTPUTF8, DSN, and addresses that are none."""

from __future__ import annotations

import pytest

from gateway.rules.types import State
from tests.fake_next_hop import FakeNextHop
from tests.gateway.deliver.helpers import (
    BODY,
    Sending,
    job,
    notifying,
    route,
)


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
