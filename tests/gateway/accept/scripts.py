"""Pieces of dialogues that several tests begin with, and how they are played."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

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


async def waiting_connection(house: House) -> RelayProtocol:
    """The only connection, once it has read all that was sent and waits for its client."""
    await until(lambda: house.servers.connections == 1)
    (connection,) = house.servers._house.connections
    await until(lambda: connection.inbox.is_waiting)
    return connection  # type: ignore[return-value]


async def until(condition: object) -> None:
    """Wait for something the event loop has to do first."""
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)
