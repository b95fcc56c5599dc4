"""A relay's receiving half with everything behind it faked, and clients that speak line by line.

`Dialogue` plays a script: client lines in, the exact server lines out. The scripts' words:

    S: 250 2.0.0 Ok      the server must say exactly this line
    S> ehlo              the server must say the whole EHLO answer (clear text or TLS, as it is)
    C: NOOP              the client sends this line with CRLF
    C! a\\r\\nb\\0         the client sends exactly these octets (escapes understood)
    TLS                  the client does the TLS handshake now
    END                  the server must have closed the connection
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from gateway.accept import Login, Session, Timeouts
from gateway.config import Config, Endpoint
from gateway.rules.ids import IdMaker, to_text
from gateway.rules.policy import Snapshot
from gateway.rules.types import Address, Envelope, EnvelopeRecipient, Refused, Reply
from gateway.smtp.server import Listener, Servers, serve

ALICE = Login(customer_id=1, credential_id=11, username="acme-web")
PATIENCE_S = 5.0

EHLO_CLEAR = [
    "250-relay.test",
    "250-PIPELINING",
    "250-SIZE 100000",
    "250-STARTTLS",
    "250-ENHANCEDSTATUSCODES",
    "250-8BITMIME",
    "250-DSN",
    "250-SMTPUTF8",
    "250 CHUNKING",
]
EHLO_TLS = [
    "250-relay.test",
    "250-PIPELINING",
    "250-SIZE 100000",
    "250-AUTH PLAIN LOGIN",
    "250-REQUIRETLS",
    "250-ENHANCEDSTATUSCODES",
    "250-8BITMIME",
    "250-DSN",
    "250-SMTPUTF8",
    "250 CHUNKING",
]


class FakeGatekeeper:
    """Lets ACME's one credential in, takes everything, and writes down what it was asked."""

    def __init__(self) -> None:
        self.policy = Snapshot()
        self.envelopes: list[Envelope] = []
        self.refusals: list[tuple[str, str, int, str, str]] = []
        self.stages: list[str] = []
        self.ended: list[bool] = []
        self.logins: list[tuple[str, str]] = []
        self.announced_bytes: list[int] = []
        self.sender_refused: dict[str, Refused] = {}
        self.recipient_refused: dict[str, Refused] = {}
        self.on_receive: Callable[[Envelope], Coroutine[Any, Any, Reply]] | None = None
        self.broken: set[str] = set()

    def snapshot(self) -> Snapshot:
        self._fail("snapshot")
        return self.policy

    async def authenticate(self, session: Session, username: str, secret: str) -> Login | Refused:
        self._fail("authenticate")
        self.logins.append((username, secret))
        if (username, secret) == ("acme-web", "s3cret"):
            return ALICE
        return Refused(
            Reply(535, "5.7.8", "Authentication credentials invalid"), "login", {"username": username}
        )

    async def check_sender(self, session: Session, sender: Address | None, size_bytes: int) -> Refused | None:
        self._fail("check_sender")
        self.announced_bytes.append(size_bytes)
        return self.sender_refused.get(str(sender))

    async def check_recipient(
        self, session: Session, sender: Address | None, recipient: EnvelopeRecipient
    ) -> Refused | None:
        self._fail("check_recipient")
        return self.recipient_refused.get(str(recipient.address))

    async def receive(self, session: Session, envelope: Envelope) -> Reply:
        self._fail("receive")
        if self.on_receive:
            return await self.on_receive(envelope)
        return self.take(envelope)

    def take(self, envelope: Envelope) -> Reply:
        self.envelopes.append(envelope)
        return Reply(250, "2.0.0", f"Ok: queued as m{len(self.envelopes)}")

    def transaction_ended(self, session: Session, accepted: bool) -> None:
        self._fail("transaction_ended")
        self.ended.append(accepted)

    def record_refusal(
        self, session: Session, stage: str, refused: Refused, sender: str, recipient: str
    ) -> None:
        self._fail("record_refusal")
        self.refusals.append((stage, refused.reason, refused.reply.code, sender, recipient))

    def observe(self, session: Session, stage: str) -> None:
        self._fail("observe")
        self.stages.append(stage)

    def _fail(self, method: str) -> None:
        if method in self.broken:
            raise RuntimeError(f"internal detail of {method}")


