"""The contents page of a message's way: `receive` takes a message in, `send` gets a parcel of it out.

    accept -> check -> queue | route -> sign -> deliver -> report

Each line names a step; each step has a file of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.check import Checker
from gateway.deliver import Deliverer
from gateway.limits import RateLimiter
from gateway.metrics import Meters
from gateway.queue import MailQueue
from gateway.report import Reporter
from gateway.route import Router
from gateway.rules.ids import to_text
from gateway.rules.policy import GatewayPolicy, Snapshot
from gateway.rules.types import Envelope, Reply, StepFailed
from gateway.sign import Signer
from gateway.work import Context, Parcel, Tried


class Outbox(Protocol):
    """Where accepted mail waits in memory for its turn (`gateway.scheduler`)."""

    def has_room(self, customer_id: int | None, size_bytes: int) -> bool: ...

    def offer(self, parcels: list[Parcel]) -> None: ...


@dataclass(slots=True)
class Way:
    """The steps with what each of them needs, assembled by `gateway.relay`."""

    checker: Checker
    queue: MailQueue
    outbox: Outbox
    router: Router
    signer: Signer
    deliverer: Deliverer
    reporter: Reporter
    limiter: RateLimiter | None = None
    meters: Meters = field(default_factory=Meters)


async def receive(way: Way, context: Context, envelope: Envelope, who: dict[str, Any]) -> Reply:
    """Check and queue one message. `who`: the client's columns of a refusal. Raises nothing it expects: the reply is
    250 after the commit, else 4xx or 5xx."""
    verdict = await way.checker.check_message(context, envelope)
    way.meters.checked(verdict)
    if verdict.refused is not None:
        return await way.reporter.refused(context, envelope, verdict, who)
    lease = way.outbox.has_room(envelope.customer_id, envelope.size_bytes)
    commit = way.queue.commit(envelope, verdict, context.customer, lease=lease)
    parcels = await way.meters.timed("queue", commit)
    way.meters.count("smg_messages_accepted", verdict.category.value)
    if lease:
        way.outbox.offer(parcels)
    return Reply(250, "2.0.0", f"Ok: queued as {to_text(envelope.id)}")


async def send(way: Way, snapshot: Snapshot, parcel: Parcel, gateway: GatewayPolicy, tried: Tried) -> None:
    """One attempt for the recipients of one parcel by one gateway; every one of them gets an outcome. `tried` hears of
    them as soon as the next hop is free; they are written when this returns."""
    timed = way.meters.timed
    try:
        route = await timed("route", way.router.route(snapshot, parcel, gateway))
        job = await timed("sign", way.signer.sign(snapshot, parcel))
        per_connection = snapshot.shaping_for(parcel.domain).messages_per_connection
        delivery = way.deliverer.deliver(job, route, messages_per_connection=per_connection)
        outcomes = await timed("deliver", delivery)
    except StepFailed as failed:
        outcomes = way.reporter.failed(parcel, gateway, failed)
    tried(outcomes)
    written = await timed("report", way.reporter.report(snapshot, parcel, outcomes))
    way.meters.sent(gateway, written)
