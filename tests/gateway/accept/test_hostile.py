"""Clients that are endless, broken, hostile or too many."""

from __future__ import annotations

import asyncio
import tracemalloc
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.gateway.accept.house import Dialogue, FakeGatekeeper, House, open_house, run
from tests.gateway.accept.scripts import (
    BOTH_LOOPS,
    DATA,
    ENVELOPE,
    LOGGED_IN,
    PLAIN,
    QUIT,
    STARTTLS,
    logged_in,
    play,
    until,
)

# ---- STARTTLS


@BOTH_LOOPS
def test_commands_sent_before_the_handshake_are_not_executed_after_it(tmp_path: Path, loop: str) -> None:
    """CVE-2011-0411, CVE-2024-34083: a man in the middle puts commands behind STARTTLS in the same segment."""
    keeper = FakeGatekeeper()
    keeper.policy = type(keeper.policy)(networks=((ip_network("127.0.0.0/8"), 3),))

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            await house.play(
                r"""
                S: 220 relay.test ESMTP
                C: EHLO mail.acme.example
                S> ehlo
                C! STARTTLS\r\nEHLO evil\r\nMAIL FROM:<eve@acme.example>\r\n
                S: 220 2.0.0 Ready to start TLS
                TLS
                C: RCPT TO:<bob@globex.example>
                S: 503 5.5.1 Send MAIL first
                C: MAIL FROM:<alice@acme.example>
                S: 503 5.5.1 Send EHLO first
                """
            )

    run(main(), loop)
    assert "sender" not in keeper.stages


@BOTH_LOOPS
def test_a_handshake_that_is_none_ends_the_connection(tmp_path: Path, loop: str) -> None:
    async def main() -> None:
        async with open_house(tmp_path) as house:
            dialogue = await house.connect()
            await dialogue.play(STARTTLS)
            await dialogue.send(b"NOOP\r\n" * 20)
            assert b"250" not in await dialogue.rest()
            await dialogue.close()
            dialogue = await house.connect()
            await dialogue.play(STARTTLS)
            await dialogue.close()
            await until(lambda: house.servers.connections == 0)

    run(main(), loop)


@BOTH_LOOPS
def test_a_fast_client_is_not_left_hanging(tmp_path: Path, loop: str) -> None:
    """Its first command under TLS arrives together with the end of the handshake."""

    async def main() -> None:
        async with open_house(tmp_path) as house:
            for _ in range(20):
                dialogue = await house.connect()
                await dialogue.play(STARTTLS)
                await dialogue.start_tls()
                await dialogue.play("C: EHLO x\nS> ehlo\n" + QUIT)
                await dialogue.close()

    run(main(), loop)


# ---- bodies


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (r"a\nb\r\n.\r\n", "550 5.6.0 Message contains bare CR, bare LF or NUL"),
        (
            r"a\r\n.\nMAIL FROM:<x@acme.example>\r\n.\r\n",
            "550 5.6.0 Message contains bare CR, bare LF or NUL",
        ),
        (
            r"a\n.\r\nMAIL FROM:<x@acme.example>\r\n.\r\n",
            "550 5.6.0 Message contains bare CR, bare LF or NUL",
        ),
        (r"a\0b\r\n.\r\n", "550 5.6.0 Message contains bare CR, bare LF or NUL"),
        ("x" * 2001 + r"\r\n.\r\n", "550 5.6.0 Message contains a line that is too long"),
        (
            "x" * 1990 + r"\r\n" + ("y" * 1990 + r"\r\n") * 60 + r".\r\n",
            "552 5.3.4 Message is larger than we take",
        ),
    ],
    ids=["LF", "dot LF", "LF dot", "NUL", "line", "size"],
)
@BOTH_LOOPS
def test_bad_bodies_are_refused_after_their_end(tmp_path: Path, loop: str, body: str, reply: str) -> None:
    keeper = play(tmp_path, f"{DATA}C! {body}\nS: {reply}\nC: NOOP\nS: 250 2.0.0 Ok\n{QUIT}", loop)
    assert keeper.envelopes == []
    assert keeper.ended == [False]
    assert [refusal[0] for refusal in keeper.refusals] == ["data"]


def test_lines_beyond_998_octets_pass_unchanged(tmp_path: Path) -> None:
    keeper = play(tmp_path, f"{DATA}C! {'x' * 2000}\\r\\n.\\r\\n\nS: 250 2.0.0 Ok: queued as m1\n{QUIT}")
    assert keeper.envelopes[0].body == b"x" * 2000 + b"\r\n"


