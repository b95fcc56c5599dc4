"""The report step: settles recipients, writes the timeline, plans the next attempt, tells the sender.

One transaction holds the outcome of an attempt and the reports that follow from it, so that a crash leaves both or
neither; until then the recipients stay leased and are tried again when the lease ends.

The sender gets one report about the recipients of a message that failed together: while others are in work, the report
is queued but due a little later, and the next failure replaces it by one that lists more (`store/reports.py`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from weakref import WeakValueDictionary

from gateway import store
from gateway.config import Config
from gateway.db import Database, write_surely
from gateway.metrics import Meters
from gateway.rules.notify import Report, wants_report
from gateway.rules.policy import GatewayPolicy, Snapshot
from gateway.rules.replies import classify_reply
from gateway.rules.retry import next_attempt, warning_due
from gateway.rules.types import Envelope, Outcome, Reply, Stage, State, StepFailed, Verdict
from gateway.store import NewMessage, Settlement
from gateway.work import Context, OpenRecipient, Parcel, recipient_from_row

log = logging.getLogger(__name__)

BAR = timedelta(hours=4)
GATHER = timedelta(seconds=30)  # how long a report waits for the other recipients of its message
HOLD = timedelta(seconds=15)  # nobody sends a waiting report while its replacement is being written
EXPIRED_TEXT = "Message could not be delivered within its lifetime. Last answer: "

About = list[tuple[OpenRecipient, Outcome]]


class ReportWriter(Protocol):
    """Builds the mail to the sender (`gateway.ndr`)."""

    async def __call__(
        self,
        snapshot: Snapshot,
        report: Report,
        parcel: Parcel,
        about: About,
        due: datetime,
    ) -> NewMessage: ...

    def refused(self, context: Context, envelope: Envelope, verdict: Verdict) -> NewMessage: ...

    def row(
        self, report: Report, parcel: Parcel, recipient: OpenRecipient, outcome: Outcome, mail_id: int | None
    ) -> dict[str, Any]: ...


class Reporter:
    """One per relay process."""

    def __init__(
        self,
        database: Database,
        config: Config,
        writer: ReportWriter,
        forget_bodies: Callable[[list[str]], None],
        *,
        utc_now: Callable[[], datetime],
        rng: random.Random | None = None,
        meters: Meters | None = None,
    ) -> None:
        self._database = database
        self._schedule_s = config.retry_schedule_s
        self._writer = writer
        self._forget_bodies = forget_bodies
        self._utc_now = utc_now
        self._meters = meters or Meters()
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._reporting: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()  # by message

    # ---- what was not accepted

    async def refused(
        self, context: Context, envelope: Envelope, verdict: Verdict, who: dict[str, Any]
    ) -> Reply:
        """Record the refusal of a whole message; the sender of an infected one is told by mail. Returns the reply."""
        refused = verdict.refused
        if refused is None:
            raise ValueError("the verdict has no refusal")
        row = {
            "at": context.now,
            "stage": "data",
            **who,
            "sender": str(envelope.sender or "")[:320],
            "recipient": ", ".join(str(item.address) for item in envelope.recipients[:3])[:320],
            "code": refused.reply.code,
            "enhanced": refused.reply.enhanced,
            "text": refused.reply.text[:500],
            "reason": refused.reason,
            "detail": refused.detail,
            "trace": [entry.as_json() for entry in verdict.trace],
        }
        await self._database.write(store.record_refusals, row)
        if refused.reason == "virus" and envelope.sender and context.customer.ndr_on_refusal:
            await self._database.write(
                store.insert_messages, self._writer.refused(context, envelope, verdict)
            )
        return refused.reply

    # ---- what was tried

    async def report(self, snapshot: Snapshot, parcel: Parcel, outcomes: list[Outcome]) -> list[Outcome]:
        """Settle one attempt; returns the outcomes as they were written (deferred ones may have expired)."""
        try:
            return await self._settle(snapshot, parcel, outcomes)
        except Exception:
            await self._keep_delivered(outcomes)
            raise

    async def _keep_delivered(self, outcomes: list[Outcome]) -> None:
        """The whole could not be written. The rest is tried again, but what was delivered is never sent twice."""
        delivered = [outcome.recipient_id for outcome in outcomes if outcome.state is State.DELIVERED]
        if delivered:
            await write_surely(self._database, store.mark_delivered, (delivered, self._utc_now()))

    async def _settle(self, snapshot: Snapshot, parcel: Parcel, outcomes: list[Outcome]) -> list[Outcome]:
        recipients = {recipient.id: recipient for recipient in parcel.recipients}
        now = self._utc_now()
        mail = parcel.mail
        settlement = Settlement(mail.id, mail.customer_id, mail.sender_domain, [], signed_by=mail.signed_by)
        for outcome in outcomes:
            self._plan(settlement, recipients[outcome.recipient_id], outcome, now)
        await self._bar_if_blocklisted(snapshot, parcel, settlement, now)
        kinds = _kinds_of_report(parcel, settlement.outcomes)
        if Report.DELAYED in kinds and not await self._warn_now(snapshot, parcel, now):
            kinds.remove(Report.DELAYED)
        if kinds:
            # One parcel of a message after the other, or two that fail together would not see each other's report.
            async with self._reporting.setdefault(mail.id, asyncio.Lock()):
                await self._write_with_reports(snapshot, parcel, settlement, recipients, kinds)
        else:
            await self._write(settlement)
        return settlement.outcomes

    async def _write_with_reports(
        self,
        snapshot: Snapshot,
        parcel: Parcel,
        plain: Settlement,
        recipients: dict[int, OpenRecipient],
        kinds: list[Report],
    ) -> None:
        """Until no other process has been first with a report about the message: the next one takes it in."""
        is_written = False
        while not is_written:
            now = self._utc_now()
            settlement = replace(plain, reports=[], report_rows=[], ndr_of={}, replaced={}, reported_at=now)
            await self._add_reports(snapshot, parcel, settlement, recipients, kinds, now)
            is_written = await self._write(settlement)

    async def _write(self, settlement: Settlement) -> bool:
        """False when it was overtaken, see `store.settle`."""
        # An outcome that is forgotten is a delivery made twice: wait for a database that is away.
        spooled = await write_surely(self._database, store.settle, settlement, patient=True)
        if spooled is None:
            return False
        self._meters.count("smg_ndrs", by=len(settlement.reports) - len(settlement.replaced))
        if spooled:
            await asyncio.to_thread(self._forget_bodies, spooled)
        return True

    def failed(self, parcel: Parcel, gateway: GatewayPolicy, failed: StepFailed) -> list[Outcome]:
        """The outcomes when a step before the delivery could not go on."""
        now = self._utc_now()
        return [
            Outcome(
                recipient.id, failed.state, failed.reply, failed.stage, now, gateway.id, reason=failed.reason
            )
            for recipient in parcel.recipients
        ]

    async def expire(self, snapshot: Snapshot, parcel: Parcel) -> list[Outcome]:
        """Give up on recipients whose lifetime ended while they waited, without another attempt."""
        now = self._utc_now()
        reply = Reply(550, "5.4.7", "Message expired before it could be delivered")
        outcomes = [
            Outcome(recipient.id, State.EXPIRED, reply, Stage.POLICY, now, reason="expired")
            for recipient in parcel.recipients
        ]
        return await self.report(snapshot, parcel, outcomes)

    def _plan(
        self, settlement: Settlement, recipient: OpenRecipient, outcome: Outcome, now: datetime
    ) -> None:
        """Deferred and held mail gets its next time, or has expired."""
        if outcome.state not in (State.QUEUED, State.HELD):
            settlement.outcomes.append(outcome)
            return
        dice = self._rng.random()
        again = next_attempt(recipient.attempts + 1, now, recipient.expires_at, self._schedule_s, dice)
        if again is None:
            text = EXPIRED_TEXT + str(outcome.reply)
            outcome = replace(outcome, state=State.EXPIRED, reply=Reply(550, "5.4.7", text))
        else:
            settlement.next_attempts[recipient.id] = again
        settlement.outcomes.append(outcome)

    async def _bar_if_blocklisted(
        self, snapshot: Snapshot, parcel: Parcel, settlement: Settlement, now: datetime
    ) -> None:
        """A destination that refuses our address is left alone from there, and tried by another of the same pool."""
        for outcome in settlement.outcomes:
            if outcome.state != State.QUEUED or outcome.gateway_id is None:
                continue
            if not classify_reply(outcome.reply, outcome.stage).bars_gateway:
                continue
            bar = (outcome.gateway_id, parcel.domain, now + BAR, str(outcome.reply))
            await self._database.write(store.set_bars, bar)
            pool = [gateway for gateway in snapshot.gateways.values() if gateway.pool == parcel.mail.pool]
            if any(gateway.id != outcome.gateway_id and not gateway.drained for gateway in pool):
                settlement.next_attempts[outcome.recipient_id] = now + timedelta(seconds=2)

    async def _add_reports(
        self,
        snapshot: Snapshot,
        parcel: Parcel,
        settlement: Settlement,
        recipients: dict[int, OpenRecipient],
        kinds: list[Report],
        now: datetime,
    ) -> None:
        """At most one mail of each kind to the sender, listing the recipients it is about."""
        pairs = [(recipients[outcome.recipient_id], outcome) for outcome in settlement.outcomes]
        for report in kinds:
            about = [pair for pair in pairs if report.fits(pair[1].state, pair[1].reason)]
            await self._add_report(snapshot, parcel, settlement, report, about, now)

    async def _add_report(
        self,
        snapshot: Snapshot,
        parcel: Parcel,
        settlement: Settlement,
        report: Report,
        about: About,
        now: datetime,
    ) -> None:
        customer = snapshot.customers.get(parcel.mail.customer_id or 0)
        if report is Report.DELAYED:
            others = await self._database.read(store.still_deferred, parcel.mail.id, parcel.recipient_ids)
            about = [*map(_as_settled, others), *about]
        told = [pair for pair in about if wants_report(report, parcel.mail.sender, pair[0].notify)]
        mail_id = None
        if told and customer is not None and customer.ndr_enabled:
            mail_id = await self._write_report(snapshot, parcel, settlement, report, told, now)
        ids = {recipient.id for recipient, _ in told} if mail_id is not None else set()
        settlement.ndr_of.update(dict.fromkeys(ids, mail_id) if mail_id is not None else {})
        settlement.report_rows.extend(
            self._writer.row(report, parcel, recipient, outcome, mail_id if recipient.id in ids else None)
            for recipient, outcome in about
            if report is not Report.RELAYED or recipient.id in ids
        )

    async def _write_report(
        self,
        snapshot: Snapshot,
        parcel: Parcel,
        settlement: Settlement,
        report: Report,
        told: About,
        now: datetime,
    ) -> int:
        """Put the mail to the sender into the settlement, in the place of one that waits; returns its id."""
        earlier, due = None, now
        if report is not Report.DELAYED:  # that one lists all who wait, and comes once
            earlier = await self._take_waiting(parcel.mail.id, report, now)
            if await self._database.read(
                store.others_in_work, parcel.mail.id, parcel.recipient_ids, now + GATHER
            ):
                due = earlier.due if earlier is not None else now + GATHER
        before = [_as_settled(row) for row in earlier.told] if earlier is not None else []
        message = await self._writer(snapshot, report, parcel, [*before, *told], due)
        mail_id: int = message.message["id"]
        settlement.reports.append(message)
        if earlier is not None:
            settlement.replaced[earlier.id] = mail_id
        return mail_id

    async def _take_waiting(
        self, message_id: int, report: Report, now: datetime
    ) -> store.WaitingReport | None:
        found = await self._database.read(store.waiting_report, message_id, report.value, now)
        if found is None or not await self._database.write(store.hold_reports, (found.id, found.due + HOLD)):
            return None
        return found

    async def _warn_now(self, snapshot: Snapshot, parcel: Parcel, now: datetime) -> bool:
        """One delay warning a message, whichever parcel comes first."""
        customer = snapshot.customers.get(parcel.mail.customer_id or 0)
        after_h = customer.delay_warning_h if customer else 0
        if parcel.mail.warned or not warning_due(parcel.mail.received_at, now, after_h):
            return False
        parcel.mail.warned = True
        return await self._database.write(store.mark_warned, (parcel.mail.id, now))


def _kinds_of_report(parcel: Parcel, outcomes: list[Outcome]) -> list[Report]:
    """The kinds that may have to be told."""
    if parcel.mail.kind != "customer":
        return []
    return [kind for kind in Report if any(kind.fits(one.state, one.reason) for one in outcomes)]


def _as_settled(row: Any) -> tuple[OpenRecipient, Outcome]:
    """A recipient that was settled or deferred earlier, as its report needs it."""
    return recipient_from_row(row), Outcome(
        row.id,
        State(row.state),
        Reply(row.code, row.enhanced, row.text),
        Stage(row.stage),
        row.tried_at,
        row.gateway_id,
        row.remote_host,
        reason=row.reason,
    )
