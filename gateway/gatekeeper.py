"""What the accept step asks of the rest of the relay: who may log in, what may be sent, and how it is received."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from gateway import pipeline, store
from gateway.accept import Login, Session
from gateway.admission import Admission
from gateway.crypto import secret_matches
from gateway.db import Database
from gateway.fuse import Fuse
from gateway.rules.policy import CredentialPolicy, CustomerPolicy, Snapshot, TlsRulePolicy
from gateway.rules.reasons import refuse
from gateway.rules.tls_policy import rules_for
from gateway.rules.types import (
    Address,
    Category,
    Envelope,
    EnvelopeRecipient,
    OnFailure,
    Refused,
    Reply,
    TraceEntry,
)
from gateway.snapshot import SnapshotSource
from gateway.work import Context

log = logging.getLogger(__name__)

# At which stage of the set-up page a refusal is shown: the one that was not reached.
SETUP_STAGES = {
    "connect": "connected",
    "auth": "login",
    "mail": "sender",
    "rcpt": "accepted",
    "data": "accepted",
}

LOGIN_FAILED = Refused(Reply(535, "5.7.8", "Authentication credentials invalid"), "login")
NOT_FROM_HERE = Refused(Reply(535, "5.7.8", "This login may not be used from your address"), "login_network")
NOT_READY = Refused(Reply(454, "4.7.0", "Temporary authentication failure"), "internal")
LOGIN_NOTED = timedelta(seconds=10)  # how long the last use that was written is near enough
MAX_NOTED = 10_000


@dataclass(slots=True)
class _Open:
    """What a session's running transaction has gathered: its trace, and the token it may have to give back."""

    trace: list[TraceEntry] = field(default_factory=list)
    token_limit: int | None = None


