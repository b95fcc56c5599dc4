"""One client's connection: lines in, replies out, deadlines, TLS, and an end in every case.

This is aiosmtpd's SMTP class with the wire replaced. What stays of it is the protocol class, the table of `smtp_*`
commands and the PROXY parser; its reading (memory without bound), its error replies (500 with internals), its task that
is cancelled when a client hangs up, and its commands are all overridden. One private name is used: `_smtp_methods`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

from aiosmtpd.smtp import SMTP

from gateway.accept import Acceptor, Reception
from gateway.rules.limits import ConnectionCount
from gateway.rules.types import Reply, TlsInfo
from gateway.smtp.deadline import Deadline
from gateway.smtp.handshake import tls_info, upgrade
from gateway.smtp.inbox import EndOfStream, Inbox, LineTooLong
from gateway.smtp.lines import MAX_AUTH_BYTES, parse_command, reply_line
from gateway.smtp.proxy import ProxyHeaderError, is_proxy, plain_ip, read_client

log = logging.getLogger(__name__)

MAX_BAD_COMMANDS = 20  # without a message in between; so many refused commands, too, before a log-in
MAX_REFUSED_COMMANDS = 200  # after a log-in; at least as many as there may be recipients
NEWCOMER_S = 2.0  # how long a client that came before a shutdown has to begin a message
MAX_IDLE_COMMANDS = 100  # NOOP, RSET and the like, without a message in between
IDLE_COMMANDS = frozenset("NOOP RSET VRFY EXPN HELP HELO EHLO".split())
# Other protocols that a browser can be made to speak to us (ALPACA), and PROXY from where it is not believed
FOREIGN_COMMANDS = frozenset(
    "GET POST PUT HEAD DELETE OPTIONS CONNECT PATCH TRACE PROXY HOST: USER-AGENT:".split()
)


@dataclass(slots=True)
class House:
    """What the connections of one process share."""

    reception: Reception
    tls_context: ssl.SSLContext
    count: ConnectionCount
    max_held_bytes: int = 512 * 1024 * 1024  # in unfinished bodies of all connections together
    connections: set[Connection] = field(default_factory=set)
    closing: bool = False
    accepted_total: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})  # by implicit TLS
    refused_total: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})

    def is_full(self) -> bool:
        """Whether bodies take so much memory that the ones still growing must be given up."""
        return sum(connection.held_bytes for connection in self.connections) > self.max_held_bytes


class _NoHandler:
    """aiosmtpd wants a handler object and looks through all of its names; ours has none."""

    def __dir__(self) -> list[str]:
        return []


_NO_HANDLER = _NoHandler()


class Connection(SMTP):
    """The wire of one session. Subclasses add the commands (`smtp_*`), each of which says at least one reply."""

    _command_names: ClassVar[list[str]] = []

    def __init__(self, house: House, *, implicit_tls: bool, loop: asyncio.AbstractEventLoop) -> None:
        self.house = house
        self.config = house.reception.config
        self.timeouts = house.reception.timeouts
        super().__init__(_NO_HANDLER, hostname=self.config.hostname, enable_SMTPUTF8=True, loop=loop)
        self.inbox = Inbox(loop, before_wait=self.flush)
        self.deadline = Deadline(loop, self._on_timeout)
        self.closing = False
        self._acceptor: Acceptor | None = None
        self._wire: asyncio.Transport | None = None
        self._tls: TlsInfo | None = None
        self.implicit_tls = implicit_tls
        self._is_mute = implicit_tls  # before and in a handshake nothing can be said
        self._replies: list[bytes] = []
        self._writable: asyncio.Future[None] | None = None
        self._abort_timer: asyncio.TimerHandle | None = None
        self.conversation: asyncio.Task[None] | None = None
        self._client_ip = ""
        self._counted_ip = ""
        self._opened_at = loop.time()
        self._bad_commands = 0
        self._refused_commands = 0
        self._idle_commands = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._command_names = [name for name in dir(cls) if name.startswith("smtp_")]

    def __dir__(self) -> list[str]:
        """Only the commands: aiosmtpd walks all names of each new object to find them, which takes 0.1 ms."""
        return self._command_names

    @property
    def acceptor(self) -> Acceptor:
        """The session's commands; there are none before the greeting."""
        if self._acceptor is None:
            raise RuntimeError("a command came before the session was opened")
        return self._acceptor

    @property
    def held_bytes(self) -> int:
        """Memory that an unfinished body takes."""
        return 0

    @property
    def is_lost(self) -> bool:
        """Nobody reads what we say."""
        return self._wire is None

    @property
    def is_gone(self) -> bool:
        """The client has closed, at least its sending half: it will not acknowledge anything."""
        return self.is_lost or self.inbox.at_eof

    # ---- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)
        self.inbox.attach(self._wire)
        if not self.house.count.enter():
            self._turn_away("Too many connections, try again later")
            return
        self.house.connections.add(self)
        self.conversation = self.loop.create_task(self._converse())

    def data_received(self, data: bytes) -> None:
        self.inbox.feed(data)

    def eof_received(self) -> bool | None:
        """The client will send no more; it may still read, so what it began is finished and answered."""
        self.inbox.feed_eof()
        return self._tls is None

    def connection_lost(self, error: Exception | None) -> None:
        """The conversation is not cancelled: a commit must run to its end."""
        self._wire = None
        self.inbox.attach(None)
        self.inbox.feed_eof()
        self.resume_writing()
        self.deadline.cancel_timer()
        if self._abort_timer:
            self._abort_timer.cancel()

    def pause_writing(self) -> None:
        self._writable = self._writable or self.loop.create_future()

    def resume_writing(self) -> None:
        if self._writable and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # ---- the conversation

    async def _converse(self) -> None:
        try:
            await self._open()
            while not self.closing:
                await self._one_command()
        except ConnectionError:
            log.debug("connection from %s ended by the client", self._client_ip)
        except Exception:
            log.exception("connection from %s: unexpected error outside of a command", self._client_ip)
            self.hang_up(Reply(421, "4.3.0", "Temporary failure, try again later"))
        finally:
            self._end()

    async def _open(self) -> None:
        """From the connection to the greeting."""
        client_ip, port = await self._identify()
        if not self._count_client(client_ip):
            self._turn_away("Too many connections from your address, try again later")
            return
        self.house.accepted_total[self.implicit_tls] += 1
        self._acceptor = Acceptor(self.house.reception, self.house.reception.open_session(client_ip, port))
        if self.implicit_tls:
            await self.start_tls(from_the_start=True)
        self.acceptor.observe("connected")
        self.say(Reply(220, "", f"{self.config.hostname} ESMTP"))
        self._leave_if_due()

    async def _identify(self) -> tuple[str, int]:
        """The client's address and port, from the socket or from a proxy that is believed."""
        peer = self._wire.get_extra_info("peername") if self._wire else None
        if not peer:
            raise EndOfStream
        self._client_ip, port = plain_ip(peer[0]), int(peer[1])
        if not is_proxy(self._client_ip, self.config.proxy_protocol_from):
            return self._client_ip, port
        self.deadline.limit(self.timeouts.proxy_header_s)
        try:
            return await read_client(self.inbox) or (self._client_ip, port)
        except ProxyHeaderError as error:
            log.warning("proxy %s: %s", self._client_ip, error)
            raise EndOfStream from error

    def _count_client(self, ip: str) -> bool:
        self._client_ip = ip
        if not self.house.count.enter_client(ip):
            return False
        self._counted_ip = ip
        return True

    def _turn_away(self, text: str) -> None:
        self.house.refused_total[self.implicit_tls] += 1
        self.hang_up(Reply(421, "4.7.0", text))

    async def _one_command(self) -> None:
        self.deadline.limit(self.command_timeout_s())
        try:
            line = await self.inbox.line(MAX_AUTH_BYTES)
        except LineTooLong:
            self.bad_command(Reply(500, "5.5.2", "Command line too long"))
            return
        if self._writable:  # the client does not read our replies; its time goes on
            await self._writable
        if self.closing or self.is_lost:
            raise EndOfStream
        self.deadline.suspend()
        await self._obey(line)
        self._leave_if_due()

    async def _obey(self, line: bytes) -> None:
        verb, argument, fault = parse_command(line)
        method = self._smtp_methods.get(verb)
        if verb in FOREIGN_COMMANDS:
            self.hang_up(Reply(421, "4.7.0", "This is a mail server, closing connection"))
        elif fault or method is None:
            self.bad_command(fault or Reply(500, "5.5.1", "Command not recognized"))
        elif verb in IDLE_COMMANDS and self._too_many_idle():
            self.hang_up(Reply(421, "4.7.0", "Too many commands without a message, closing connection"))
        else:
            await self._run(method, argument)

    async def _run(self, method: Callable[[str], Awaitable[None]], argument: str) -> None:
        try:
            await method(argument)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of the protocol: unknown is temporary
            self.say(self.acceptor.trouble(error).reply)

    def _too_many_idle(self) -> bool:
        self._idle_commands += 1
        return self._idle_commands > MAX_IDLE_COMMANDS

    def bad_command(self, reply: Reply) -> None:
        self._bad_commands += 1
        if self._bad_commands >= MAX_BAD_COMMANDS:
            self.hang_up(Reply(421, "4.7.0", "Too many bad commands, closing connection"))
        else:
            self.say(reply)

    def message_taken(self) -> None:
        """A message was accepted: the client has earned new patience."""
        self._bad_commands = self._refused_commands = self._idle_commands = 0

    # ---- replies

    def say(self, reply: Reply) -> None:
        """Queue a reply. It leaves when we next have to wait for the client, so that a pipelined group is answered in
        one segment. 421 ends the connection, and so do too many refusals."""
        if reply.code == 421:
            self.hang_up(reply)
        elif reply.code >= 400 and self._too_many_refused():
            self.hang_up(Reply(421, "4.7.0", "Too many refused commands, closing connection"))
        else:
            self._replies.append(reply_line(reply))

    def _too_many_refused(self) -> bool:
        self._refused_commands += 1
        if self._acceptor is None or self._acceptor.session.login is None:
            return self._refused_commands > MAX_BAD_COMMANDS
        return self._refused_commands > max(MAX_REFUSED_COMMANDS, self.config.max_recipients)

    def say_lines(self, code: int, texts: list[str]) -> None:
        """A reply of several lines."""
        last = len(texts) - 1
        self._replies.extend(
            reply_line(Reply(code, "", text), more=number < last) for number, text in enumerate(texts)
        )

    async def push(self, status: str | bytes) -> None:
        """aiosmtpd's way of replying; nothing of ours uses it."""
        self._replies.append((status.encode() if isinstance(status, str) else status) + b"\r\n")

    def flush(self) -> None:
        if self._replies and self._wire is not None:
            self._wire.write(b"".join(self._replies))
        self._replies.clear()

    # ---- the end

    def hang_up(self, reply: Reply) -> None:
        """Say this last word and close."""
        if not self.closing and not self._is_mute:
            self._replies.append(reply_line(reply))
        self.close()

    def close(self) -> None:
        self.flush()
        self.deadline.cancel_timer()
        if self._wire is not None and not self.closing:
            self._wire.close()
            # Who does not read our last words, or does not answer close_notify, must not keep the socket.
            self._abort_timer = self.loop.call_later(self.timeouts.close_s, self.abort)
        self.closing = True

    def abort(self) -> None:
        if self._wire is not None:
            self._wire.abort()

    def wind_down(self) -> None:
        """The house is closing: leave now if nothing is under way, else after the current transaction. Who has just
        come may hand one message over, if it does not wait with it."""
        if self._is_new:
            self.loop.call_later(NEWCOMER_S, self._wind_down_now)
        else:
            self._wind_down_now()

    def _wind_down_now(self) -> None:
        if self._acceptor is None or (self.inbox.is_waiting and not self._acceptor.in_transaction):
            self.hang_up(_SHUTDOWN)

    @property
    def _is_new(self) -> bool:
        no_message = self._acceptor is None or not self._acceptor.session.messages
        return no_message and self._age_s() < NEWCOMER_S

    def _leave_if_due(self) -> None:
        if self.closing or self.acceptor.in_transaction:
            return
        if self.house.closing and not self._is_new:
            self.hang_up(_SHUTDOWN)
        elif self._age_s() > self.timeouts.session_s:
            self.hang_up(Reply(421, "4.3.2", "Session has lasted long enough, please connect again"))

    def _end(self) -> None:
        self.close()
        if self._acceptor:
            self._acceptor.reset()
        self.house.connections.discard(self)
        self.house.count.leave()
        if self._counted_ip:
            self.house.count.leave_client(self._counted_ip)

    # ---- time

    def _age_s(self) -> float:
        return self.loop.time() - self._opened_at

    def command_timeout_s(self) -> float:
        timeouts = self.timeouts
        seconds = timeouts.crowded_command_s if self.house.count.is_crowded else timeouts.command_s
        if self.acceptor.session.login is None:
            return min(seconds, timeouts.login_s - self._age_s())
        return seconds

    def _on_timeout(self) -> None:
        self.hang_up(Reply(421, "4.4.2", "Timeout, closing connection"))

    # ---- TLS

    async def start_tls(self, *, from_the_start: bool = False) -> None:
        """Turn the connection into TLS; raises EndOfStream when that fails. What came before STARTTLS's 220 is dropped
        (RFC 3207, 4.2; CVE-2011-0411); `from_the_start`: it is the beginning of the handshake."""
        if self._wire is None or self._wire.is_closing():
            raise EndOfStream
        self.deadline.limit(self.timeouts.handshake_s)
        self._is_mute = True
        if not from_the_start:
            self.inbox.drop()
        self.inbox.attach(None)  # the first decrypted command may be here before start_tls returns
        try:
            secured = await upgrade(self._wire, self, self.house.tls_context, early=self.inbox.drop)
        except OSError as error:  # SSLError, ConnectionError and TimeoutError are
            log.debug("TLS handshake with %s failed: %s", self._client_ip, error)
            raise EndOfStream from error
        self.deadline.suspend()
        if self.is_lost:
            raise EndOfStream
        self._wire, self._tls, self._is_mute = secured, tls_info(secured), False
        self.inbox.attach(secured)
        self.acceptor.tls_started(self._tls)


_SHUTDOWN = Reply(421, "4.3.2", "Service shutting down, try again later")
