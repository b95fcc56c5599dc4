"""The check step: sender domain, the customer's right to the sender, limits, viruses, spam.

Each check is one function that returns evidence or raises Refusal; `Checker` runs them in order, times them and keeps
a trace. A check that cannot find out refuses for now (451): an unknown error is never a pass.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from gateway.dns import DnsFailure, Resolver, sender_domain_resolves
from gateway.limits import RateLimiter
from gateway.rules import headers, ownership
from gateway.rules.policy import CustomerPolicy
from gateway.rules.reasons import refuse
from gateway.rules.spam import Score
from gateway.rules.types import Address, Category, Envelope, Refused, TraceEntry, Verdict
from gateway.scanners.clamd import Scan, ScannerDown
from gateway.work import Context

log = logging.getLogger(__name__)

MAX_RECEIVED = 100


class Refusal(Exception):
    """A check's no, on its way to the caller."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.refused = refused


class Judge(Protocol):
    """Scores one message; never raises, degrades instead."""

    async def __call__(self, envelope: Envelope, customer: CustomerPolicy) -> Score: ...


Check = Callable[[], Awaitable[dict[str, Any]]]
Notable = Callable[[int], dict[str, Any] | None]
"""What is unusual just now about a login (by id): {signal: [now, usual]}, see rules/behaviour.py; None: nothing."""


class Checker:
    """All checks with what they need. `scan` is None when no scanner is configured."""

    def __init__(
        self,
        resolver: Resolver,
        limiter: RateLimiter | None,
        scan: Scan | None,
        judge: Judge,
        notable: Notable = lambda _credential_id: None,
    ) -> None:
        self._resolver = resolver
        self._limiter = limiter
        self._scan = scan
        self._judge = judge
        self._notable = notable

    async def check_sender(self, context: Context, sender: Address | None) -> Refused | None:
        """Everything that can be said at MAIL FROM. The null sender passes all but the account and the limit."""
        try:
            await self._run(context, "account", lambda: account(context))
            if sender is not None:
                await self._run(context, "sender_domain", lambda: self._sender_domain(sender))
                await self._run(context, "ownership", lambda: own_sender(context, sender))
            await self._run(context, "rate", lambda: self._rate(context))
        except Refusal as refusal:
            return refusal.refused
        return None

    async def check_message(self, context: Context, envelope: Envelope) -> Verdict:
        """Everything that needs the message itself."""
        try:
            authors = await self._run(context, "authors", lambda: own_authors(context, envelope))
            await self._run(context, "loop", lambda: no_loop(envelope))
            await self._run(context, "virus", lambda: self._virus(envelope))
        except Refusal as refusal:
            return Verdict(trace=tuple(context.trace), refused=refusal.refused)
        score = await self._score(context, envelope)
        self._note_behaviour(context)
        return _accepted(context, score, authors["from"])

    async def _run(self, context: Context, step: str, check: Check) -> dict[str, Any]:
        """One check, timed and traced; whatever goes wrong in it is a 'not now'."""
        started = time.perf_counter()
        outcome, detail = "pass", {}
        try:
            detail = await check()
        except Refusal as refusal:
            outcome, detail = _refusal_trace(refusal.refused)
            raise
        except Exception as error:
            log.exception("check failed", extra={"check": step})
            outcome, detail = "defer", {"reason": "internal"}
            raise Refusal(refuse("internal")) from error
        finally:
            context.trace.append(TraceEntry(step, outcome, detail, (time.perf_counter() - started) * 1000))
        return detail

    async def _sender_domain(self, sender: Address) -> dict[str, Any]:
        try:
            resolves = await sender_domain_resolves(self._resolver, sender.domain)
        except DnsFailure as error:
            raise Refusal(refuse("dns", {"domain": sender.domain, "problem": error.kind})) from error
        if not resolves:
            raise Refusal(refuse("sender_domain", {"domain": sender.domain}))
        return {"domain": sender.domain}

    async def _rate(self, context: Context) -> dict[str, Any]:
        limit = context.customer.rate_limit
        if limit is None or self._limiter is None or context.dry_run:
            return {"limit": limit}
        if not await self._limiter.take(context.customer.id, limit, context.now):
            raise Refusal(refuse("rate_limit", {"limit": limit}))
        return {"limit": limit}

    async def _virus(self, envelope: Envelope) -> dict[str, Any]:
        if self._scan is None:
            return {"scanned": False}
        try:
            virus = await self._scan(envelope.body)
        except ScannerDown as error:
            log.warning("scanner down", extra={"problem": str(error)})
            raise Refusal(refuse("scanner", {"problem": str(error)})) from error
        if virus:
            raise Refusal(refuse("virus", {"virus": virus}, virus=virus))
        return {"scanned": True}

    def _note_behaviour(self, context: Context) -> None:
        """Unusual traffic of the login is part of the evidence, though what stops it is the fuse (`gateway.fuse`)."""
        unusual = self._notable(context.login.id) if context.login is not None else None
        if unusual:
            context.trace.append(TraceEntry("behaviour", "info", unusual))

    async def _score(self, context: Context, envelope: Envelope) -> Score:
        started = time.perf_counter()
        score = await self._judge(envelope, context.customer)
        detail = {
            "score": round(score.value, 1),
            "category": score.category,
            "kind": score.kind,
            "engine": score.engine,
            "degraded": list(score.degraded),
            "threshold": context.customer.thresholds.suspect,
        }
        context.trace.append(TraceEntry("spam", "info", detail, (time.perf_counter() - started) * 1000))
        return score


def _refusal_trace(refused: Refused) -> tuple[str, dict[str, Any]]:
    outcome = "refuse" if refused.reply.is_permanent else "defer"
    return outcome, {**refused.detail, "reason": refused.reason, "reply": str(refused.reply)}


def _accepted(context: Context, score: Score, header_from: str) -> Verdict:
    return Verdict(
        trace=tuple(context.trace),
        category=Category(score.category),
        score=score.value,
        kind=score.kind or "",
        symbols=tuple((symbol.name, round(symbol.share, 2)) for symbol in score.symbols),
        engine=score.engine,
        header_from=header_from,
        features=score.features,
    )


async def account(context: Context) -> dict[str, Any]:
    """The customer must not be suspended and the login not stopped since the session began."""
    if context.customer.suspended:
        raise Refusal(refuse("suspended"))
    blocked = context.login.blocked if context.login is not None else ""
    if blocked:
        raise Refusal(refuse("fuse" if blocked == "fuse" else "revoked"))
    return {"customer": context.customer.slug, "login": context.login.username if context.login else ""}


async def own_sender(context: Context, sender: Address) -> dict[str, Any]:
    refused = ownership.check_sender(context.snapshot, context.customer.id, context.login, sender)
    if refused:
        raise Refusal(refused)
    return {"sender": str(sender)}


async def own_authors(context: Context, envelope: Envelope) -> dict[str, Any]:
    try:
        found = headers.author_headers(envelope.body)
    except headers.HeadError as error:
        raise Refusal(refuse("bad_head", {"problem": str(error)})) from error
    refused, author = ownership.check_authors(context.snapshot, context.customer.id, context.login, found)
    if refused:
        raise Refusal(refused)
    return {"from": author}


async def no_loop(envelope: Envelope) -> dict[str, Any]:
    hops = headers.count_received(envelope.body)
    if hops > MAX_RECEIVED:
        raise Refusal(refuse("loop", {"received": hops}))
    return {"received": hops}