def make_config(var_dir: Path, **changes: Any) -> Config:
    """Small limits, so that tests can reach them."""
    config = Config.from_env({"SMG_VAR_DIR": str(var_dir), "SMG_HOSTNAME": "relay.test"}, var_dir)
    small = {
        "max_message_size_bytes": 100_000,
        "max_line_bytes": 2000,
        "max_recipients": 5,
        "relay_processes": 1,
    }
    return dataclasses.replace(config, **(small | changes))


class House:
    """A running server and its fakes."""

    def __init__(self, servers: Servers, gatekeeper: FakeGatekeeper) -> None:
        self.servers = servers
        self.gatekeeper = gatekeeper
        (_host, self.port), (_host, self.tls_port) = servers.addresses

    async def connect(self, *, implicit_tls: bool = False) -> Dialogue:
        port = self.tls_port if implicit_tls else self.port
        context = client_context() if implicit_tls else None
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        return Dialogue(reader, writer)

    async def play(self, script: str, *, implicit_tls: bool = False) -> None:
        """Play a script on a new connection; the transcript must be the script, word for word."""
        dialogue = await self.connect(implicit_tls=implicit_tls)
        try:
            await dialogue.play(script)
        finally:
            await dialogue.close()


@contextlib.asynccontextmanager
async def open_house(
    var_dir: Path,
    gatekeeper: FakeGatekeeper | None = None,
    timeouts: Timeouts | None = None,
    **changes: Any,
) -> AsyncIterator[House]:
    """Serve clear text and implicit TLS on free loopback ports; stop in the end, and leave no connection behind."""
    keeper = gatekeeper or FakeGatekeeper()
    free = Endpoint("127.0.0.1", 0)
    servers = await serve(
        make_config(var_dir, **changes),
        keeper,
        ids=IdMaker(1),
        listeners=[Listener(free), Listener(free, implicit_tls=True)],
        timeouts=timeouts or Timeouts(close_s=0.5),
    )
    try:
        yield House(servers, keeper)
    finally:
        await servers.drain(0.2)
    assert servers.connections == 0
    assert servers.reception.guard is not None


def run(main: Coroutine[Any, Any, None], loop: str = "asyncio") -> None:
    """Run on one of the two event loops."""
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Dialogue:
    """One client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.is_tls = writer.get_extra_info("ssl_object") is not None

    async def play(self, script: str) -> None:
        expected = [line.lstrip() for line in script.splitlines() if line.strip()]
        actual = [said for line in expected for said in await self._step(line)]
        assert "\n".join(actual) == "\n".join(line.rstrip() for line in self._written_out(expected))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def line(self) -> str:
        data = await asyncio.wait_for(self.reader.readline(), PATIENCE_S)
        return data.decode("latin-1").removesuffix("\r\n") if data else "(closed)"

    async def lines(self, count: int) -> list[str]:
        return [await self.line() for _ in range(count)]

    async def start_tls(self) -> None:
        await asyncio.wait_for(self.writer.start_tls(client_context()), PATIENCE_S)
        self.is_tls = True

    async def rest(self) -> bytes:
        """All until the server closes."""
        try:
            return await asyncio.wait_for(self.reader.read(), PATIENCE_S)
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(self.writer.wait_closed(), PATIENCE_S)

    async def _step(self, line: str) -> list[str]:
        word, _space, text = line.partition(" ")
        if word == "S:":
            return [f"S: {await self.line()}".rstrip()]
        if word == "S>":
            return [f"S: {said}" for said in await self.lines(len(self._ehlo()))]
        if word == "C:":
            await self.send(text.encode() + b"\r\n")
        elif word == "C!":
            await self.send(text.encode("latin-1").decode("unicode_escape").encode("latin-1"))
        elif word == "TLS":
            await self.start_tls()
        elif word == "END":
            return ["END" if not await self.rest() else "(more)"]
        else:
            raise ValueError(f"unknown word in script: {line}")
        return [line.rstrip()]

    def _ehlo(self) -> list[str]:
        return EHLO_TLS if self.is_tls else EHLO_CLEAR

    def _written_out(self, expected: list[str]) -> list[str]:
        written: list[str] = []
        tls = self.is_tls and "TLS" not in expected
        for line in expected:
            tls = tls or line == "TLS"
            ehlo = EHLO_TLS if tls else EHLO_CLEAR
            written += [f"S: {said}" for said in ehlo] if line.startswith("S>") else [line]
        return written


__all__ = ["ALICE", "Dialogue", "FakeGatekeeper", "House", "make_config", "open_house", "run", "to_text"]
