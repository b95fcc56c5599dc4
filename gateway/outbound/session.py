"""From an address to a connection that is ready for MAIL: connect, greeting, EHLO, STARTTLS, EHLO, AUTH.

Every failure is a HopFailed. Clear text after a failed STARTTLS or handshake is the caller's decision (deliver): here
a demand is met or TlsFailed is raised.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from gateway.outbound.commands import Features, parse_ehlo
from gateway.outbound.connection import Connection
from gateway.outbound.errors import HopFailed, TlsFailed
from gateway.outbound.reading import WireReply
from gateway.rules.policy import GatewayPolicy
from gateway.rules.route_types import Hop, TlsDemand, TlsObservation
from gateway.rules.types import Reply, Stage, TlsInfo, TlsLevel
from gateway.tls.contexts import TlsContexts
from gateway.tls.verify import CertificateRejected, check_peer


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds for each stage (RFC 5321 section 4.5.3.2; connect, TLS and EHLO are shorter, as in Postfix)."""

    connect: float = 30
    banner: float = 120
    ehlo: float = 120
    tls: float = 60
    auth: float = 60
    mail: float = 300
    rcpt: float = 300
    data: float = 120
    block: float = 180  # without progress while the message is being sent
    dot: float = 600
    transaction: float = 3600  # MAIL to the last reply: a host that drips keeps within every other limit


