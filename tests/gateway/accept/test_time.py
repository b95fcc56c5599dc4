"""Silence, slowness and age: every state of a session has its end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.accept import Timeouts
from gateway.smtp.server import RelayProtocol
from tests.gateway.accept.house import FakeGatekeeper, open_house, run
from tests.gateway.accept.scripts import (
    BOTH_LOOPS,
    DATA,
    ENVELOPE,
    LOGGED_IN,
    STARTTLS,
    logged_in,
    until,
    waiting_connection,
)

TIMEOUT = "421 4.4.2 Timeout, closing connection"
SLOW = Timeouts(
    command_s=300, login_s=200, handshake_s=30, proxy_header_s=5, data_grace_s=120, data_min_rate=1000
)


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
