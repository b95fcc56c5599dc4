"""Conversations: client lines in, the exact server lines out, on both event loops, clear and under TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rules.types import Address
from tests.gateway.accept.house import FakeGatekeeper, open_house, run

# "\0acme-web\0s3cret"
PLAIN = "AGFjbWUtd2ViAHMzY3JldA=="

LOGGED_IN = f"""
S: 220 relay.test ESMTP
C: EHLO mail.acme.example
S> ehlo
C: STARTTLS
S: 220 2.0.0 Ready to start TLS
TLS
C: EHLO mail.acme.example
S> ehlo
C: AUTH PLAIN {PLAIN}
S: 235 2.7.0 Authentication successful
"""


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    return request.param


def play(
    tmp_path: Path, loop: str, script: str, *, implicit_tls: bool = False, **changes: object
) -> FakeGatekeeper:
    keeper = FakeGatekeeper()

    async def main() -> None:
        async with open_house(tmp_path, keeper, **changes) as house:
            await house.play(script, implicit_tls=implicit_tls)

    run(main(), loop)
    return keeper


def test_a_message_from_greeting_to_goodbye(tmp_path: Path, loop: str) -> None:
    keeper = play(
        tmp_path,
        loop,
        LOGGED_IN
        + r"""
        C: MAIL FROM:<alice@Acme.Example> SIZE=20 BODY=8BITMIME RET=HDRS ENVID=Q+2B1
        S: 250 2.1.0 Ok
        C: RCPT TO:<bob@globex.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;Bob+40globex.example
        S: 250 2.1.5 Ok
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C! Subject: hi\r\n\r\n..dot\r\n.\r\n
        S: 250 2.0.0 Ok: queued as m1
        C: QUIT
        S: 221 2.0.0 Bye
        END
        """,
    )
    (envelope,) = keeper.envelopes
    assert envelope.sender == Address("alice", "acme.example")
    assert envelope.body == b"Subject: hi\r\n\r\n.dot\r\n"
    assert (envelope.customer_id, envelope.credential_id) == (1, 11)
    assert (envelope.eight_bit, envelope.ret, envelope.envid) == (True, "HDRS", "Q+1")
    (recipient,) = envelope.recipients
    assert recipient.address == Address("bob", "globex.example")
    assert recipient.notify == {"FAILURE", "DELAY"}
    assert recipient.orcpt == "rfc822;Bob@globex.example"
    assert envelope.with_protocol == "ESMTPSA"
    assert envelope.tls is not None
    assert envelope.tls.version in {"TLSv1.2", "TLSv1.3"}
    assert envelope.client_ip == "127.0.0.1"
    assert envelope.helo == "mail.acme.example"
    assert keeper.stages == ["connected", "tls", "login", "sender", "accepted"]
    assert keeper.ended == [True]
    assert keeper.announced_bytes == [20]
