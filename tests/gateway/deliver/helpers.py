"""Small makers for delivery tests; the clock stands still unless told otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.deliver import Deliverer
from gateway.outbound.pool import SessionPool
from gateway.outbound.session import Deadlines, Opener
from gateway.rules.policy import GatewayPolicy
from gateway.rules.route_types import DeliveryJob, Hop, JobRecipient, Route, TlsDemand, TlsObservation
from gateway.rules.types import Address, Outcome, Pool, Stage, State
from gateway.tls.contexts import TlsContexts
from tests.fake_next_hop import FakeNextHop

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BODY = b"From: alice@acme.example\r\nSubject: hello\r\n\r\nHello Bob\r\n.hidden dot\r\n"
GATEWAY = GatewayPolicy(id=1, name="mta01", pool=Pool.GOOD, hostname="mta01.smg.example")
DEAD = Hop("dead.partner.example", 1, ("127.0.0.1",))
ONE_BY_ONE = ("SIZE 10000000", "8BITMIME")  # without PIPELINING
PATIENT = Deadlines()
QUICK = Deadlines(2, 0.3, 0.3, 2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3)  # for hosts that stall


def summary(outcome: Outcome) -> tuple[State, int, str, Stage]:
    return outcome.state, outcome.reply.code, outcome.reason, outcome.stage


def address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address(local, domain)


def job(*recipients: str, body: bytes = BODY, sender: str = "alice@acme.example", **more: Any) -> DeliveryJob:
    wanted = recipients or ("bob@partner.example",)
    found = tuple(JobRecipient(number, address(text)) for number, text in enumerate(wanted, 1))
    return DeliveryJob(7, address(sender) if sender else None, found, body, **more)


def notifying(work: DeliveryJob, *words: str, orcpt: str = "") -> DeliveryJob:
    """The same job with NOTIFY on every recipient."""
    changed = (replace(one, notify=frozenset(words), orcpt=orcpt) for one in work.recipients)
    return replace(work, recipients=tuple(changed))


def hop_of(fake: FakeNextHop, tls: TlsDemand | None = None, host: str = "mx.partner.example") -> Hop:
    return Hop(host, fake.port, (fake.host,), tls or TlsDemand())


def route(*hops: FakeNextHop | Hop, gateway: GatewayPolicy = GATEWAY, smart_host: bool = False) -> Route:
    found = tuple(hop if isinstance(hop, Hop) else hop_of(hop) for hop in hops)
    return Route(gateway, "partner.example", found, smart_host)


class Sending:
    """A deliverer that keeps what was observed about TLS; patient unless told otherwise."""

    def __init__(
        self, deadlines: Deadlines = PATIENT, ca_file: Path | None = None, now: datetime = NOW, **pool: Any
    ) -> None:
        self.seen: list[TlsObservation] = []
        self.pool = SessionPool(**pool)
        self.opener = Opener(TlsContexts(ca_file), lambda: now, deadlines)
        self.deliverer = Deliverer(self.opener, self.pool, self.seen.append)

    async def __call__(self, work: DeliveryJob, where: Route, **more: Any) -> list[Outcome]:
        return await self.deliverer.deliver(work, where, **more)

    async def one(self, work: DeliveryJob, where: Route, **more: Any) -> Outcome:
        (outcome,) = await self(work, where, **more)
        return outcome
