"""Deliver: one message to one destination, over the hops of its route, an Outcome per recipient.

Hosts are tried in order until each recipient is delivered or refused for good. What is left when no host remains is
queued again with the most telling reply. Encryption that is demanded and cannot be had ends as the demand says
(bounced, held, or queued), never in clear text. This step raises nothing but cancellation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from gateway.outbound.commands import BadAddress, has_bare_line_ends, needs_smtputf8
from gateway.outbound.errors import HopFailed, TlsFailed
from gateway.outbound.pool import SessionPool
from gateway.outbound.session import Opener, Session, can_reach
from gateway.outbound.transaction import Answer, StaleSession, Transaction
from gateway.rules.replies import DELIVERED, Classification, Kind, classify_reply
from gateway.rules.route_types import DeliveryJob, Hop, JobRecipient, Route, TlsDemand, TlsObservation
from gateway.rules.types import OnFailure, Outcome, Reply, Stage, State, TlsInfo, TlsLevel

log = logging.getLogger(__name__)

MAX_TRIES = 6  # addresses in one attempt, over all hosts
MAX_RECIPIENTS = 50  # in one transaction; RFC 5321 section 4.5.3.1.8 promises 100, hosts keep less

_INTERNAL = Reply(451, "4.3.0", "Internal error while delivering")
_BARE_LINE_ENDS = Reply(554, "5.6.0", "The message has bare CR or LF and cannot be sent")
_NO_UTF8 = Reply(553, "5.6.7", "The next server does not support internationalised addresses (SMTPUTF8)")
_NOTHING_TRIED = Reply(451, "4.4.4", "No server of the destination can be reached from this gateway")


Observer = Callable[[TlsObservation], None]


class Deliverer:
    """One per event loop; holds the open sessions. `opener` carries clock, deadlines and certificate authorities."""

    def __init__(
        self, opener: Opener, pool: SessionPool | None = None, on_tls: Observer | None = None
    ) -> None:
        self._opener = opener
        self._pool = pool or SessionPool()
        self._on_tls = on_tls

    async def deliver(
        self, job: DeliveryJob, route: Route, *, messages_per_connection: int = 100
    ) -> list[Outcome]:
        """One outcome per recipient, in their order. May be called concurrently."""
        attempt = _Attempt(job, route, self._opener, self._pool, self._on_tls, messages_per_connection)
        try:
            await attempt.run()
        except Exception:
            log.exception("delivering message %s to %s failed", job.message_id, route.destination)
            attempt.defer_open(_INTERNAL, Stage.POLICY, "server_error")
        return attempt.outcomes()

    def close(self) -> None:
        """End the sessions that are kept open; transactions that are under way finish."""
        self._pool.close()


@dataclass(frozen=True, slots=True)
class _Where:
    """The host an outcome speaks of."""

    host: str = ""
    ip: str = ""
    tls: TlsInfo | None = None
    dsn: bool = False


class _Attempt:
    """The state of one deliver() call."""

    def __init__(
        self,
        job: DeliveryJob,
        route: Route,
        opener: Opener,
        pool: SessionPool,
        on_tls: Observer | None,
        messages_per_connection: int,
    ) -> None:
        self._job = job
        self._route = route
        self._opener = opener
        self._pool = pool
        self._on_tls = on_tls
        self._messages_per_connection = messages_per_connection
        self._started = opener.clock()
        self._settled: dict[int, Outcome] = {}
        self._candidates: dict[int, Outcome] = {}  # the best temporary outcome so far
        self._open: list[JobRecipient] = list(job.recipients)
        self._failures: list[HopFailed] = []

    async def run(self) -> None:
        if has_bare_line_ends(self._job.body):
            self._settle_open(State.BOUNCED, _BARE_LINE_ENDS, Stage.POLICY, "content")
            return
        for hop, ip in self._tries():
            if not self._open:
                return
            await self._try(hop, ip)
        self._give_up()

    def _tries(self) -> Iterator[tuple[Hop, str]]:
        pairs = ((hop, ip) for hop in self._route.hops for ip in hop.addresses)
        usable = [(hop, ip) for hop, ip in pairs if can_reach(self._route.gateway, ip)]
        return iter(usable[:MAX_TRIES])

    async def _try(self, hop: Hop, ip: str) -> None:
        where = _Where(hop.host, ip)
        try:
            for start in range(0, len(self._open), MAX_RECIPIENTS):
                await self._transact(hop, ip, self._open[start : start + MAX_RECIPIENTS])
        except HopFailed as failure:
            self._failures.append(failure)
            found = self._classify(failure.reply, failure.stage, failure.reason)
            for recipient in self._unsettled():  # an earlier group may have been delivered
                self._note(recipient, failure.reply, failure.stage, found, where)
        self._open = self._unsettled()

    def _unsettled(self) -> list[JobRecipient]:
        return [one for one in self._open if one.recipient_id not in self._settled]

    # -- one transaction

    async def _transact(self, hop: Hop, ip: str, recipients: Sequence[JobRecipient]) -> None:
        session = await self._session(hop, ip)
        try:
            answers = await self._run(session, hop, recipients)
        except StaleSession:
            session.end()
            await self._transact(hop, ip, recipients)  # ends: each turn uses up one idle session
            return
        except BaseException:
            session.connection.abort()
            raise
        where = _Where(session.host, session.ip, session.tls, dsn="DSN" in session.features)
        self._pool.give_back(self._key(hop), session, max_transactions=self._messages_per_connection)
        for answer in answers:
            self._take(answer, where)

    async def _run(self, session: Session, hop: Hop, recipients: Sequence[JobRecipient]) -> list[Answer]:
        refused = self._unsuitable(session, recipients)
        if refused is not None:
            return [Answer(recipient, refused[0], Stage.POLICY, refused[1]) for recipient in recipients]
        utf8 = needs_smtputf8(self._job, tuple(recipients))
        transaction = Transaction(session, self._job, recipients, self._opener.deadlines)
        try:
            return await transaction.run(utf8=utf8, require_tls=hop.tls.require_tls)
        except BadAddress as error:
            reply = Reply(553, "5.1.3", str(error))
            return [Answer(recipient, reply, Stage.POLICY, "address") for recipient in recipients]

    def _unsuitable(self, session: Session, recipients: Sequence[JobRecipient]) -> tuple[Reply, str] | None:
        """What the host's EHLO already rules out. A host without 8BITMIME gets 8-bit mail all the same: rewriting it
        would break its signature, and such hosts take it (Postfix with disable_mime_output_conversion)."""
        limit = session.features.size_limit_bytes
        if limit and len(self._job.body) > limit:
            text = f"The message has {len(self._job.body)} octets, {session.host} takes at most {limit}"
            return Reply(552, "5.3.4", text), "size"
        if "SMTPUTF8" not in session.features and needs_smtputf8(self._job, tuple(recipients)):
            return _NO_UTF8, "utf8"
        return None

    # -- sessions

    def _key(self, hop: Hop) -> tuple[object, ...]:
        return self._route.gateway, hop.host, hop.port, hop.tls

    async def _session(self, hop: Hop, ip: str) -> Session:
        kept = self._pool.take(self._key(hop))
        if kept is not None:
            self._recall_shadow(kept)
            return kept
        if hop.tls.blocked and hop.tls.level is not TlsLevel.OPPORTUNISTIC:
            raise TlsFailed(Reply(451, "4.7.10", hop.tls.blocked), Stage.POLICY, "validation-failure")
        if hop.tls.shadow is None:
            return await self._open_session(hop, ip)
        return await self._open_shadowed(hop, ip, hop.tls.shadow)

    async def _open_session(self, hop: Hop, ip: str) -> Session:
        try:
            session = await self._opener.open(self._route.gateway, hop, ip, hop.tls)
        except TlsFailed as failure:
            self._observe(self._observation(hop, ip, hop.tls, None, failure))
            if hop.tls.level is not TlsLevel.OPPORTUNISTIC or self._route.gateway.next_hop_username:
                raise  # whoever can break a handshake would else be told the next hop's password
            # RFC 7435: no policy wants encryption here, and a broken handshake must not stop the mail.
            return await self._opener.open(
                self._route.gateway, hop, ip, replace(hop.tls, level=TlsLevel.NONE)
            )
        self._observe(self._observation(hop, ip, hop.tls, session.tls, None))
        return session

    async def _open_shadowed(self, hop: Hop, ip: str, shadow: TlsDemand) -> Session:
        """Try what a rule in shadow mode (or MTA-STS in testing mode) would demand and record it; if it fails, go on
        under the real demand. A session opened under the shadow is at least as good as the real one."""
        stricter = replace(shadow, require_tls=hop.tls.require_tls, shadow=None)
        try:
            if shadow.blocked:
                raise TlsFailed(Reply(451, "4.7.10", shadow.blocked), Stage.POLICY, "validation-failure")
            session = await self._opener.open(self._route.gateway, hop, ip, stricter)
        except TlsFailed as failure:
            seen = self._observation(hop, ip, shadow, None, failure, shadow=True)
            self._observe(seen)
            session = await self._open_session(hop, ip)
        else:
            seen = self._observation(hop, ip, shadow, session.tls, None, shadow=True)
            self._observe(seen)
            self._observe(self._observation(hop, ip, hop.tls, session.tls, None))
        session.shadow = seen
        return session

    def _recall_shadow(self, session: Session) -> None:
        """A customer's rule in shadow mode is told about every message; a domain's policy about every connection."""
        if session.shadow is not None and session.shadow.demand.source == "rule":
            now = self._opener.clock()
            self._observe(replace(session.shadow, at=now, message_id=self._job.message_id))

    def _observe(self, seen: TlsObservation) -> None:
        if self._on_tls is not None:
            self._on_tls(seen)

    def _observation(
        self,
        hop: Hop,
        ip: str,
        demand: TlsDemand,
        info: TlsInfo | None,
        failure: TlsFailed | None,
        *,
        shadow: bool = False,
    ) -> TlsObservation:
        result, text = (failure.result, failure.reply.text) if failure is not None else ("", "")
        if failure is None and info is None:
            result = "starttls-not-supported"
        return TlsObservation(
            at=self._opener.clock(),
            destination=self._route.destination,
            host=hop.host,
            ip=ip,
            demand=demand,
            info=info,
            result=result,
            text=text,
            shadow=shadow,
            message_id=self._job.message_id,
        )

    # -- outcomes

    def _classify(self, reply: Reply, stage: Stage, reason: str) -> Classification:
        if reply.code == 250 and stage is Stage.DOT:
            return DELIVERED
        found = classify_reply(reply, stage, smart_host=self._route.smart_host)
        return replace(found, reason=reason) if reason else found

    def _take(self, answer: Answer, where: _Where) -> None:
        found = self._classify(answer.reply, answer.stage, answer.reason)
        if found.kind is Kind.DELIVERED and answer.stage is Stage.DOT:
            reason = "relayed" if "SUCCESS" in answer.recipient.notify and not where.dsn else "delivered"
            self._settle(answer.recipient, State.DELIVERED, answer.reply, answer.stage, reason, where)
        else:
            self._note(answer.recipient, answer.reply, answer.stage, found, where)

    def _note(
        self, recipient: JobRecipient, reply: Reply, stage: Stage, found: Classification, where: _Where
    ) -> None:
        """A refusal is final; a temporary answer waits for what the next host says, if that can help. So does a 521 in
        the greeting: only when all hosts say it does the domain take no mail (RFC 7504 section 4)."""
        state = State.BOUNCED if found.kind is Kind.PERMANENT else State.QUEUED
        waits = found.try_next_host if state is State.QUEUED else stage is Stage.BANNER
        if waits:
            self._keep_candidate(self._outcome(recipient, state, reply, stage, found.reason, where))
        else:
            self._settle(recipient, state, reply, stage, found.reason, where)

    def _keep_candidate(self, outcome: Outcome) -> None:
        earlier = self._candidates.get(outcome.recipient_id)
        if earlier is not None and outcome.stage is Stage.CONNECT:
            # "Connection refused" by a second host says less than what a first one answered.
            outcome = replace(earlier, state=State.QUEUED)
        elif earlier is not None and earlier.state is State.QUEUED:
            outcome = replace(outcome, state=State.QUEUED)
        self._candidates[outcome.recipient_id] = outcome

    def _give_up(self) -> None:
        """No host is left for what is open."""
        if (
            self._open
            and self._failures
            and all(isinstance(one, TlsFailed) and one.lasting for one in self._failures)
        ):
            self._end_for_lack_of_tls()
        for recipient in self._open:
            candidate = self._candidates.get(recipient.recipient_id)
            if recipient.recipient_id not in self._settled and candidate is not None:
                self._settled[recipient.recipient_id] = candidate
        self.defer_open(_NOTHING_TRIED, Stage.CONNECT, "unreachable")

    def _end_for_lack_of_tls(self) -> None:
        """Every host was reached and none can be encrypted as demanded: what the demand says for this case."""
        failure, demand = self._failures[-1], self._route.hops[0].tls
        where = _Where(self._route.hops[-1].host)
        reason = "requiretls" if failure.reason == "requiretls" else "tls_required"
        state = {OnFailure.REJECT: State.BOUNCED, OnFailure.HOLD: State.HELD, None: State.QUEUED}[
            demand.on_failure
        ]
        reply = _tls_reply(failure.reply.text, permanent=state is State.BOUNCED, reason=reason)
        for recipient in self._open:
            self._settle(recipient, state, reply, failure.stage, reason, where)

    def defer_open(self, reply: Reply, stage: Stage, reason: str) -> None:
        """Queue again whatever has no outcome yet."""
        self._settle_open(State.QUEUED, reply, stage, reason)

    def _settle_open(self, state: State, reply: Reply, stage: Stage, reason: str) -> None:
        for recipient in self._job.recipients:
            if recipient.recipient_id not in self._settled:
                self._settle(recipient, state, reply, stage, reason, _Where())

    def _settle(
        self, recipient: JobRecipient, state: State, reply: Reply, stage: Stage, reason: str, where: _Where
    ) -> None:
        self._settled[recipient.recipient_id] = self._outcome(recipient, state, reply, stage, reason, where)

    def _outcome(
        self, recipient: JobRecipient, state: State, reply: Reply, stage: Stage, reason: str, where: _Where
    ) -> Outcome:
        now = self._opener.clock()
        return Outcome(
            recipient_id=recipient.recipient_id,
            state=state,
            reply=reply,
            stage=stage,
            at=now,
            gateway_id=self._route.gateway.id,
            remote_host=where.host,
            remote_ip=where.ip,
            tls=where.tls,
            reason=reason,
            duration_ms=(now - self._started).total_seconds() * 1000,
        )

    def outcomes(self) -> list[Outcome]:
        return [self._settled[recipient.recipient_id] for recipient in self._job.recipients]


def _tls_reply(text: str, *, permanent: bool, reason: str) -> Reply:
    enhanced = "7.30" if reason == "requiretls" else "7.10"
    return Reply(550, f"5.{enhanced}", text) if permanent else Reply(451, f"4.{enhanced}", text)
