"""Clients that are slow, endless, broken or hostile, and a house that breaks inside."""

from __future__ import annotations

import asyncio
import base64
import socket
import struct
import tracemalloc
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.accept import Timeouts
from gateway.rules.types import Envelope, Refused, Reply
from gateway.smtp.server import RelayProtocol
from tests.gateway.accept.house import Dialogue, FakeGatekeeper, House, open_house, run

PLAIN = base64.b64encode(b"\0acme-web\0s3cret").decode()
BOTH_LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])

LOGGED_IN = f"""
S: 220 relay.test ESMTP
C: EHLO mail.acme.example
S> ehlo
C: AUTH PLAIN {PLAIN}
S: 235 2.7.0 Authentication successful
"""
ENVELOPE = """
C: MAIL FROM:<alice@acme.example>
S: 250 2.1.0 Ok
C: RCPT TO:<bob@globex.example>
S: 250 2.1.5 Ok
"""
DATA = ENVELOPE + "C: DATA\nS: 354 End data with <CR><LF>.<CR><LF>\n"
STARTTLS = "S: 220 relay.test ESMTP\nC: EHLO x\nS> ehlo\nC: STARTTLS\nS: 220 2.0.0 Ready to start TLS\n"
QUIT = "C: QUIT\nS: 221 2.0.0 Bye\nEND\n"


async def logged_in(house: House) -> Dialogue:
    dialogue = await house.connect(implicit_tls=True)
    await dialogue.play(LOGGED_IN)
    return dialogue


def play(tmp_path: Path, script: str, loop: str = "asyncio", **changes: object) -> FakeGatekeeper:
    keeper = FakeGatekeeper()

    async def main() -> None:
        async with open_house(tmp_path, keeper, **changes) as house:
            await house.play(LOGGED_IN + script, implicit_tls=True)

    run(main(), loop)
    return keeper


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


# ---- time


TIMEOUT = "421 4.4.2 Timeout, closing connection"
SLOW = Timeouts(
    command_s=300, login_s=200, handshake_s=30, proxy_header_s=5, data_grace_s=120, data_min_rate=1000
)


async def waiting_connection(house: House) -> RelayProtocol:
    """The only connection, once it has read all that was sent and waits for its client."""
    await until(lambda: house.servers.connections == 1)
    (connection,) = house.servers._house.connections
    await until(lambda: connection.inbox.is_waiting)
    return connection  # type: ignore[return-value]


def left_s(connection: RelayProtocol) -> float:
    return connection.deadline._at - asyncio.get_running_loop().time()


@BOTH_LOOPS
@pytest.mark.parametrize(
    ("script", "seconds"),
    [
        ("S: 220 relay.test ESMTP", 200),
        ("S: 220 relay.test ESMTP\nC! NO", 200),
        ("S: 220 relay.test ESMTP\nC: EHLO x\nS> ehlo\nC: AUTH PLAIN\nS: 334", 200),
        (LOGGED_IN, 300),
        (LOGGED_IN + "C! NO", 300),
        (LOGGED_IN + ENVELOPE, 300),
        (LOGGED_IN + DATA, 120),
        (LOGGED_IN + DATA + "C! " + "x" * 1000, 121),
        (LOGGED_IN + ENVELOPE + "C: BDAT 9", 120),
        (LOGGED_IN + ENVELOPE + "C! BDAT 9000\\r\\n" + "x" * 2000, 122),
    ],
    ids="greeting line auth login line2 envelope data data2 bdat bdat2".split(),
)
def test_silence_has_an_end_everywhere(tmp_path: Path, loop: str, script: str, seconds: float) -> None:
    """How long is left is looked at, then the time is up: nobody waits."""

    async def main() -> None:
        async with open_house(tmp_path, timeouts=SLOW) as house:
            dialogue = await house.connect(implicit_tls=True)
            await dialogue.play(script)
            connection = await waiting_connection(house)
            await until(lambda: seconds - 2 < left_s(connection) <= seconds)
            connection.deadline.limit(0)
            await dialogue.play(f"S: {TIMEOUT}\nEND")
            await until(lambda: house.servers.connections == 0)
            await dialogue.close()

    run(main(), loop)


