"""The scanner's connections: kept from one message to the next, and never in the way of a verdict."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from gateway.config import Endpoint, parse_endpoint
from gateway.scanners import clamd
from gateway.scanners.clamd import Scanner, ScannerDown
from tests.services import Daemon

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


class FakeClamd:
    """Speaks IDSESSION and answers each stream by what it contains; counts connections and keeps them."""

    def __init__(self) -> None:
        self.connections: list[asyncio.StreamWriter] = []
        self.port = 0
        self.answers: Callable[[int, bytes], bytes | None] = lambda number, _: b"%d: stream: OK\0" % number

    @property
    def endpoint(self) -> Endpoint:
        return parse_endpoint(f"127.0.0.1:{self.port}", 3310, "clamd")

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            assert await reader.readuntil(b"\0") == b"zIDSESSION\0"
            number = 0
            while True:
                number += 1
                assert await reader.readuntil(b"\0") == b"zINSTREAM\0"
                answer = self.answers(number, await self._stream(reader))
                if answer is not None:
                    writer.write(answer)
        writer.close()

    @staticmethod
    async def _stream(reader: asyncio.StreamReader) -> bytes:
        content = b""
        while length := struct.unpack("!I", await reader.readexactly(4))[0]:
            content += await reader.readexactly(length)
        return content

    def hang_up(self) -> None:
        for writer in self.connections:
            writer.close()


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeClamd]:
    made = FakeClamd()
    server = await made.start()
    yield made
    made.hang_up()
    server.close()


@pytest_asyncio.fixture
async def scan(fake: FakeClamd) -> AsyncIterator[Scanner]:
    made = Scanner([fake.endpoint], timeout_s=5)
    yield made
    made.close()


async def test_one_connection_serves_one_message_after_the_other(fake: FakeClamd, scan: Scanner) -> None:
    for _ in range(5):
        assert await scan(b"harmless") is None
    assert len(fake.connections) == 1


async def test_every_message_gets_its_own_answer(fake: FakeClamd, scan: Scanner) -> None:
    fake.answers = lambda number, content: b"%d: stream: %s FOUND\0" % (number, content)
    names = [f"virus-{number}" for number in range(30)]
    assert await asyncio.gather(*(scan(name.encode()) for name in names)) == names
    assert len(fake.connections) == clamd.MAX_SESSIONS  # the others waited for their turn


async def test_a_turn_is_given_back_by_whoever_loses_patience(fake: FakeClamd, scan: Scanner) -> None:
    fake.answers = lambda number, content: None if content == b"slow" else b"%d: stream: OK\0" % number
    slow = [asyncio.ensure_future(scan(b"slow")) for _ in range(clamd.MAX_SESSIONS)]
    waiting = asyncio.ensure_future(scan(b"harmless"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    slow[0].cancel()
    assert await waiting is None
    for one in slow:
        one.cancel()


async def test_big_messages_go_in_chunks_at_the_scanners_pace(fake: FakeClamd, scan: Scanner) -> None:
    fake.answers = lambda number, content: b"%d: stream: %d FOUND\0" % (number, len(content))
    assert await scan(b"x" * (5 * clamd.CHUNK_BYTES + 7)) == str(5 * clamd.CHUNK_BYTES + 7)


async def test_a_connection_closed_meanwhile_is_replaced(fake: FakeClamd, scan: Scanner) -> None:
    assert await scan(b"harmless") is None
    fake.hang_up()
    assert await scan(b"harmless") is None
    await asyncio.sleep(0.05)  # long enough for the close to be seen before the next question
    assert await scan(b"harmless") is None
    assert len(fake.connections) == 2


async def test_an_answer_that_is_not_ours_is_no_verdict(fake: FakeClamd, scan: Scanner) -> None:
    fake.answers = lambda number, _: b"%d: stream: OK\0" % (number + 1)
    with pytest.raises(ScannerDown):
        await scan(b"harmless")
    fake.answers = lambda number, _: b"%d: stream: OK\0" % number
    assert await scan(b"harmless") is None
    assert len(fake.connections) == 2


@pytest.mark.parametrize(
    "answer", [b"1: INSTREAM size limit exceeded. ERROR\0", b"x" * 5000, b"stream: OK\0"]
)
async def test_anything_else_is_no_verdict(fake: FakeClamd, scan: Scanner, answer: bytes) -> None:
    fake.answers = lambda *_: answer
    with pytest.raises(ScannerDown):
        await scan(b"harmless")


async def test_silence_is_no_verdict(fake: FakeClamd) -> None:
    fake.answers = lambda *_: None
    scan = Scanner([fake.endpoint], timeout_s=0.1)
    with pytest.raises(ScannerDown, match="TimeoutError"):
        await scan(b"harmless")


async def test_who_is_cancelled_takes_nobodys_answer_along(fake: FakeClamd, scan: Scanner) -> None:
    assert await scan(b"harmless") is None
    fake.answers = lambda number, content: None if content == b"slow" else b"%d: stream: OK\0" % number
    slow = asyncio.ensure_future(scan(b"slow"))
    await asyncio.sleep(0.05)
    slow.cancel()
    fake.answers = lambda number, content: b"%d: stream: %s FOUND\0" % (number, content)
    assert await asyncio.gather(*(scan(name) for name in (b"a", b"b"))) == ["a", "b"]


async def test_a_scanner_that_is_gone_is_no_verdict(fake: FakeClamd) -> None:
    with pytest.raises(ScannerDown):
        await Scanner([parse_endpoint("127.0.0.1:1", 3310, "clamd")])(b"harmless")


async def test_all_scanners_must_say_clean(fake: FakeClamd) -> None:
    other = FakeClamd()
    other.answers = lambda number, _: b"%d: stream: Other FOUND\0" % number
    server = await other.start()
    scan = Scanner([fake.endpoint, other.endpoint], timeout_s=5)
    assert await scan(b"harmless") == "Other"
    scan.close()
    other.hang_up()
    server.close()


@pytest.mark.slow
async def test_a_real_clamd_reloads_beside_kept_connections_and_stops(
    start_clamd: Callable[[], Daemon],
) -> None:
    daemon = start_clamd()
    endpoint = parse_endpoint(daemon.endpoint, 3310, "clamd")
    scan = Scanner([endpoint])
    await clamd.ping(endpoint)
    assert await scan(b"harmless") is None
    assert await scan(EICAR) == "Eicar-Test-Signature.UNOFFICIAL"
    await _reload_with(daemon, f"New-Signature:0:*:{b'harmless'.hex()}\n")
    assert await scan(b"harmless") == "New-Signature.UNOFFICIAL"
    daemon.stop()
    with pytest.raises(ScannerDown):
        await scan(b"harmless")


async def _reload_with(daemon: Daemon, signature: str) -> None:
    (daemon.directory / "db" / "new.ndb").write_text(signature)
    reader, writer = await asyncio.open_connection(daemon.host, daemon.port)
    writer.write(b"zRELOAD\0")
    assert await reader.read() == b"RELOADING\0"
    writer.close()
    async with asyncio.timeout(20):
        while "Database correctly reloaded" not in daemon.log:
            await asyncio.sleep(0.05)
