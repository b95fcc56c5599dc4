"""One message over a ready session: MAIL, RCPT, DATA, the message; an answer per recipient, whatever happens.

Pipelined where offered (RFC 2920): MAIL, all RCPT and DATA leave in one write; else step by step. A recipient that got
its own refusal keeps it even if the connection breaks later. A connection that breaks after the dot is temporary: the
next host must not be tried at once, for the message may have been taken (RFC 1047).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.outbound.commands import mail_command, rcpt_command, stuffed
from gateway.outbound.errors import HopFailed, TimedOut
from gateway.outbound.reading import WireReply
from gateway.outbound.session import Deadlines, Session
from gateway.rules.route_types import DeliveryJob, JobRecipient
from gateway.rules.types import Reply, Stage

_NOT_SENT = Reply(451, "4.5.0", "The server answered out of order")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one recipient got; `reason` is set when the reply is ours (connection lost, timed out ...)."""

    recipient: JobRecipient
    reply: Reply
    stage: Stage
    reason: str = ""


class StaleSession(Exception):
    """A session that was kept open turned out to be closed before it took anything: open another, nothing is lost."""


class Transaction:
    """The job for these recipients over this session."""

    def __init__(
        self,
        session: Session,
        job: DeliveryJob,
        recipients: Sequence[JobRecipient],
        deadlines: Deadlines,
    ) -> None:
        self._session = session
        self._connection = session.connection
        self._job = job
        self._recipients = recipients
        self._deadlines = deadlines
        self._answers: dict[int, Answer] = {}  # recipient id -> final answer
        self._accepted: list[JobRecipient] = []
        self._stage = Stage.MAIL  # of the dialogue, for whoever breaks it off

    async def run(self, *, utf8: bool = False, require_tls: bool = False) -> list[Answer]:
        """Answers in the order of the recipients. Raises StaleSession, or BadAddress before anything was sent."""
        features = self._session.features
        mail = mail_command(self._job, features, len(self._job.body), utf8=utf8, require_tls=require_tls)
        rcpts = [rcpt_command(recipient, features) for recipient in self._recipients]
        reused = self._session.transactions > 0
        self._session.transactions += 1
        total_s = self._deadlines.transaction
        try:
            async with asyncio.timeout(total_s):
                if "PIPELINING" in features:
                    await self._pipelined(mail, rcpts, reused=reused)
                else:
                    await self._step_by_step(mail, rcpts, reused=reused)
        except HopFailed as failure:
            self._fail_open(failure)
        except TimeoutError:
            reply = Reply(421, "4.4.2", f"The transaction was not finished within {total_s:.0f} seconds")
            self._fail_open(TimedOut(reply, self._stage, "timeout"))
        return [self._answers[recipient.recipient_id] for recipient in self._recipients]

    # -- the two ways of talking

    async def _pipelined(self, mail: bytes, rcpts: Sequence[bytes], *, reused: bool) -> None:
        self._connection.write(b"".join((self._reset_command(), mail, *rcpts, b"DATA\r\n")))
        mail_ok = await self._take_mail_reply(reused=reused)
        for recipient in self._recipients:
            self._take_rcpt(recipient, await self._reply(Stage.RCPT, self._deadlines.rcpt), mail_ok=mail_ok)
        data = await self._reply(Stage.DATA, self._deadlines.data)
        if data.code == 354 and not self._accepted:
            # RFC 2920 section 3.1: the host waits for a message although it took no recipient.
            self._connection.write(b".\r\n")
            await self._reply(Stage.DOT, self._deadlines.dot)
        elif self._accepted:
            await self._message(data)
        else:
            self._session.needs_reset = True

    async def _step_by_step(self, mail: bytes, rcpts: Sequence[bytes], *, reused: bool) -> None:
        reset = self._reset_command()
        if reset:
            self._connection.write(reset)
        self._connection.write(mail)
        if not await self._take_mail_reply(reused=reused):
            return
        for recipient, command in zip(self._recipients, rcpts, strict=True):
            self._connection.write(command)
            self._take_rcpt(recipient, await self._reply(Stage.RCPT, self._deadlines.rcpt), mail_ok=True)
        if not self._accepted:
            self._session.needs_reset = True
            return
        self._connection.write(b"DATA\r\n")
        await self._message(await self._reply(Stage.DATA, self._deadlines.data))

    # -- replies

    async def _take_mail_reply(self, *, reused: bool) -> bool:
        """True when MAIL was accepted; else every recipient has its answer."""
        try:
            if self._session.needs_reset:
                await self._reply(Stage.MAIL, self._deadlines.mail)
            answer = await self._reply(Stage.MAIL, self._deadlines.mail)
        except HopFailed as failure:
            if reused and failure.reason == "connection_lost":
                raise StaleSession from failure
            raise
        if answer.code == 421 and reused:
            raise StaleSession  # closed for being idle or old, before it saw our MAIL
        self._session.needs_reset = False
        if 200 <= answer.code < 300:
            return True
        self._session.needs_reset = True
        self._answer_open(answer.parsed(), Stage.MAIL)
        return False

    def _take_rcpt(self, recipient: JobRecipient, answer: WireReply, *, mail_ok: bool) -> None:
        if not mail_ok:
            return  # 503 and the like: the reply to MAIL is the answer
        if 200 <= answer.code < 300:
            self._accepted.append(recipient)
        else:
            self._answers[recipient.recipient_id] = Answer(recipient, answer.parsed(), Stage.RCPT)

    async def _message(self, data: WireReply) -> None:
        if data.code != 354:
            self._session.needs_reset = True
            # A 2xx to DATA makes no sense; it must not pass for a delivery.
            reply = data.parsed() if data.code >= 400 else _NOT_SENT
            self._session.over = self._session.over or data.code < 400
            self._answer_open(reply, Stage.DATA)
            return
        self._stage = Stage.DOT
        is_sent = await self._connection.write_all(stuffed(self._job.body), self._deadlines.block)
        answer = await self._reply(Stage.DOT, self._deadlines.dot)
        in_order = is_sent and answer.code != 354
        # Who says 2xx before it has the whole message speaks of something else; an early refusal is one.
        self._answer_open(answer.parsed() if in_order or answer.code >= 400 else _NOT_SENT, Stage.DOT)
        self._session.over = self._session.over or not in_order

    async def _reply(self, stage: Stage, timeout_s: float) -> WireReply:
        self._stage = stage
        if self._session.over:
            timeout_s = min(timeout_s, _AFTER_FAREWELL_S)
        answer = await self._connection.reply(stage, timeout_s)
        if answer.code == 421:
            self._session.over = True  # RFC 5321 section 3.8: the host is about to hang up
        return answer

    def _reset_command(self) -> bytes:
        return b"RSET\r\n" if self._session.needs_reset else b""

    def _answer_open(self, reply: Reply, stage: Stage, reason: str = "") -> None:
        for recipient in self._recipients:
            self._answers.setdefault(recipient.recipient_id, Answer(recipient, reply, stage, reason))

    def _fail_open(self, failure: HopFailed) -> None:
        self._session.over = True
        self._answer_open(failure.reply, failure.stage, failure.reason)


_AFTER_FAREWELL_S = 10.0  # a host that has said 421 mostly answers nothing more
