"""accept: what the commands of one SMTP session mean, up to the finished envelope.

The wire (lines, TLS, the dot, deadlines) is `gateway/smtp`'s business, the decisions about customers are the
Gatekeeper's; in between, this step keeps the order of commands, builds the Envelope and turns every outcome into a
Reply. It fails like this: a refusal is recorded and told as 4xx or 5xx; anything unexpected is `451 4.3.0` with an
error id that is in the log, never a pass and never a 5xx.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from gateway.reception import Gatekeeper, Login, Reception, Session, Timeouts, login_by_network
from gateway.rules.body_framing import ChunkedBody, Fault
from gateway.rules.smtp_grammar import GrammarError, Mail, parse_mail, parse_rcpt
from gateway.rules.types import Address, Envelope, EnvelopeRecipient, Refused, Reply, TlsInfo

__all__ = ["Acceptor", "Gatekeeper", "Login", "Reception", "Session", "Timeouts"]

log = logging.getLogger(__name__)

MAX_FAILED_LOGINS = 3  # per session
MAX_USERNAME = 255
MAX_SECRET = 1024

Result = TypeVar("Result")


class Acceptor:
    """The meaning of one session's commands. Each method returns the reply to give; none raises."""

    def __init__(self, reception: Reception, session: Session) -> None:
        self.session = session
        self._reception = reception
        self._gatekeeper = reception.gatekeeper
        self._mail: Mail | None = None
        self._recipients: dict[Address, EnvelopeRecipient] = {}
        self._refused_recipients = 0
        self._failed_logins = 0
        self.chunks: ChunkedBody | None = None  # the body so far, when it comes by BDAT

    # ---- before a transaction

    @property
    def in_transaction(self) -> bool:
        return self._mail is not None

    def hello(self, name: str, *, extended: bool) -> None:
        """HELO or EHLO: the client begins anew (RFC 5321, 4.1.4)."""
        self.reset()
        self.session.helo = name
        self.session.extended = extended

    def tls_started(self, tls: TlsInfo) -> None:
        """Forget all that was said in clear text (RFC 3207, 4.2)."""
        self.reset()
        self.session.helo = ""
        self.session.extended = False
        self.session.login = login_by_network(self.session.snapshot, self.session.client_ip)
        self.session.tls = tls
        self.observe("tls")

    def login_out_of_order(self) -> Reply | None:
        """Why AUTH cannot be done now."""
        if not self.session.extended:
            return Reply(503, "5.5.1", "Send EHLO first")
        if self.session.tls is None:
            return Reply(538, "5.7.11", "Encryption required for requested authentication mechanism")
        if self.in_transaction or (self.session.login and self.session.login.credential_id is not None):
            return Reply(503, "5.5.1", "Already authenticated or in a transaction")
        if self._failed_logins >= MAX_FAILED_LOGINS or self._is_locked():
            return Reply(421, "4.7.0", "Too many failed log-ins, closing connection")
        return None

    async def login(self, identity: str, username: str, secret: str) -> Reply:
        """AUTH with what the client showed; `identity` is whom it wants to act for, '' = itself (RFC 4616)."""
        guard, ip = self._reception.guard, self.session.client_ip
        if guard.wait_s(ip, username, self._reception.monotonic()) > 0:
            waiting = Reply(454, "4.7.0", "Too many failed log-ins, try again later")
            return self.refuse(
                "auth", Refused(waiting, "login_backoff", {"username": username[:MAX_USERNAME]})
            )
        outcome = await self._authenticate(identity, username, secret)
        if isinstance(outcome, Login):
            guard.succeeded(ip, username)
            self.session.login = outcome
            self.observe("login")
            return Reply(235, "2.7.0", "Authentication successful")
        if outcome.reply.is_permanent:
            self._failed_logins += 1
            guard.failed(ip, username, self._reception.monotonic())
        named = {
            **outcome.detail,
            "username": username[:MAX_USERNAME],
        }  # the set-up page finds its owner by this
        return self.refuse("auth", replace(outcome, detail=named))

    async def _authenticate(self, identity: str, username: str, secret: str) -> Login | Refused:
        detail = {"username": username[:MAX_USERNAME]}
        if identity and identity.casefold() != username.casefold():
            return Refused(_BAD_LOGIN, "login_identity", detail | {"identity": identity[:MAX_USERNAME]})
        if not username or not secret or len(username) > MAX_USERNAME or len(secret) > MAX_SECRET:
            return Refused(_BAD_LOGIN, "login", detail)
        trouble = Reply(454, "4.7.0", "Temporary authentication failure")
        work = self._gatekeeper.authenticate(self.session, username, secret)
        return await self._ask(work, self._reception.timeouts.authenticate_s, trouble)

    def _is_locked(self) -> bool:
        return self._reception.guard.is_locked(self.session.client_ip, self._reception.monotonic())

    # ---- the envelope

    async def mail(self, argument: str) -> Reply:
        """MAIL; `argument` is what follows the word."""
        out_of_order = self._mail_out_of_order()
        if out_of_order:
            return out_of_order
        try:
            mail = parse_mail(
                argument, extended=self.session.extended, under_tls=self.session.tls is not None
            )
        except GrammarError as error:
            return self.refuse("mail", Refused(error.reply, "syntax"), sender=argument[:320])
        refused = self._size_refused(mail.size_bytes) or await self._check_sender(mail)
        if refused:
            return self.refuse("mail", refused, sender=str(mail.sender or ""))
        self._mail = mail
        self.chunks = None
        self.observe("sender")
        return Reply(250, "2.1.0", "Ok")

    def _mail_out_of_order(self) -> Reply | None:
        if not self.session.helo:
            return Reply(503, "5.5.1", "Send EHLO first")
        if self.in_transaction:
            return Reply(503, "5.5.1", "Nested MAIL command")
        if self.session.login is None:
            required = Reply(530, "5.7.0", "Authentication required")
            return self.refuse("mail", Refused(required, "login_required"))
        if self.session.messages >= self._reception.config.max_messages_per_session:
            return Reply(421, "4.7.0", "Too many messages in this session, closing connection")
        return None

    def _size_refused(self, size_bytes: int) -> Refused | None:
        if size_bytes <= self._reception.config.max_message_size_bytes:
            return None
        return Refused(_TOO_BIG, "too_big", {"size_bytes": size_bytes})

    async def _check_sender(self, mail: Mail) -> Refused | None:
        work = self._gatekeeper.check_sender(self.session, mail.sender, mail.size_bytes)
        return await self._ask(work, self._reception.timeouts.check_s)

    async def rcpt(self, argument: str) -> Reply:
        """RCPT; `argument` is what follows the word."""
        if self._mail is None:
            return Reply(503, "5.5.1", "Send MAIL first")
        sender = str(self._mail.sender or "")
        try:
            rcpt = parse_rcpt(argument, extended=self.session.extended, smtputf8=self._mail.smtputf8)
        except GrammarError as error:
            return self._refuse_recipient(Refused(error.reply, "syntax"), sender, argument[:320])
        recipient = EnvelopeRecipient(rcpt.recipient, rcpt.notify, rcpt.orcpt)
        refused = await self._check_recipient(self._mail, recipient)
        if refused:
            return self._refuse_recipient(refused, sender, str(rcpt.recipient))
        self._recipients.setdefault(rcpt.recipient, recipient)  # named twice is still one delivery
        return Reply(250, "2.1.5", "Ok")

    async def _check_recipient(self, mail: Mail, recipient: EnvelopeRecipient) -> Refused | None:
        if len(self._recipients) >= self._reception.config.max_recipients:
            return Refused(Reply(452, "4.5.3", "Too many recipients"), "too_many_recipients")
        work = self._gatekeeper.check_recipient(self.session, mail.sender, recipient)
        return await self._ask(work, self._reception.timeouts.check_s)

    def _refuse_recipient(self, refused: Refused, sender: str, recipient: str) -> Reply:
        self._refused_recipients += 1
        return self.refuse("rcpt", refused, sender=sender, recipient=recipient)

    # ---- the message

    def data_out_of_order(self) -> Reply | None:
        """Why no message can be taken now."""
        if self._mail is None:
            return Reply(503, "5.5.1", "Send MAIL first")
        if self._recipients:
            return None
        if self._refused_recipients:
            return Reply(554, "5.5.1", "No valid recipients")
        return Reply(503, "5.5.1", "Send RCPT first")

    def refuse_body(self, fault: Fault, received_bytes: int) -> Reply:
        """The body cannot be taken as it came; the transaction is over."""
        refused = Refused(_FAULTS[fault], fault.value, {"received_bytes": received_bytes})
        reply = self.refuse("data", refused, **self._names())
        self.reset()
        return reply

    async def message(self, body: bytes, *, is_gone: Callable[[], bool]) -> Reply:
        """Hand a complete message over; `is_gone` tells whether the client hung up meanwhile. The work is never
        cancelled by that: what is committed stays, and a retry is recognised."""
        if self._mail is None:
            return Reply(503, "5.5.1", "Send MAIL first")
        envelope = self._envelope(self._mail, body)
        known = self._reception.unacknowledged.recall(envelope, self._reception.monotonic())
        if known:
            self.reset()
            return known
        reply = await self._receive(envelope)
        if reply.is_positive:
            self._accepted()
        if reply.is_positive and is_gone():
            self._reception.unacknowledged.remember(envelope, reply, self._reception.monotonic())
        self._end(accepted=reply.is_positive)
        return reply

    async def _receive(self, envelope: Envelope) -> Reply:
        work = self._gatekeeper.receive(self.session, envelope)
        outcome = await self._ask(work, self._reception.timeouts.receive_s)
        return self.refuse("data", outcome, **self._names()) if isinstance(outcome, Refused) else outcome

    def _accepted(self) -> None:
        self.session.messages += 1
        self.observe("accepted")

    def _envelope(self, mail: Mail, body: bytes) -> Envelope:
        login = self.session.login
        return Envelope(
            id=self._reception.next_id(),
            customer_id=login.customer_id if login else None,
            credential_id=login.credential_id if login else None,
            sender=mail.sender,
            recipients=list(self._recipients.values()),
            body=body,
            received_at=self._reception.utc_now(),
            client_ip=self.session.client_ip,
            helo=self.session.helo,
            tls=self.session.tls,
            eight_bit=mail.eight_bit,
            smtputf8=mail.smtputf8,
            require_tls=mail.require_tls,
            ret=mail.ret,
            envid=mail.envid,
            with_protocol=with_protocol(self.session, mail),
        )

    def _names(self) -> dict[str, str]:
        sender = str(self._mail.sender or "") if self._mail else ""
        return {"sender": sender, "recipient": ", ".join(map(str, list(self._recipients)[:3]))}

    # ---- ends and errors

    def reset(self) -> None:
        """RSET, a new greeting, or the end of the session."""
        self._end(accepted=False)

    def _end(self, *, accepted: bool) -> None:
        if self._mail is not None:
            self._tell(self._gatekeeper.transaction_ended, accepted)
        self._mail = None
        self._recipients = {}
        self._refused_recipients = 0
        self.chunks = None

    def refuse(self, stage: str, refused: Refused, sender: str = "", recipient: str = "") -> Reply:
        """Record a refusal and return its reply."""
        self._tell(self._gatekeeper.record_refusal, stage, refused, sender, recipient)
        return refused.reply

    def observe(self, stage: str) -> None:
        self._tell(self._gatekeeper.observe, stage)

    def trouble(self, error: BaseException) -> Refused:
        """The answer to what nobody expected; the log has the story under the same id."""
        error_id = secrets.token_hex(4)
        log.error("session %s: unexpected error %s", self.session.id, error_id, exc_info=error)
        reply = Reply(451, "4.3.0", f"Temporary failure, please try again later (error {error_id})")
        return Refused(reply, "internal", {"error_id": error_id})

    def _tell(self, listener: Callable[..., None], *details: Any) -> None:
        try:
            listener(self.session, *details)
        except Exception as error:  # noqa: BLE001 - book-keeping must not decide about mail
            self.trouble(error)

    async def _ask(
        self, work: Awaitable[Result], timeout_s: float, trouble: Reply | None = None
    ) -> Result | Refused:
        try:
            async with asyncio.timeout(timeout_s):
                return await work
        except Exception as error:  # noqa: BLE001 - the boundary of this step: unknown is temporary
            refused = self.trouble(error)
            return Refused(trouble, refused.reason, refused.detail) if trouble else refused


def with_protocol(session: Session, mail: Mail) -> str:
    """The word behind `with` in our Received header (RFC 3848, RFC 6531 4.3)."""
    if not session.extended:
        return "SMTP"
    base = "UTF8SMTP" if mail.smtputf8 else "ESMTP"
    by_credential = session.login is not None and session.login.credential_id is not None
    return base + ("S" if session.tls else "") + ("A" if by_credential else "")


_BAD_LOGIN = Reply(535, "5.7.8", "Authentication credentials invalid")
_TOO_BIG = Reply(552, "5.3.4", "Message is larger than we take")
_FAULTS = {
    Fault.BARE: Reply(550, "5.6.0", "Message contains bare CR, bare LF or NUL"),
    Fault.LINE: Reply(550, "5.6.0", "Message contains a line that is too long"),
    Fault.TOO_BIG: _TOO_BIG,
    Fault.NO_ROOM: Reply(452, "4.3.1", "Not enough memory for this message now, try again later"),
}
