"""Next hops that speak SMTP in ways of their own: what each recipient gets, and that the next message is not harmed."""

from __future__ import annotations

import pytest

from gateway.rules.types import Outcome, Stage, State
from tests.fake_next_hop import FakeNextHop
from tests.gateway.deliver.helpers import Sending, job, route

PIPELINED, ONE_BY_ONE = ("PIPELINING",), ("8BITMIME",)
THREE = ("a@partner.example", "b@partner.example", "c@partner.example")


def told(outcomes: list[Outcome]) -> list[tuple[State, int, str]]:
    return [(outcome.state, outcome.reply.code, outcome.reason) for outcome in outcomes]


@pytest.mark.parametrize("features", [PIPELINED, ONE_BY_ONE])
async def test_421_among_the_recipients_ends_nothing_but_the_connection(
    hop: FakeNextHop, impatient: Sending, features: tuple[str, ...]
) -> None:
    hop.features = features
    hop.say("RCPT", "550 5.1.1 no such user", "421 4.3.2 shutting down", "\0drop")
    outcomes = await impatient(job(*THREE), route(hop))
    assert told(outcomes)[0] == (State.BOUNCED, 550, "unknown_user")
    assert [outcome.state for outcome in outcomes[1:]] == [State.QUEUED, State.QUEUED]
    assert (outcomes[1].reply.code, outcomes[2].reason) == (421, "connection_lost")
    hop.say("RCPT", "250 2.1.5 ok")
    again = await impatient(job(*THREE), route(hop))
    assert {outcome.state for outcome in again} == {State.DELIVERED}
    assert hop.connections == 2


@pytest.mark.parametrize("features", [PIPELINED, ONE_BY_ONE])
async def test_421_after_the_message_is_temporary_and_ends_the_connection(
    hop: FakeNextHop, impatient: Sending, features: tuple[str, ...]
) -> None:
    hop.features = features
    hop.say("DOT", "421 4.3.0 later", "250 2.0.0 taken")
    outcome = await impatient.one(job(), route(hop))
    assert (outcome.state, outcome.stage) == (State.QUEUED, Stage.DOT)
    assert (await impatient.one(job(), route(hop))).state is State.DELIVERED
    assert hop.connections == 2


@pytest.mark.parametrize("features", [PIPELINED, ONE_BY_ONE])
async def test_too_many_recipients_go_later_and_a_full_mailbox_is_told(
    hop: FakeNextHop, sending: Sending, features: tuple[str, ...]
) -> None:
    hop.features = features
    hop.say("RCPT", "250 2.1.5 ok", "552 5.5.3 too many recipients", "552 5.2.2 mailbox full")
    outcomes = await sending(job(*THREE), route(hop))
    assert told(outcomes) == [
        (State.DELIVERED, 250, "delivered"),
        (State.QUEUED, 552, "too_many_recipients"),  # RFC 5321 section 4.5.3.1.10: as if 452
        (State.BOUNCED, 552, "quota"),
    ]


@pytest.mark.parametrize("features", [PIPELINED, ONE_BY_ONE])
async def test_452_keeps_the_rest_of_the_transaction(
    hop: FakeNextHop, sending: Sending, features: tuple[str, ...]
) -> None:
    hop.features = features
    hop.say("RCPT", "452 4.5.3 too many recipients", "452 4.2.2 over quota", "250 2.1.5 ok")
    outcomes = await sending(job(*THREE), route(hop))
    assert told(outcomes) == [
        (State.QUEUED, 452, "too_many_recipients"),
        (State.QUEUED, 452, "quota"),
        (State.DELIVERED, 250, "delivered"),
    ]


async def test_a_reply_for_each_recipient_after_the_dot_as_in_lmtp(
    hop: FakeNextHop, sending: Sending
) -> None:
    """Over SMTP the first is the answer (RFC 5321 section 4.2); the second must not answer the next message's MAIL."""
    hop.say("DOT", b"250 2.0.0 first\r\n550 5.1.1 second\r\n")
    assert {outcome.state for outcome in await sending(job(*THREE[:2]), route(hop))} == {State.DELIVERED}
    hop.say("DOT", "250 2.0.0 taken")
    assert (await sending.one(job(), route(hop))).state is State.DELIVERED
    assert hop.connections == 2


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (b"550 5.1.1 \xff\xfe no such user\r\n", "\ufffd\ufffd no such user"),
        (b"550 5.1.1 \x1b[31mno such user\x07\r\n", "[31mno such user"),
        (b"550-5.1.1 no\r\n550 5.1.1 such user\r\n", "no such user"),
        ("550 5.1.1 no \u202esuch user\r\n".encode(), "no such user"),
        (b"550 5.1.1 <script>no such user</script>\r\n", "<script>no such user</script>"),
        (b"550 5.1.1 no such user\n", "no such user"),  # a bare LF
        (b"250-5.1.1 fine\r\n550 5.1.1 no such user\r\n", "fine no such user"),  # the last code counts
    ],
)
async def test_octets_in_a_reply_are_made_harmless(
    hop: FakeNextHop, sending: Sending, wire: bytes, text: str
) -> None:
    hop.say("RCPT", wire)
    outcome = await sending.one(job(), route(hop))
    assert (outcome.state, outcome.reason) == (State.BOUNCED, "unknown_user")
    assert outcome.reply.text == text
    assert outcome.reply.text.isprintable()


@pytest.mark.parametrize(
    "reply", ["334 what", "354 go on", "299 fine", "200 fine", "999 what", "25 ok", "2500 ok"]
)
async def test_unheard_of_codes(hop: FakeNextHop, impatient: Sending, reply: str) -> None:
    """2xx is yes (RFC 5321 section 4.2.1: the first digit counts), what is no reply is temporary."""
    hop.say("RCPT", reply)
    outcome = await impatient.one(job(), route(hop))
    assert outcome.state is (State.DELIVERED if reply.startswith(("299", "200")) else State.QUEUED)