@BOTH_LOOPS
def test_a_handshake_has_its_time(tmp_path: Path, loop: str) -> None:
    async def main() -> None:
        async with open_house(tmp_path, timeouts=SLOW) as house:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", house.tls_port
            )  # and never says hello
            await until(lambda: house.servers.connections == 1)
            (connection,) = house.servers._house.connections
            await until(lambda: left_s(connection) < 31)
            connection.deadline.limit(0)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            await until(lambda: house.servers.connections == 0)
            writer.close()
            dialogue = await house.connect()
            await dialogue.play(STARTTLS)
            (connection,) = house.servers._house.connections
            await until(lambda: left_s(connection) < 31)
            connection.deadline.limit(0)
            assert await dialogue.rest() == b""  # no clear text in the middle of a handshake
            await dialogue.close()

    run(main(), loop)


def test_octets_now_and_then_buy_no_time(tmp_path: Path) -> None:
    """Slowloris: the deadline is for the whole command, and a body has to come at a rate."""

    async def main() -> None:
        async with open_house(tmp_path, timeouts=SLOW) as house:
            dialogue = await logged_in(house)
            connection = await waiting_connection(house)
            deadline = connection.deadline._at
            for number in range(1, 6):
                await dialogue.send(b"N")
                await until(lambda number=number: len(connection.inbox) == number)
            assert connection.deadline._at == deadline
            await dialogue.send(b"\r\n")
            await dialogue.play("S: 500 5.5.1 Command not recognized\n" + DATA)
            await waiting_connection(house)
            deadline = connection.deadline._at
            await dialogue.send(b"y" * 10)
            await until(lambda: connection.deadline._at > deadline)
            assert connection.deadline._at == pytest.approx(deadline + 0.01)  # 10 octets are worth 10 ms
            await dialogue.close()

    run(main())


def test_a_body_has_an_end_even_at_a_good_rate(tmp_path: Path) -> None:
    async def main() -> None:
        limits = Timeouts(data_grace_s=120, data_min_rate=1, data_total_s=130, close_s=0.5)
        async with open_house(tmp_path, timeouts=limits) as house:
            dialogue = await logged_in(house)
            await dialogue.play(DATA + "C! " + "y" * 1000)
            connection = await waiting_connection(house)
            await until(lambda: 121 < left_s(connection) <= 130)
            await dialogue.close()

    run(main())