def test_an_announced_size_is_believed(tmp_path: Path) -> None:
    keeper = play(
        tmp_path,
        "C: MAIL FROM:<alice@acme.example> SIZE=100001\nS: 552 5.3.4 Message is larger than we take\n"
        "C: MAIL FROM:<alice@acme.example> SIZE=100000\nS: 250 2.1.0 Ok\n",
    )
    assert keeper.refusals == [("mail", "too_big", 552, "alice@acme.example", "")]


@BOTH_LOOPS
@pytest.mark.parametrize(
    ("prefix", "piece"),
    [
        (DATA, b"x" * 65_536),
        (DATA, (b"x" * 70 + b"\r\n") * 900),
        (ENVELOPE + "C: BDAT 999999999999 LAST\n", b"x" * 65_536),
        ("", b"x" * 65_536),
    ],
    ids=["line", "lines", "chunk", "command"],
)
def test_endless_input_is_not_kept_and_ends_the_connection(
    tmp_path: Path, loop: str, prefix: str, piece: bytes
) -> None:
    async def main() -> None:
        async with open_house(tmp_path, max_message_size_bytes=1_000_000) as house:
            dialogue = await logged_in_big(house)
            await dialogue.play(prefix)
            tracemalloc.start()
            sent = await send_until_closed(dialogue, piece, 64_000_000)
            _now, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert sent < 16_000_000
            assert peak < 8_000_000
            await dialogue.close()
            await until(lambda: house.servers.connections == 0)

    run(main(), loop)


async def logged_in_big(house: House) -> Dialogue:
    dialogue = await house.connect(implicit_tls=True)
    await dialogue.lines(1)
    await dialogue.send(f"EHLO x\r\nAUTH PLAIN {PLAIN}\r\n".encode())
    while not (await dialogue.line()).startswith("235"):
        pass
    return dialogue


async def send_until_closed(dialogue: Dialogue, piece: bytes, at_most: int) -> int:
    sent = 0
    try:
        while sent < at_most and not dialogue.writer.transport.is_closing():
            await dialogue.send(piece)
            await asyncio.sleep(0)  # a broken connection is only noticed by the loop
            sent += len(piece)
    except (ConnectionError, OSError):
        pass
    return sent


@BOTH_LOOPS
@pytest.mark.parametrize("command", ["DATA", "BDAT"])
def test_memory_is_bounded_for_all_connections_together(tmp_path: Path, loop: str, command: str) -> None:
    """The one that asks for too much is told to come again; the others are not disturbed."""
    line = b"y" * 998 + b"\r\n"
    keeper = FakeGatekeeper()

    async def begin(house: House) -> Dialogue:
        dialogue = await logged_in_big(house)
        await dialogue.play(ENVELOPE)
        await dialogue.send(b"DATA\r\n" if command == "DATA" else b"BDAT 800000 LAST\r\n")
        if command == "DATA":
            await dialogue.line()
        await dialogue.send(line * 600)
        return dialogue

    async def main() -> None:
        async with open_house(tmp_path, keeper, max_message_size_bytes=1_000_000) as house:
            house.servers._house.max_held_bytes = 1_700_000
            end = line * 200 + (b".\r\n" if command == "DATA" else b"")
            dialogues = [await begin(house) for _ in range(3)]
            connections = house.servers._house.connections

            def one_gave_up() -> bool:
                bodies = [item._body or item.acceptor.chunks for item in connections]
                whole = [body for body in bodies if body and body.kept_bytes >= 600_000]
                return (
                    len(whole) == 2
                    and sum(body is not None and body.fault == "no_room" for body in bodies) == 1
                )

            await until(one_gave_up)
            answers = []
            for dialogue in dialogues:
                await dialogue.send(end)
                answers.append(await dialogue.line())
            assert sorted(answers) == [
                "250 2.0.0 Ok: queued as m1",
                "250 2.0.0 Ok: queued as m2",
                "452 4.3.1 Not enough memory for this message now, try again later",
            ]
            await until(lambda: sum(item.held_bytes for item in connections) == 0)
            for dialogue in dialogues:
                await dialogue.close()

    run(main(), loop)
    assert keeper.refusals[0][:3] == ("data", "no_room", 452)
    assert all(envelope.body == line * 800 for envelope in keeper.envelopes)


def test_the_end_of_an_endless_message_is_told(tmp_path: Path) -> None:
    """Its sender reads 552 when it looks before it goes on."""

    async def main() -> None:
        async with open_house(tmp_path) as house:
            dialogue = await logged_in(house)
            await dialogue.play(DATA)
            await dialogue.send(b"x" * 200_001)
            assert await dialogue.line() == "552 5.3.4 Message is larger than we take, closing connection"
            assert await dialogue.rest() == b""
            await dialogue.close()

    run(main())


