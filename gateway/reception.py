"""What the accept step works with: the session, its log-in, the limits in time, and the Gatekeeper, through which alone
it talks to the rest of the relay."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from gateway.config import Config
from gateway.rules.ids import IdMaker, to_text
from gateway.rules.limits import LoginGuard
from gateway.rules.policy import Snapshot
from gateway.rules.types import Address, Envelope, EnvelopeRecipient, Refused, Reply, TlsInfo
from gateway.rules.unacknowledged import Unacknowledged


@dataclass(frozen=True, slots=True)
class Login:
    """Whom a session sends for. `credential_id` is None for a registered source network."""

    customer_id: int
    credential_id: int | None
    username: str


@dataclass(slots=True)
class Session:
    """One connection, as far as the checks need to know it."""

    id: str
    client_ip: str
    client_port: int
    snapshot: Snapshot = field(repr=False)  # the policy at connect; kept to the end
    started_at: datetime
    helo: str = ""
    extended: bool = False  # EHLO, not HELO
    tls: TlsInfo | None = None
    login: Login | None = None
    messages: int = 0  # accepted so far
    notes: dict[str, Any] = field(
        default_factory=dict, repr=False
    )  # the gatekeeper's own, gone with the session


class Gatekeeper(Protocol):
    """The rest of the relay, as this step sees it. Async methods may take their time (there are deadlines); the others
    are called on the event loop and must be quick. Whatever they raise becomes 451 (454 at AUTH)."""

    def snapshot(self) -> Snapshot: ...

    async def authenticate(self, session: Session, username: str, secret: str) -> Login | Refused:
        """A permanent refusal counts as a failed log-in, a temporary one does not."""
        ...

    async def check_sender(self, session: Session, sender: Address | None, size_bytes: int) -> Refused | None:
        """At MAIL FROM. `size_bytes` is what the client announced, 0 if nothing."""
        ...

    async def check_recipient(
        self, session: Session, sender: Address | None, recipient: EnvelopeRecipient
    ) -> Refused | None:
        """At RCPT TO."""
        ...

    async def receive(self, session: Session, envelope: Envelope) -> Reply:
        """Check and queue; a positive reply only after the commit. Records its own refusals."""
        ...

    def transaction_ended(self, session: Session, accepted: bool) -> None:
        """Once for each check_sender that said yes: `accepted` is False when no message came of it."""
        ...

    def record_refusal(
        self, session: Session, stage: str, refused: Refused, sender: str, recipient: str
    ) -> None:
        """`stage`: auth, mail, rcpt or data; sender and recipient as far as they are known."""
        ...

    def observe(self, session: Session, stage: str) -> None:
        """The session got as far as connected, tls, login, sender or accepted."""
        ...


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each part may take. RFC 5321, 4.5.3.2 asks for patience of minutes; `crowded` is for the emergency."""

    command_s: float = 300.0  # for one whole command line, not from octet to octet
    crowded_command_s: float = 10.0  # instead, when nearly all connections are in use
    login_s: float = 300.0  # from the greeting to the log-in
    session_s: float = 7200.0  # then a session ends between two messages: its policy is getting old
    handshake_s: float = 30.0
    proxy_header_s: float = 5.0
    authenticate_s: float = 30.0
    check_s: float = 60.0
    receive_s: float = 540.0  # the client waits 10 minutes for the reply to its dot
    data_grace_s: float = 120.0  # a body must come at `data_min_rate` after this
    data_min_rate: float = 1024.0  # octets a second
    data_total_s: float = 3600.0
    close_s: float = 5.0  # to send the last reply and shut TLS down


@dataclass(slots=True)
class Reception:
    """What all sessions of a process share."""

    config: Config
    gatekeeper: Gatekeeper
    ids: IdMaker
    timeouts: Timeouts = field(default_factory=Timeouts)
    guard: LoginGuard = field(default_factory=LoginGuard)
    unacknowledged: Unacknowledged = field(default_factory=Unacknowledged)
    utc_now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic

    def next_id(self) -> int:
        return self.ids.next(int(self.utc_now().timestamp() * 1000))

    def open_session(self, client_ip: str, client_port: int) -> Session:
        """A session for a client whose address is known, logged in already if its network is registered."""
        snapshot = self.gatekeeper.snapshot()
        return Session(
            id=to_text(self.next_id()),
            client_ip=client_ip,
            client_port=client_port,
            snapshot=snapshot,
            started_at=self.utc_now(),
            login=login_by_network(snapshot, client_ip),
        )


def login_by_network(snapshot: Snapshot, client_ip: str) -> Login | None:
    """The customer that registered this source; the narrowest network wins."""
    if not snapshot.networks:
        return None
    address = ipaddress.ip_address(client_ip)
    matching = [pair for pair in snapshot.networks if address in pair[0]]
    if not matching:
        return None
    _network, customer_id = max(matching, key=lambda pair: pair[0].prefixlen)
    return Login(customer_id, None, "")
