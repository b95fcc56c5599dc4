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


def message(number: int, *, by: str = "alice@acme.example", to: str = "bob@globex.example") -> str:
    return rf"""
    C: MAIL FROM:<{by}>
    S: 250 2.1.0 Ok
    C: RCPT TO:<{to}>
    S: 250 2.1.5 Ok
    C: DATA
    S: 354 End data with <CR><LF>.<CR><LF>
    C! hello\r\n.\r\n
    S: 250 2.0.0 Ok: queued as m{number}
    """


def test_several_messages_in_one_session_over_implicit_tls(tmp_path: Path, loop: str) -> None:
    script = f"""
    S: 220 relay.test ESMTP
    C: EHLO mail.acme.example
    S> ehlo
    C: AUTH PLAIN {PLAIN}
    S: 235 2.7.0 Authentication successful
    {message(1)}
    {message(2, by="")}
    C: QUIT
    S: 221 2.0.0 Bye
    END
    """
    keeper = play(tmp_path, loop, script, implicit_tls=True)
    assert [envelope.sender for envelope in keeper.envelopes] == [Address("alice", "acme.example"), None]
    assert keeper.envelopes[0].id < keeper.envelopes[1].id
    assert keeper.stages[:3] == ["tls", "connected", "login"]


def test_pipelining_is_answered_in_order_and_in_one_segment(tmp_path: Path, loop: str) -> None:
    keeper = FakeGatekeeper()

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            dialogue = await house.connect()
            await dialogue.play(LOGGED_IN)
            await dialogue.send(
                b"MAIL FROM:<alice@acme.example>\r\nRCPT TO:<bob@globex.example>\r\nRCPT TO:<x>\r\nDATA\r\n"
            )
            answer = await dialogue.reader.read(65536)
            assert answer.decode().split("\r\n") == [
                "250 2.1.0 Ok",
                "250 2.1.5 Ok",
                "501 5.1.3 Bad recipient address: address has no domain",
                "354 End data with <CR><LF>.<CR><LF>",
                "",
            ]
            await dialogue.send(b"one\r\n.\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n")
            answer = await dialogue.rest()
            assert answer.decode().split("\r\n") == [
                "250 2.0.0 Ok: queued as m1",
                "250 2.1.0 Ok",
                "250 2.0.0 Ok",
                "221 2.0.0 Bye",
                "",
            ]
            await dialogue.close()

    run(main(), loop)
    assert [envelope.body for envelope in keeper.envelopes] == [b"one\r\n"]
    assert keeper.ended == [True, False]


def test_a_message_in_chunks(tmp_path: Path, loop: str) -> None:
    script = (
        LOGGED_IN
        + r"""
        C: MAIL FROM:<alice@acme.example>
        S: 250 2.1.0 Ok
        C: RCPT TO:<bob@globex.example>
        S: 250 2.1.5 Ok
        C! BDAT 9\r\n.\r\nQUIT\r\n
        S: 250 2.0.0 9 octets received
        C: RCPT TO:<carol@globex.example>
        S: 503 5.5.1 BDAT has begun
        C: DATA
        S: 503 5.5.1 BDAT has begun
        C: BDAT 0
        S: 250 2.0.0 0 octets received
        C! BDAT 4 last\r\nend\r
        C! \nNOOP\r\n
        S: 550 5.6.0 Message contains bare CR, bare LF or NUL
        C: QUIT
        S: 221 2.0.0 Bye
        END
        """
    )
    keeper = play(
        tmp_path, loop, script.replace("S: 550 5.6.0 Message contains bare CR, bare LF or NUL", BDAT_END)
    )
    assert keeper.envelopes == []
    assert keeper.refusals == [("data", "bare_line_end", 550, "alice@acme.example", "bob@globex.example")]


# 'end\r' is a bare CR; the LF that follows is an empty command line, and a wrong one
BDAT_END = """S: 550 5.6.0 Message contains bare CR, bare LF or NUL
S: 500 5.5.2 Line must end with CRLF
S: 250 2.0.0 Ok"""


def test_chunks_carry_dots_as_they_are(tmp_path: Path, loop: str) -> None:
    keeper = play(
        tmp_path,
        loop,
        LOGGED_IN
        + r"""
        C: MAIL FROM:<alice@acme.example>
        S: 250 2.1.0 Ok
        C: RCPT TO:<bob@globex.example>
        S: 250 2.1.5 Ok
        C! BDAT 6\r\n.\r\n..\r
        S: 250 2.0.0 6 octets received
        C! BDAT 7 LAST\r\n\nno end
        S: 250 2.0.0 Ok: queued as m1
        C! BDAT 3 LAST\r\nabc
        S: 503 5.5.1 Send MAIL first
        C: QUIT
        S: 221 2.0.0 Bye
        END
        """,
    )
    assert [envelope.body for envelope in keeper.envelopes] == [b".\r\n..\r\nno end\r\n"]