# ---- limits


def test_too_many_recipients(tmp_path: Path) -> None:
    rcpts = "".join(f"C: RCPT TO:<r{number}@globex.example>\nS: 250 2.1.5 Ok\n" for number in range(5))
    keeper = play(
        tmp_path,
        f"C: MAIL FROM:<alice@acme.example>\nS: 250 2.1.0 Ok\n{rcpts}"
        "C: RCPT TO:<more@globex.example>\nS: 452 4.5.3 Too many recipients\n"
        "C: DATA\nS: 354 End data with <CR><LF>.<CR><LF>\nC! x\\r\\n.\\r\\n\nS: 250 2.0.0 Ok: queued as m1\n",
    )
    assert len(keeper.envelopes[0].recipients) == 5


def test_too_many_messages(tmp_path: Path) -> None:
    one = DATA + "C! x\\r\\n.\\r\\n\nS: 250 2.0.0 Ok: queued as m1\n"
    two = DATA + "C! x\\r\\n.\\r\\n\nS: 250 2.0.0 Ok: queued as m2\n"
    closing = "S: 421 4.7.0 Too many messages in this session, closing connection\nEND\n"
    play(tmp_path, one + two + "C: MAIL FROM:<alice@acme.example>\n" + closing, max_messages_per_session=2)


def test_too_many_bad_commands(tmp_path: Path) -> None:
    bad = "C: FOO\nS: 500 5.5.1 Command not recognized\n" * 19
    play(tmp_path, bad + "C: FOO\nS: 421 4.7.0 Too many bad commands, closing connection\nEND\n")


def test_too_many_refused_commands(tmp_path: Path) -> None:
    """Well-formed, but no use: before a log-in patience is short, after it there may be a long list of recipients."""
    needed = "S: 530 5.7.0 Authentication required\n"
    mail = "C: MAIL FROM:<alice@acme.example>\n"
    closing = "S: 421 4.7.0 Too many refused commands, closing connection\nEND\n"

    async def main() -> None:
        async with open_house(tmp_path) as house:
            greeting = "S: 220 relay.test ESMTP\nC: EHLO x\nS> ehlo\n"
            await house.play(greeting + (mail + needed) * 20 + mail + closing)
            rcpt = "C: RCPT TO:<bob>\n"
            refused = "S: 501 5.1.3 Bad recipient address: address has no domain\n"
            await house.play(
                LOGGED_IN + mail + "S: 250 2.1.0 Ok\n" + (rcpt + refused) * 200 + rcpt + closing,
                implicit_tls=True,
            )

    run(main())


def test_too_many_commands_without_a_message(tmp_path: Path) -> None:
    idle = "C: NOOP\nS: 250 2.0.0 Ok\n" * 99  # and one EHLO
    play(
        tmp_path,
        idle + "C: NOOP\nS: 421 4.7.0 Too many commands without a message, closing connection\nEND\n",
    )


def test_a_message_earns_new_patience(tmp_path: Path) -> None:
    bad = "C: FOO\nS: 500 5.5.1 Command not recognized\n" * 19
    play(tmp_path, bad + DATA + "C! x\\r\\n.\\r\\n\nS: 250 2.0.0 Ok: queued as m1\n" + bad + QUIT)


@BOTH_LOOPS
def test_too_many_connections(tmp_path: Path, loop: str) -> None:
    async def main() -> None:
        async with open_house(tmp_path, max_connections=3, max_connections_per_address=2) as house:
            first, second = await house.connect(), await house.connect()
            await first.play("S: 220 relay.test ESMTP")
            await second.play("S: 220 relay.test ESMTP")
            await house.play("S: 421 4.7.0 Too many connections from your address, try again later\nEND")
            other = [await connect_from(house, f"127.0.0.{number}") for number in (2, 3)]
            await other[0].play("S: 220 relay.test ESMTP")
            await other[1].play("S: 421 4.7.0 Too many connections, try again later\nEND")
            await first.play(QUIT)
            await first.close()
            await until(lambda: house.servers.connections == 2)
            await house.play("S: 220 relay.test ESMTP\n" + QUIT)
            for dialogue in (second, *other):
                await dialogue.close()

    run(main(), loop)


async def connect_from(house: House, source: str) -> Dialogue:
    return Dialogue(*await asyncio.open_connection("127.0.0.1", house.port, local_addr=(source, 0)))