def test_who_never_logs_in_has_to_go(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_house(tmp_path, timeouts=SLOW) as house:
            dialogue = await house.connect()
            await dialogue.line()
            connection = await waiting_connection(house)
            connection._opened_at -= 190
            await dialogue.play("C: NOOP\nS: 250 2.0.0 Ok")
            connection = await waiting_connection(house)
            assert left_s(connection) <= 10
            connection._opened_at -= 10
            await dialogue.play(f"C: NOOP\nS: 250 2.0.0 Ok\nS: {TIMEOUT}\nEND")
            await dialogue.close()

    run(main())


@BOTH_LOOPS
def test_a_client_that_does_not_read_is_not_worked_for(tmp_path: Path, loop: str) -> None:
    """While our replies cannot leave, its commands wait; and its time runs."""
    keeper = FakeGatekeeper()

    async def main() -> None:
        async with open_house(tmp_path, keeper, timeouts=SLOW) as house:
            dialogue = await logged_in(house)
            connection = await waiting_connection(house)
            connection.pause_writing()  # what the transport says when its buffers are full
            await dialogue.send(b"NOOP\r\n")
            await until(lambda: not connection.inbox.is_waiting)
            connection.resume_writing()
            assert await dialogue.line() == "250 2.0.0 Ok"
            connection.pause_writing()
            await dialogue.send(b"MAIL FROM:<alice@acme.example>\r\n")
            await until(lambda: not connection.inbox.is_waiting)
            assert left_s(connection) > 200
            connection.deadline.limit(0)
            await until(lambda: house.servers.connections == 0)
            await dialogue.close()

    run(main(), loop)
    assert "sender" not in keeper.stages


def test_an_old_session_ends_between_messages(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_house(tmp_path, timeouts=Timeouts(session_s=0, close_s=0.1)) as house:
            await house.play(
                "S: 220 relay.test ESMTP\nS: 421 4.3.2 Session has lasted long enough, please connect again\nEND"
            )

    run(main())


def test_a_crowded_house_is_impatient(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_house(tmp_path, max_connections=2) as house:
            first = await house.connect()
            await first.line()
            connection = await waiting_connection(house)
            assert left_s(connection) > 200
            second = await house.connect()
            await second.line()
            await first.play("C: NOOP\nS: 250 2.0.0 Ok")
            await until(lambda: left_s(connection) <= 10)
            await first.close()
            await second.close()

    run(main())


# ---- trouble inside


@pytest.mark.parametrize(
    ("broken", "script", "code"),
    [
        ("check_sender", "C: MAIL FROM:<alice@acme.example>\n", "451 4.3.0"),
        (
            "check_recipient",
            "C: MAIL FROM:<alice@acme.example>\nS: 250 2.1.0 Ok\nC: RCPT TO:<b@globex.example>\n",
            "451 4.3.0",
        ),
        ("receive", DATA + "C! x\\r\\n.\\r\\n\n", "451 4.3.0"),
    ],
)
def test_a_breakdown_is_temporary_and_says_nothing_of_itself(
    tmp_path: Path, broken: str, script: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = FakeGatekeeper()
    keeper.broken = {broken}

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            dialogue = await logged_in(house)
            await dialogue.play(script)
            answer = await dialogue.line()
            assert answer.startswith(f"{code} Temporary failure, please try again later (error ")
            assert "internal detail" not in answer
            error_id = answer.removesuffix(")").split()[-1]
            assert error_id in caplog.text
            assert "internal detail of " + broken in caplog.text
            await dialogue.play(QUIT)
            await dialogue.close()

    run(main())
    assert not keeper.envelopes


def test_a_breakdown_at_login_is_454(tmp_path: Path) -> None:
    keeper = FakeGatekeeper()
    keeper.broken = {"authenticate"}

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            await house.play(
                "S: 220 relay.test ESMTP\nC: EHLO x\nS> ehlo\n" + f"C: AUTH PLAIN {PLAIN}\n" * 1
                + "S: 454 4.7.0 Temporary authentication failure\n" + QUIT,
                implicit_tls=True,
            )  # fmt: skip
            assert house.servers.reception.guard.wait_s("127.0.0.1", "acme-web", 0) == 0

    run(main())


def test_a_breakdown_of_the_book_keeping_does_not_stop_mail(tmp_path: Path) -> None:
    keeper = FakeGatekeeper()
    keeper.broken = {"transaction_ended", "record_refusal", "observe"}

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            script = (
                f"{LOGGED_IN}C: MAIL FROM:<x>\nS: 501 5.1.7 Bad sender address: address has no domain\n{DATA}"
            )
            await house.play(
                f"{script}C! x\\r\\n.\\r\\n\nS: 250 2.0.0 Ok: queued as m1\n{QUIT}", implicit_tls=True
            )

    run(main())
    assert len(keeper.envelopes) == 1


def test_a_house_without_a_policy_says_421(tmp_path: Path) -> None:
    keeper = FakeGatekeeper()
    keeper.broken = {"snapshot"}

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            await house.play("S: 421 4.3.0 Temporary failure, try again later\nEND")

    run(main())


def test_a_check_that_does_not_answer_is_temporary(tmp_path: Path) -> None:
    keeper = FakeGatekeeper()

    async def never(_envelope: Envelope) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    keeper.on_receive = never

    async def main() -> None:
        async with open_house(tmp_path, keeper, timeouts=Timeouts(receive_s=0.05, close_s=0.1)) as house:
            dialogue = await logged_in(house)
            await dialogue.play(DATA)
            await dialogue.send(b"x\r\n.\r\n")
            assert (await dialogue.line()).startswith("451 4.3.0 Temporary failure")
            await dialogue.close()

    run(main())
    assert keeper.ended == [False]


def test_refusals_of_the_gatekeeper_are_told_word_for_word(tmp_path: Path) -> None:
    keeper = FakeGatekeeper()
    keeper.sender_refused = {
        "a@nowhere.example": Refused(Reply(550, "", "Sender Domain must resolve"), "sender_domain"),
        "fast@acme.example": Refused(Reply(451, "", "Ratelimit reached"), "rate_limit"),
    }
    keeper.recipient_refused = {
        "x@bank.example": Refused(Reply(550, "5.7.10", "Encryption\r\n250 needed \N{SNOWMAN}"), "tls")
    }

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            await house.play(
                LOGGED_IN
                + """
                C: MAIL FROM:<a@nowhere.example>
                S: 550 Sender Domain must resolve
                C: MAIL FROM:<fast@acme.example>
                S: 451 Ratelimit reached
                C: MAIL FROM:<alice@acme.example>
                S: 250 2.1.0 Ok
                C: RCPT TO:<x@bank.example>
                S: 550 5.7.10 Encryption??250 needed ?
                """,
                implicit_tls=True,
            )

    run(main())
    assert [refusal[:2] for refusal in keeper.refusals] == [
        ("mail", "sender_domain"),
        ("mail", "rate_limit"),
        ("rcpt", "tls"),
    ]
    assert keeper.ended == [False]  # once, for the MAIL that was let through


# ---- the client goes away


@BOTH_LOOPS
@pytest.mark.parametrize("implicit_tls", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("way", ["close", "reset"])
def test_hanging_up_after_the_dot_does_not_cancel_the_commit(
    tmp_path: Path, loop: str, implicit_tls: bool, way: str
) -> None:
    """And the client, which has read no 250 and sends the message again, does not double it."""
    keeper = FakeGatekeeper()
    keeper.policy = type(keeper.policy)(networks=((ip_network("127.0.0.0/8"), 1),))
    begun, go_on, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(envelope: Envelope) -> Reply:
        begun.set()
        await go_on.wait()
        reply = keeper.take(envelope)
        finished.set()
        return reply

    keeper.on_receive = slow

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            dialogue = await house.connect(implicit_tls=implicit_tls)
            await dialogue.play("S: 220 relay.test ESMTP\nC: EHLO x\nS> ehlo\n" + DATA)
            await dialogue.send(b"once\r\n.\r\n")
            await asyncio.wait_for(begun.wait(), 5)
            await leave(dialogue, way)
            go_on.set()
            await asyncio.wait_for(finished.wait(), 5)
            await until(lambda: house.servers.connections == 0)
            assert len(keeper.envelopes) == 1
            again = f"S: 220 relay.test ESMTP\nC: EHLO x\nS> ehlo\n{DATA}C! once\\r\\n.\\r\\n\n"
            await house.play(f"{again}S: 250 2.0.0 Ok: queued as m1\n{QUIT}", implicit_tls=implicit_tls)
            await house.play(f"{again}S: 250 2.0.0 Ok: queued as m2\n{QUIT}", implicit_tls=implicit_tls)

    run(main(), loop)
    assert keeper.ended == [True, False, True]


async def leave(dialogue: Dialogue, way: str) -> None:
    sock = dialogue.writer.get_extra_info("socket")
    if way == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        dialogue.writer.transport.abort()
    else:
        dialogue.writer.close()
    for _ in range(20):  # let both ends notice
        await asyncio.sleep(0.005)


def test_a_message_whose_client_is_gone_before_we_begin_is_left_to_it(tmp_path: Path) -> None:
    """No 250 was given and none can be: the client keeps the message, so taking it would double it."""
    keeper = FakeGatekeeper()

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            dialogue = await logged_in(house)
            await dialogue.play(DATA)
            connection = await waiting_connection(house)
            connection.data_received(b"x\r\n.\r\n")
            connection.connection_lost(None)  # in the same turn of the loop
            await until(lambda: house.servers.connections == 0)
            await dialogue.close()

    run(main())
    assert keeper.envelopes == []
    assert keeper.ended == [False]


@BOTH_LOOPS
def test_a_half_closed_client_gets_its_answers(tmp_path: Path, loop: str) -> None:
    """`printf ... | nc`: it has said all it wants and still listens."""
    keeper = FakeGatekeeper()
    keeper.policy = type(keeper.policy)(networks=((ip_network("127.0.0.0/8"), 1),))

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:

            async def after_the_end(envelope: Envelope) -> Reply:
                (connection,) = house.servers._house.connections
                await until(lambda: connection.inbox.at_eof)
                return keeper.take(envelope)

            keeper.on_receive = after_the_end
            dialogue = await house.connect()
            await dialogue.send(
                b"EHLO x\r\nMAIL FROM:<a@acme.example>\r\nRCPT TO:<b@globex.example>\r\nDATA\r\nhi\r\n.\r\n"
            )
            dialogue.writer.write_eof()
            answer = (await dialogue.rest()).decode()
            assert answer.endswith("250 2.0.0 Ok: queued as m1\r\n")
            await dialogue.close()

    run(main(), loop)


@BOTH_LOOPS
@pytest.mark.parametrize(
    "script", ["", "C: MAIL FROM:<a@acme.example>\nS: 250 2.1.0 Ok\n", DATA + "C! half\n"]
)
def test_going_away_at_any_time_leaves_nothing_behind(tmp_path: Path, loop: str, script: str) -> None:
    keeper = FakeGatekeeper()

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            dialogue = await logged_in(house)
            await dialogue.play(script)
            dialogue.writer.transport.abort()
            await until(lambda: house.servers.connections == 0)
            assert not house.servers._house.count._by_client
            assert house.servers._house.count.total == 0

    run(main(), loop)
    assert keeper.ended == ([False] if script else [])
    assert not keeper.envelopes


async def until(condition: object) -> None:
    """Wait for something the event loop has to do first."""
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


# ---- the orderly end


@BOTH_LOOPS
def test_an_orderly_stop(tmp_path: Path, loop: str) -> None:
    keeper = FakeGatekeeper()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(envelope: Envelope) -> Reply:
        begun.set()
        await go_on.wait()
        return keeper.take(envelope)

    keeper.on_receive = slow

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            idle, busy, between = await house.connect(), await logged_in(house), await logged_in(house)
            await idle.line()
            await busy.play(DATA)
            await between.play(ENVELOPE)
            await busy.send(b"x\r\n.\r\n")
            await begun.wait()
            stopping = asyncio.create_task(house.servers.drain(5))
            await idle.play("S: 421 4.3.2 Service shutting down, try again later\nEND")
            with pytest.raises(OSError):
                await house.connect()
            go_on.set()
            await busy.play(
                "S: 250 2.0.0 Ok: queued as m1\nS: 421 4.3.2 Service shutting down, try again later\nEND"
            )
            await between.play(
                "C: RSET\nS: 250 2.0.0 Ok\nS: 421 4.3.2 Service shutting down, try again later\nEND"
            )
            assert await stopping == 0
            for dialogue in (idle, busy, between):
                await dialogue.close()

    run(main(), loop)


def test_a_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_house(tmp_path) as house:
            dialogue = await logged_in(house)
            await dialogue.play(ENVELOPE)
            assert await house.servers.drain(0.05) == 1
            assert await dialogue.rest() == b""
            await dialogue.close()

    run(main())