def test_a_part_is_never_taken_for_the_whole(tmp_path: Path, loop: str) -> None:
    """A first BDAT that came too early is refused, so the second alone must not become the message."""
    keeper = play(
        tmp_path,
        loop,
        LOGGED_IN
        + r"""
        C: MAIL FROM:<alice@acme.example>
        S: 250 2.1.0 Ok
        C! BDAT 5\r\nfirst
        S: 503 5.5.1 Send RCPT first
        C: RCPT TO:<bob@globex.example>
        S: 503 5.5.1 BDAT has begun
        C! BDAT 6 LAST\r\nsecond
        S: 503 5.5.1 Send RCPT first
        C: RSET
        S: 250 2.0.0 Ok
        C: MAIL FROM:<alice@acme.example>
        S: 250 2.1.0 Ok
        C: RCPT TO:<bob@globex.example>
        S: 250 2.1.5 Ok
        C! BDAT 5\r\nfirst
        S: 250 2.0.0 5 octets received
        C: MAIL FROM:<alice@acme.example>
        S: 503 5.5.1 Nested MAIL command
        C! BDAT 6 LAST\r\nsecond
        S: 250 2.0.0 Ok: queued as m1
        C: BDAT x
        S: 501 5.5.4 Syntax: BDAT size [LAST]
        END
        """,
    )
    assert [envelope.body for envelope in keeper.envelopes] == [b"firstsecond\r\n"]


def test_rset_forgets_chunks(tmp_path: Path, loop: str) -> None:
    keeper = play(
        tmp_path,
        loop,
        LOGGED_IN
        + r"""
        C: MAIL FROM:<alice@acme.example>
        S: 250 2.1.0 Ok
        C: RCPT TO:<bob@globex.example>
        S: 250 2.1.5 Ok
        C! BDAT 5\r\nfirst
        S: 250 2.0.0 5 octets received
        C: RSET
        S: 250 2.0.0 Ok
        C: MAIL FROM:<alice@acme.example>
        S: 250 2.1.0 Ok
        C: RCPT TO:<bob@globex.example>
        S: 250 2.1.5 Ok
        C! BDAT 6 LAST\r\nsecond
        S: 250 2.0.0 Ok: queued as m1
        """,
    )
    assert [envelope.body for envelope in keeper.envelopes] == [b"second\r\n"]


def test_the_order_of_commands(tmp_path: Path, loop: str) -> None:
    keeper = play(
        tmp_path,
        loop,
        f"""
        S: 220 relay.test ESMTP
        C: MAIL FROM:<alice@acme.example>
        S: 503 5.5.1 Send EHLO first
        C: AUTH PLAIN {PLAIN}
        S: 503 5.5.1 Send EHLO first
        C: EHLO mail.acme.example
        S> ehlo
        C: AUTH PLAIN {PLAIN}
        S: 538 5.7.11 Encryption required for requested authentication mechanism
        C: MAIL FROM:<alice@acme.example>
        S: 530 5.7.0 Authentication required
        C: RCPT TO:<bob@globex.example>
        S: 503 5.5.1 Send MAIL first
        C: DATA
        S: 503 5.5.1 Send MAIL first
        C: STARTTLS now
        S: 501 5.5.4 STARTTLS takes no argument
        C: STARTTLS
        S: 220 2.0.0 Ready to start TLS
        TLS
        C: MAIL FROM:<alice@acme.example>
        S: 503 5.5.1 Send EHLO first
        C: HELO mail.acme.example
        S: 250 relay.test
        C: AUTH PLAIN {PLAIN}
        S: 503 5.5.1 Send EHLO first
        C: EHLO mail.acme.example
        S> ehlo
        C: STARTTLS
        S: 503 5.5.1 Already under TLS
        C: MAIL FROM:<alice@acme.example>
        S: 530 5.7.0 Authentication required
        C: AUTH PLAIN {PLAIN}
        S: 235 2.7.0 Authentication successful
        C: AUTH PLAIN {PLAIN}
        S: 503 5.5.1 Already authenticated or in a transaction
        C: MAIL FROM:<alice@acme.example>
        S: 250 2.1.0 Ok
        C: DATA
        S: 503 5.5.1 Send RCPT first
        C: MAIL FROM:<alice@acme.example>
        S: 503 5.5.1 Nested MAIL command
        C: RCPT TO:<bob>
        S: 501 5.1.3 Bad recipient address: address has no domain
        C: DATA
        S: 554 5.5.1 No valid recipients
        C: RCPT TO:<bob@globex.example>
        S: 250 2.1.5 Ok
        C: DATA now
        S: 501 5.5.4 DATA takes no argument
        C: EHLO again.acme.example
        S> ehlo
        C: DATA
        S: 503 5.5.1 Send MAIL first
        C: RSET it
        S: 501 5.5.4 RSET takes no argument
        C: QUIT it
        S: 501 5.5.4 QUIT takes no argument
        C: QUIT
        S: 221 2.0.0 Bye
        END
        """,
    )
    assert keeper.ended == [False]
    assert [refusal[:3] for refusal in keeper.refusals] == [
        ("mail", "login_required", 530),
        ("mail", "login_required", 530),
        ("rcpt", "syntax", 501),
    ]


