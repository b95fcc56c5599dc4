"""Received octets: lines and counted octets in any split, back-pressure, and nothing kept of what is endless."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.inbox import HIGH_WATER_BYTES, EndOfStream, Inbox, LineTooLong
from tests.gateway.accept.house import FakeGatekeeper, open_house, run
from tests.gateway.accept.scripts import LOGGED_IN


class FakeTransport:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


def with_inbox(test: Any) -> None:
    async def main() -> None:
        waits: list[int] = []
        inbox = Inbox(asyncio.get_running_loop(), before_wait=lambda: waits.append(len(inbox)))
        await test(inbox, waits)

    run(main())


async def later(inbox: Inbox, pieces: list[bytes]) -> None:
    """What the client sends, a piece each time the loop comes round."""
    for piece in pieces:
        await asyncio.sleep(0)
        inbox.feed(piece)
    await asyncio.sleep(0)
    inbox.feed_eof()


async def together(reading: Coroutine[Any, Any, Any], inbox: Inbox, pieces: list[bytes]) -> Any:
    found, _none = await asyncio.gather(reading, later(inbox, pieces))
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(marks)]


@given(
    lines=st.lists(st.binary(max_size=8).map(lambda text: text.replace(b"\n", b"") + b"\n"), max_size=8),
    places=st.lists(st.integers(0, 80), max_size=10),
)
def test_lines_in_any_split(lines: list[bytes], places: list[int]) -> None:
    async def read(inbox: Inbox) -> list[bytes]:
        found = []
        try:
            while True:
                found.append(await inbox.line(100))
        except EndOfStream:
            return found

    async def test(inbox: Inbox, _waits: list[int]) -> None:
        assert await together(read(inbox), inbox, cut(b"".join(lines), places)) == lines

    with_inbox(test)


@given(counts=st.lists(st.integers(1, 20), max_size=6), places=st.lists(st.integers(0, 90), max_size=10))
def test_never_more_than_was_asked_for(counts: list[int], places: list[int]) -> None:
    data = bytes(range(sum(counts))) + b"behind"

    async def read(inbox: Inbox) -> list[bytes]:
        found = []
        for count in counts:
            part = b""
            while len(part) < count:
                piece = await inbox.take_at_most(count - len(part))
                assert piece
                part += piece
            found.append(part)
        return found

    async def test(inbox: Inbox, _waits: list[int]) -> None:
        found = await together(read(inbox), inbox, cut(data, places))
        assert b"".join(found) == data[: sum(counts)]
        assert [len(part) for part in found] == counts
        assert inbox.drop() == b"behind"

    with_inbox(test)


def test_replies_leave_before_every_wait_and_only_then() -> None:
    async def test(inbox: Inbox, waits: list[int]) -> None:
        inbox.feed(b"one\ntwo\n")
        assert [await inbox.line(9), await inbox.line(9)] == [b"one\n", b"two\n"]
        assert waits == []
        assert await together(inbox.line(9), inbox, [b"thr", b"ee\n"]) == b"three\n"
        assert waits == [0, 3]

    with_inbox(test)


def test_a_line_too_long_is_skipped_and_the_next_is_read() -> None:
    async def test(inbox: Inbox, _waits: list[int]) -> None:
        inbox.feed(b"x" * 5)
        with pytest.raises(LineTooLong):
            await together(inbox.line(4), inbox, [b"x" * 50, b"x\nnext\n"])
        assert await inbox.line(10) == b"next\n"
        inbox.feed(b"12345\n")
        with pytest.raises(LineTooLong):
            await inbox.line(5)
        with pytest.raises(EndOfStream):
            await inbox.line(5)

    with_inbox(test)


def test_an_endless_line_ends_the_stream() -> None:
    async def test(inbox: Inbox, _waits: list[int]) -> None:
        with pytest.raises(EndOfStream):
            await together(inbox.line(100), inbox, [b"x" * 100_000] * 20)

    with_inbox(test)


def test_the_transport_is_paused_when_nobody_reads() -> None:
    async def test(inbox: Inbox, _waits: list[int]) -> None:
        transport = FakeTransport()
        inbox.attach(transport)  # type: ignore[arg-type]
        inbox.feed(b"x" * HIGH_WATER_BYTES)
        assert transport.calls == []
        inbox.feed(b"y")
        inbox.feed(b"y")
        assert transport.calls == ["pause"]
        await inbox.take_at_most(1)
        assert transport.calls == ["pause"]
        await inbox.take_at_most(1)
        assert transport.calls == ["pause", "resume"]
        inbox.give_back(b"zz")
        assert transport.calls == ["pause", "resume", "pause"]
        assert len(await inbox.take()) == HIGH_WATER_BYTES + 2
        assert transport.calls[-1] == "resume"

    with_inbox(test)


def test_what_comes_during_a_handshake_is_not_paused_by_the_wrong_transport() -> None:
    async def test(inbox: Inbox, _waits: list[int]) -> None:
        old, new = FakeTransport(), FakeTransport()
        inbox.attach(old)  # type: ignore[arg-type]
        inbox.attach(None)
        inbox.feed(b"x" * (HIGH_WATER_BYTES + 1))
        inbox.attach(new)  # type: ignore[arg-type]
        await inbox.take()
        assert (old.calls, new.calls) == ([], ["pause", "resume"])

    with_inbox(test)


# ---- the same through a real connection


MESSAGE = b"Subject: x\r\n\r\n.dot\r\n..\r\n" + b"line of text\r\n" * 40 + b"\r\n"
STUFFED = (b"\r\n" + MESSAGE).replace(b"\r\n.", b"\r\n..")[2:]
RCPT = b"MAIL FROM:<alice@acme.example>\r\nRCPT TO:<bob@globex.example>\r\n"
LAST = b"BDAT %d LAST\r\n" % (len(MESSAGE) - 100)
WIRE = {
    "DATA": RCPT + b"DATA\r\n" + STUFFED + b".\r\n",
    "BDAT": RCPT + b"BDAT 100\r\n" + MESSAGE[:100] + b"BDAT 0\r\n" + LAST + MESSAGE[100:],
}


@pytest.mark.parametrize("kind", ["DATA", "BDAT"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_pipelined_session_cut_anywhere(tmp_path: Path, kind: str, loop: str) -> None:
    """Three messages and QUIT, sent in pieces of any size: always the same three messages."""
    keeper = FakeGatekeeper()
    dice = random.Random(kind + loop)

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            for _ in range(15):
                keeper.envelopes.clear()
                dialogue = await house.connect(implicit_tls=True)
                await dialogue.play(LOGGED_IN)
                wire = WIRE[kind] * 3 + b"QUIT\r\n"
                places = [dice.randrange(len(wire)) for _ in range(dice.randrange(12))]
                for piece in cut(wire, places):
                    await dialogue.send(piece)
                    await asyncio.sleep(0.0005)
                answer = await dialogue.rest()
                assert answer.endswith(b"250 2.0.0 Ok: queued as m3\r\n221 2.0.0 Bye\r\n")
                assert [envelope.body for envelope in keeper.envelopes] == [MESSAGE] * 3
                await dialogue.close()

    run(main(), loop)