class RelayGatekeeper:
    """The Gatekeeper of a relay process (see `gateway.accept.Gatekeeper`)."""

    def __init__(
        self,
        way: pipeline.Way,
        database: Database,
        source: SnapshotSource,
        credential_key: bytes,
        utc_now: Callable[[], datetime],
        fuse: Fuse | None = None,
        admission: Admission | None = None,
    ) -> None:
        self._fuse = fuse
        self._admission = admission
        self._way = way
        self._database = database
        self._source = source
        self._key = credential_key
        self._utc_now = utc_now
        self._background: set[asyncio.Task[Any]] = set()
        self._noted: dict[tuple[int, str], datetime] = {}  # log-ins (credential, address) written lately

    def snapshot(self) -> Snapshot:
        return self._source.current

    async def authenticate(self, session: Session, username: str, secret: str) -> Login | Refused:
        """Constant work for known and unknown names: two HMACs and two comparisons."""
        if self._source.loaded_at is None:
            return NOT_READY
        credential = session.snapshot.credentials.get(username.casefold())
        if not self._secret_fits(credential, secret) or credential is None:
            return LOGIN_FAILED
        refused = self._unusable(session, credential)
        if refused:
            return refused
        self._note_login(credential.id, session.client_ip)
        return Login(credential.customer_id, credential.id, credential.username)

    def _note_login(self, credential_id: int, client_ip: str) -> None:
        """Not each of a server that logs in for every message: all processes write the same row, and wait for it."""
        key, now = (credential_id, client_ip), self._utc_now()
        if key in self._noted and now < self._noted[key] + LOGIN_NOTED:
            return
        if len(self._noted) >= MAX_NOTED:
            self._noted.clear()
        self._noted[key] = now
        self._later(self._database.write(store.note_logins, (credential_id, client_ip, now)))

    def _secret_fits(self, credential: CredentialPolicy | None, secret: str) -> bool:
        current = credential.secret_hash if credential else ""
        previous = credential.previous_secret_hash if credential else ""
        fits_current = secret_matches(secret, current, self._key)
        fits_previous = secret_matches(secret, previous, self._key)
        if credential is None:
            return False
        until = credential.previous_until
        return fits_current or (fits_previous and until is not None and self._utc_now() < until)

    def _unusable(self, session: Session, credential: CredentialPolicy) -> Refused | None:
        if credential.blocked == "revoked":
            return LOGIN_FAILED
        if credential.expires_at is not None and self._utc_now() >= credential.expires_at:
            return LOGIN_FAILED
        client = ipaddress.ip_address(session.client_ip)
        if credential.networks and not any(client in network for network in credential.networks):
            return NOT_FROM_HERE
        customer = session.snapshot.customers[credential.customer_id]
        return refuse("suspended") if customer.suspended else None

    async def check_sender(self, session: Session, sender: Address | None, size_bytes: int) -> Refused | None:
        refused = self._admission.check(size_bytes) if self._admission is not None else None
        if refused is not None:
            return refused
        context = self._context(session)
        refused = await self._way.checker.check_sender(context, sender)
        if refused is None:
            session.notes["open"] = _Open(context.trace, context.customer.rate_limit)
        return refused

    async def check_recipient(
        self, session: Session, sender: Address | None, recipient: EnvelopeRecipient
    ) -> Refused | None:
        customer_id = self._customer(session).id
        if (customer_id, str(recipient.address).lower()) in session.snapshot.suppressed:
            return refuse("suppressed", {"recipient": str(recipient.address)})
        rules = session.snapshot.tls_rules.get(customer_id, ())
        rule, _ = rules_for(rules, sender.domain if sender else "", recipient.address.domain)
        if rule is not None and self._is_known_to_fail(rule):
            return refuse("tls_required", {"rule": rule.id, "recipient": str(recipient.address)})
        return None

    def _is_known_to_fail(self, rule: TlsRulePolicy) -> bool:
        """A rule that rejects need not take mail that cannot leave; others keep it and try."""
        rejects = rule.on_failure is OnFailure.REJECT
        return rejects and rule.failing_until is not None and self._utc_now() < rule.failing_until

    async def receive(self, session: Session, envelope: Envelope) -> Reply:
        context = self._context(session)
        opened: _Open | None = session.notes.get("open")
        context.trace.extend(opened.trace if opened else ())
        started = time.perf_counter()
        reply = await pipeline.receive(self._way, context, envelope, _who(session))
        if reply.is_positive:
            session.notes["accepted"] = envelope.id
            self._count(context, envelope)
            self._way.meters.observe("smg_data_to_250_seconds", seconds=time.perf_counter() - started)
        return reply

    def _count(self, context: Context, envelope: Envelope) -> None:
        """Tell the abuse fuse what was accepted."""
        if self._fuse is not None:
            spam = next((entry.detail for entry in context.trace if entry.step == "spam"), {})
            is_bad = spam.get("category") != Category.CLEAN
            self._fuse.note(envelope.credential_id, len(envelope.recipients), is_bad)

    def transaction_ended(self, session: Session, accepted: bool) -> None:
        opened: _Open | None = session.notes.pop("open", None)
        if accepted or opened is None or opened.token_limit is None or self._way.limiter is None:
            return
        customer_id = self._customer(session).id
        self._later(self._way.limiter.give_back(customer_id, opened.token_limit, self._utc_now()))

    def record_refusal(
        self, session: Session, stage: str, refused: Refused, sender: str, recipient: str
    ) -> None:
        self._way.meters.refused(stage, refused)
        row = refusal_row(self._utc_now(), stage, refused, _who(session), sender, recipient)
        self._later(self._database.write(store.record_refusals, row))
        if refused.reason != "rate_limit":
            self._note_setup(session, stage, str(refused.reply))

    def observe(self, session: Session, stage: str) -> None:
        stages: list[str] = session.notes.setdefault("stages", [])
        if stage in stages:
            return
        stages.append(stage)
        if session.login is not None:
            self._note_setup(session, stage, "")

    def _note_setup(self, session: Session, stage: str, reply: str) -> None:
        """Tell the set-up page how far the customer's server got, if one is being watched."""
        customer = session.snapshot.customers.get(session.login.customer_id) if session.login else None
        if customer is None or customer.watched_until is None or self._utc_now() > customer.watched_until:
            return
        told: int = session.notes.get("told", 0)
        reached: list[str] = session.notes.get("stages", [])
        session.notes["told"] = len(reached)
        rows = [
            (customer.id, session.id, name, session.client_ip, "", _accepted(session, name))
            for name in reached[told:]
        ]
        if reply:
            failed = SETUP_STAGES.get(stage, stage)
            rows.append((customer.id, session.id, failed, session.client_ip, reply, None))
        self._later(self._database.write(store.note_setup, (self._utc_now(), rows)))

    def _context(self, session: Session) -> Context:
        customer = self._customer(session)
        now = self._source.current.customers.get(customer.id)
        if now is None or now.suspended:  # in force at once, also for sessions that began before
            customer = replace(customer, suspended=True)
        return Context(session.snapshot, customer, self._credential(session), self._utc_now())

    def _credential(self, session: Session) -> CredentialPolicy | None:
        """The session's login by the session's policy, but stopped as soon as it is: a stolen login would else go on
        in its old sessions for hours."""
        if session.login is None or session.login.credential_id is None:
            return None
        name = session.login.username.casefold()
        then, now = session.snapshot.credentials[name], self._source.current.credentials.get(name)
        blocked = now.blocked if now is not None and now.id == then.id else "revoked"
        return then if blocked == then.blocked else replace(then, blocked=blocked)

    @staticmethod
    def _customer(session: Session) -> CustomerPolicy:
        if session.login is None:
            raise LookupError("a transaction without a login")
        return session.snapshot.customers[session.login.customer_id]

    def _later(self, work: Coroutine[Any, Any, Any]) -> None:
        """Write something that no reply waits for; a failure is logged by the writer and loses only that note."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._note_done)

    def _note_done(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("a note could not be written", extra={"error": repr(task.exception())})

    async def drain(self) -> None:
        """Wait for notes that are still being written (orderly stop)."""
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)


def _who(session: Session) -> dict[str, Any]:
    """The client's columns of a Refusal row."""
    login = session.login
    return {
        "customer_id": login.customer_id if login else None,
        "credential_id": login.credential_id if login else None,
        "username": login.username[:100] if login else "",
        "client_ip": session.client_ip or None,
        "helo": session.helo[:255],
    }


def refusal_row(
    now: datetime, stage: str, refused: Refused, who: dict[str, Any], sender: str, recipient: str
) -> dict[str, Any]:
    """A Refusal row by attribute name."""
    return {
        "at": now,
        "stage": stage,
        **who,
        "sender": sender[:320],
        "recipient": recipient[:320],
        "code": refused.reply.code,
        "enhanced": refused.reply.enhanced,
        "text": refused.reply.text[:500],
        "reason": refused.reason[:30],
        "detail": refused.detail,
    }


def _accepted(session: Session, stage: str) -> int | None:
    """Which message the last stage of a set-up is about."""
    accepted: int | None = session.notes.get("accepted")
    return accepted if stage == "accepted" else None