def test_small_talk(tmp_path: Path, loop: str) -> None:
    play(
        tmp_path,
        loop,
        r"""
        S: 220 relay.test ESMTP
        C: noop whatever
        S: 250 2.0.0 Ok
        C: HELP
        S: 214 2.0.0 This is an outbound relay for registered customers; see RFC 5321
        C: VRFY bob
        S: 252 2.5.0 Cannot VRFY user, but will accept message and attempt delivery
        C: EXPN all
        S: 502 5.5.1 EXPN is not supported
        C: FOO bar
        S: 500 5.5.1 Command not recognized
        C! \r\n
        S: 500 5.5.1 Command not recognized
        C: EHLO
        S: 501 5.5.4 Syntax: EHLO hostname
        C: EHLO two words
        S: 501 5.5.4 Syntax: EHLO hostname
        C: EHLO ev<il>
        S: 501 5.5.4 Syntax: EHLO hostname
        C: HELO [192.0.2.1]
        S: 250 relay.test
        C! NOOP\n
        S: 500 5.5.2 Line must end with CRLF
        C! NO\rOP\r\n
        S: 500 5.5.2 Control characters are not allowed in commands
        C! NOOP \0\r\n
        S: 500 5.5.2 Control characters are not allowed in commands
        C! NOOP \xff\r\n
        S: 500 5.5.2 Command is not UTF-8
        C: QUIT
        S: 221 2.0.0 Bye
        END
        """,
    )


@pytest.mark.parametrize(
    "verb", ["GET / HTTP/1.1", "POST / HTTP/1.1", "CONNECT x:1", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2"]
)
def test_other_protocols_are_shown_the_door(tmp_path: Path, verb: str) -> None:
    play(
        tmp_path,
        "asyncio",
        f"""
        S: 220 relay.test ESMTP
        C: {verb}
        S: 421 4.7.0 This is a mail server, closing connection
        END
        """,
    )


def test_a_browser_cannot_be_made_to_send_mail(tmp_path: Path) -> None:
    play(
        tmp_path,
        "asyncio",
        r"""
        S: 220 relay.test ESMTP
        C! POST / HTTP/1.1\r\nHost: relay.test\r\n\r\nEHLO x\r\nMAIL FROM:<a@acme.example>\r\n
        S: 421 4.7.0 This is a mail server, closing connection
        END
        """,
    )


def test_an_international_message(tmp_path: Path, loop: str) -> None:
    keeper = play(
        tmp_path,
        loop,
        LOGGED_IN
        + r"""
        C: MAIL FROM:<älice@münchen.example> SMTPUTF8 BODY=8BITMIME REQUIRETLS
        S: 250 2.1.0 Ok
        C: RCPT TO:<böb@globex.example>
        S: 250 2.1.5 Ok
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C! Subject: \xc3\xa4\r\n\r\n.\r\n
        S: 250 2.0.0 Ok: queued as m1
        C: MAIL FROM:<alice@acme.example>
        S: 250 2.1.0 Ok
        C: RCPT TO:<böb@globex.example>
        S: 553 5.6.7 Bad recipient address: address is not ASCII and SMTPUTF8 was not requested
        """,
    )
    (envelope,) = keeper.envelopes
    assert envelope.sender == Address("älice", "xn--mnchen-3ya.example")
    assert (envelope.smtputf8, envelope.eight_bit, envelope.require_tls) == (True, True, True)
    assert envelope.with_protocol == "UTF8SMTPSA"


def test_a_recipient_named_twice_is_one_delivery(tmp_path: Path) -> None:
    keeper = play(
        tmp_path,
        "asyncio",
        LOGGED_IN
        + r"""
        C: MAIL FROM:<alice@acme.example>
        S: 250 2.1.0 Ok
        C: RCPT TO:<bob@globex.example> NOTIFY=NEVER
        S: 250 2.1.5 Ok
        C: RCPT TO:<bob@GLOBEX.example>
        S: 250 2.1.5 Ok
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C! x\r\n.\r\n
        S: 250 2.0.0 Ok: queued as m1
        """,
    )
    (recipient,) = keeper.envelopes[0].recipients
    assert recipient.notify == {"NEVER"}