@dataclass(slots=True)
class Session:
    """A connection ready for MAIL."""

    connection: Connection
    host: str
    ip: str
    features: Features
    tls: TlsInfo | None = None
    transactions: int = 0
    idle_since: float = 0.0
    needs_reset: bool = False  # a transaction was begun and not finished: RSET before the next
    shadow: TlsObservation | None = None  # what a rule in shadow mode made of this connection
    over: bool = False  # a 421 was said, or the dialogue is out of step: never again

    @property
    def reusable(self) -> bool:
        return not self.over and self.connection.reusable

    def end(self) -> None:
        """Say QUIT without waiting for an answer."""
        if self.reusable:
            self.connection.write(b"QUIT\r\n")
            self.connection.close()
        else:
            self.connection.abort()


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens sessions. `clock` gives aware UTC time (for certificates)."""

    contexts: TlsContexts
    clock: Callable[[], datetime]
    deadlines: Deadlines = field(default_factory=Deadlines)

    async def open(self, gateway: GatewayPolicy, hop: Hop, ip: str, demand: TlsDemand) -> Session:
        """A session under `demand` (the hop's own, or what is tried instead); raises HopFailed."""
        connection = await self._connect(gateway, ip, hop.port)
        try:
            return await self._greet(connection, gateway, hop, ip, demand)
        except BaseException:
            connection.abort()
            raise

    async def _connect(self, gateway: GatewayPolicy, ip: str, port: int) -> Connection:
        loop = asyncio.get_running_loop()
        source = source_address(gateway, ip)
        try:
            async with asyncio.timeout(self.deadlines.connect):
                _, connection = await loop.create_connection(
                    Connection, ip, port, local_addr=(source, 0) if source else None
                )
        except TimeoutError as error:
            raise HopFailed(
                Reply(421, "4.4.1", f"Connecting to {ip} timed out"), Stage.CONNECT, "unreachable"
            ) from error
        except OSError as error:
            raise _connect_failure(error, source, ip) from error
        return connection

    async def _greet(
        self, connection: Connection, gateway: GatewayPolicy, hop: Hop, ip: str, demand: TlsDemand
    ) -> Session:
        banner = await connection.reply(Stage.BANNER, self.deadlines.banner)
        _expect(banner, Stage.BANNER)
        features = await self._ehlo(connection, gateway.hostname, demand)
        session = Session(connection, hop.host, ip, features)
        if await self._secure(session, hop, demand):
            session.features = await self._ehlo(connection, gateway.hostname, demand)
        if demand.require_tls and "REQUIRETLS" not in session.features:
            raise _no_requiretls(hop.host)
        if gateway.next_hop and gateway.next_hop_username:
            await self._log_in(session, gateway, demand)
        return session

    async def _ehlo(self, connection: Connection, hostname: str, demand: TlsDemand) -> Features:
        connection.write(f"EHLO {hostname}\r\n".encode())
        answer = await connection.reply(Stage.EHLO, self.deadlines.ehlo)
        if answer.code in (500, 501, 502, 504) and not demand.forced:  # RFC 5321 section 3.2: an old server
            connection.write(f"HELO {hostname}\r\n".encode())
            _expect(await connection.reply(Stage.EHLO, self.deadlines.ehlo), Stage.EHLO)
            return Features({})
        _expect(answer, Stage.EHLO)
        return parse_ehlo(answer.texts())

    # -- TLS

    async def _secure(self, session: Session, hop: Hop, demand: TlsDemand) -> bool:
        """True when the connection is encrypted now; raises TlsFailed when the demand cannot be met."""
        if demand.level is TlsLevel.NONE:
            return False
        refused = await self._ask_for_tls(session)
        if refused is not None:
            if demand.forced:
                raise refused
            return False
        await self._handshake(session, hop, demand)
        return True

    async def _ask_for_tls(self, session: Session) -> TlsFailed | None:
        if "STARTTLS" not in session.features:
            text = f"{session.host} does not offer STARTTLS"
            return TlsFailed(Reply(451, "4.7.4", text), Stage.STARTTLS, "starttls-not-supported")
        session.connection.write(b"STARTTLS\r\n")
        try:
            answer = await session.connection.reply(Stage.STARTTLS, self.deadlines.tls)
        except HopFailed as failure:
            raise TlsFailed(failure.reply, Stage.STARTTLS, "validation-failure", lasting=False) from failure
        if answer.code != 220:
            lasting = answer.code >= 500
            return TlsFailed(answer.parsed(), Stage.STARTTLS, "starttls-not-supported", lasting=lasting)
        if not session.connection.reusable:
            # Octets behind the 220 came in clear: somebody wants them taken for the protected dialogue.
            text = f"{session.host} sent data in clear after its answer to STARTTLS"
            raise TlsFailed(Reply(451, "4.7.5", text), Stage.STARTTLS, "validation-failure")
        return None

    async def _handshake(self, session: Session, hop: Hop, demand: TlsDemand) -> None:
        try:
            await session.connection.start_tls(self._context(demand), hop.host, self.deadlines.tls)
            session.tls = check_peer(demand, hop.host, session.connection.ssl_object, self.clock())
        except ssl.SSLCertVerificationError as error:
            raise _untrusted(error, hop.host) from error
        except CertificateRejected as error:
            text = f"TLS with {hop.host}: {error}"
            raise TlsFailed(Reply(451, "4.7.5", text), Stage.TLS, error.result) from error
        except (
            ssl.SSLError,
            ValueError,
        ) as error:  # ValueError: a host name that cannot be put into the handshake
            text = f"TLS handshake with {hop.host} failed: {_reason(error)}"
            raise TlsFailed(Reply(451, "4.7.5", text), Stage.TLS, "validation-failure") from error
        except (OSError, TimeoutError) as error:
            text = f"TLS handshake with {hop.host} was not finished"
            raise TlsFailed(
                Reply(421, "4.7.5", text), Stage.TLS, "validation-failure", lasting=False
            ) from error

    def _context(self, demand: TlsDemand) -> ssl.SSLContext:
        if demand.level is TlsLevel.OPPORTUNISTIC:
            return self.contexts.opportunistic()
        if demand.level is TlsLevel.VERIFY and not demand.fingerprint:
            return self.contexts.verifying(demand.min_version)
        return self.contexts.encrypting(demand.min_version)

    # -- AUTH

    async def _log_in(self, session: Session, gateway: GatewayPolicy, demand: TlsDemand) -> None:
        """RFC 4954, at a smart host. The password goes over an encrypted connection, or to this machine, or where the
        operator wants clear text."""
        if session.tls is None and demand.level is not TlsLevel.NONE and not _is_loopback(session.ip):
            text = f"{session.host} offers no encryption: our password is not sent in clear"
            raise HopFailed(Reply(454, "4.7.0", text), Stage.AUTH, "login")
        mechanisms = session.features.auth_mechanisms
        if "PLAIN" in mechanisms:
            answer = await self._auth_plain(session, gateway)
        elif "LOGIN" in mechanisms:
            answer = await self._auth_login(session, gateway)
        else:
            text = f"{session.host} offers no login that we know (PLAIN, LOGIN)"
            raise HopFailed(Reply(454, "4.7.0", text), Stage.AUTH, "login")
        if answer.code != 235:
            raise HopFailed(answer.parsed(), Stage.AUTH, "login")

    async def _auth_plain(self, session: Session, gateway: GatewayPolicy) -> WireReply:
        secret = f"\0{gateway.next_hop_username}\0{gateway.next_hop_password}".encode()
        return await self._say(session, b"AUTH PLAIN " + base64.b64encode(secret))

    async def _auth_login(self, session: Session, gateway: GatewayPolicy) -> WireReply:
        answer = await self._say(session, b"AUTH LOGIN")
        for secret in (gateway.next_hop_username, gateway.next_hop_password):
            if answer.code != 334:
                break
            answer = await self._say(session, base64.b64encode(secret.encode()))
        return answer

    async def _say(self, session: Session, line: bytes) -> WireReply:
        session.connection.write(line + b"\r\n")
        return await session.connection.reply(Stage.AUTH, self.deadlines.auth)


def source_address(gateway: GatewayPolicy, ip: str) -> str:
    """The gateway's own address of the same family, '' = whichever the machine takes."""
    return gateway.source_ip6 if ":" in ip else gateway.source_ip


def can_reach(gateway: GatewayPolicy, ip: str) -> bool:
    """A gateway with an address of only one family does not speak the other: mail must leave by its address."""
    if not (gateway.source_ip or gateway.source_ip6):
        return True
    return bool(source_address(gateway, ip))


def _expect(answer: WireReply, stage: Stage) -> None:
    if not 200 <= answer.code < 300:
        raise HopFailed(answer.parsed(), stage)


def _connect_failure(error: OSError, source: str, ip: str) -> HopFailed:
    if error.errno == errno.EADDRNOTAVAIL and source:
        return HopFailed(
            Reply(451, "4.3.5", "The gateway's address is not on this machine"),
            Stage.CONNECT,
            "source_address",
        )
    text = {
        errno.ECONNREFUSED: "Connection refused",
        errno.ENETUNREACH: "Network unreachable",
        errno.EHOSTUNREACH: "Host unreachable",
        errno.ETIMEDOUT: "Connection timed out",
        errno.ECONNRESET: "Connection reset",
    }.get(error.errno or 0, "Connection failed")
    return HopFailed(Reply(421, "4.4.1", f"{text} by {ip}"), Stage.CONNECT, "unreachable")


_EXPIRED_CODES = {9, 10}  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


def _untrusted(error: ssl.SSLCertVerificationError, host: str) -> TlsFailed:
    result = "certificate-expired" if error.verify_code in _EXPIRED_CODES else "certificate-not-trusted"
    text = f"The certificate of {host} is not trusted: {error.verify_message}"
    return TlsFailed(Reply(451, "4.7.5", text), Stage.TLS, result)


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or ""
    return str(reason).replace("_", " ").lower() or "protocol error"


def _no_requiretls(host: str) -> TlsFailed:
    text = f"{host} does not offer REQUIRETLS"
    failure = TlsFailed(Reply(550, "5.7.30", text), Stage.EHLO, "validation-failure")
    failure.reason = "requiretls"
    return failure


def _is_loopback(ip: str) -> bool:
    return ipaddress.ip_address(ip).is_loopback
