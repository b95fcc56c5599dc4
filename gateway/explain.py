"""The dry run: every check and decision for a message, by the relay's own code; nothing queued, no counter spent."""

from __future__ import annotations

import asyncio
import random
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from gateway.check import Checker
from gateway.config import Config
from gateway.demo import demo_zone
from gateway.dns import Resolver
from gateway.judgement import SpamJudge
from gateway.route import Router
from gateway.rules.address import AddressError, parse_mailbox
from gateway.rules.gateways import choose, usable
from gateway.rules.policy import CredentialPolicy, Snapshot
from gateway.rules.route_types import Hop, Route
from gateway.rules.spam import pool_of
from gateway.rules.types import (
    Address,
    Envelope,
    EnvelopeRecipient,
    Refused,
    StepFailed,
    TlsLevel,
    TraceEntry,
    Verdict,
)
from gateway.scanners import clamd
from gateway.snapshot import load_snapshot
from gateway.store import load_learned
from gateway.work import Context, Mail, OpenRecipient, Parcel, split_by_domain


class ExplainError(ValueError):
    """The question itself makes no sense: unknown login, no address, no recipient."""


def explain(raw: bytes, *, sender: str, recipients: list[str], credential: str) -> dict[str, Any]:
    """What the gateway would do with this message, sent by this login (synchronous; asks DNS and the scanners).

    Returns {"accepted": bool, "reply": str, "trace": [{step, outcome, detail, ms}], "category", "score", "symbols",
    "pool", "dkim": {"domain", "selector"} or None, "routes": [{"recipients", "domain", "gateway", "hops", "tls",
    "problem"}], "limit": {"rate_limit"}}. Raises ExplainError.
    """
    snapshot = load_snapshot()
    login = snapshot.credentials.get(credential.casefold())
    if login is None:
        raise ExplainError(f"there is no login {credential!r}")
    envelope = _envelope(raw, sender, recipients, login)
    judge = SpamJudge(settings.SMG, None)
    judge.load(load_learned())
    return asyncio.run(_explain(settings.SMG, snapshot, login, envelope, judge))


def _envelope(raw: bytes, sender: str, recipients: list[str], login: CredentialPolicy) -> Envelope:
    body = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")  # files have bare line feeds, SMTP has not
    try:
        parsed = [EnvelopeRecipient(parse_mailbox(text)) for text in recipients]
        author: Address | None = parse_mailbox(sender) if sender.strip("<> ") else None
    except AddressError as error:
        raise ExplainError(str(error)) from error
    if not parsed:
        raise ExplainError("name at least one recipient")
    now = datetime.now(UTC)
    return Envelope(
        0, login.customer_id, login.id, author, parsed, body, now, smtputf8=not str(author or "").isascii()
    )


async def _explain(
    config: Config, snapshot: Snapshot, login: CredentialPolicy, envelope: Envelope, judge: SpamJudge
) -> dict[str, Any]:
    resolver = Resolver(config.nameservers, static=demo_zone() if config.demo else None)
    scan = clamd.scanner(config.clamd)
    try:
        return await _dry_run(
            Checker(resolver, None, scan, judge), resolver, config, snapshot, login, envelope
        )
    finally:
        if scan is not None:
            scan.close()


async def _dry_run(
    checker: Checker,
    resolver: Resolver,
    config: Config,
    snapshot: Snapshot,
    login: CredentialPolicy,
    envelope: Envelope,
) -> dict[str, Any]:
    customer = snapshot.customers[login.customer_id]
    context = Context(snapshot, customer, login, envelope.received_at, dry_run=True)
    refused = await checker.check_sender(context, envelope.sender)
    if refused is not None:
        return _refused(context, refused)
    verdict = await checker.check_message(context, envelope)
    if verdict.refused is not None:
        return _refused(context, verdict.refused)
    routes = [
        await _route(snapshot, Router(resolver, config), parcel)
        for parcel in split_by_domain(_mail(envelope, verdict), _recipients(envelope))
    ]
    return _accepted(snapshot, context, verdict, envelope, routes)


def _refused(context: Context, refused: Refused) -> dict[str, Any]:
    return {
        "accepted": False,
        "reply": str(refused.reply),
        "reason": refused.reason,
        "trace": [entry.as_json() for entry in context.trace],
        "limit": {"rate_limit": context.customer.rate_limit},
    }


def _accepted(
    snapshot: Snapshot, context: Context, verdict: Verdict, envelope: Envelope, routes: list[dict[str, Any]]
) -> dict[str, Any]:
    domain = verdict.header_from.rpartition("@")[2] or (envelope.sender.domain if envelope.sender else "")
    key = snapshot.dkim_key_for(domain)
    trace: list[TraceEntry] = context.trace
    return {
        "accepted": True,
        "reply": "250 2.0.0 Ok: would be queued",
        "trace": [entry.as_json() for entry in trace],
        "category": verdict.category.value,
        "score": round(verdict.score, 2),
        "kind": verdict.kind,
        "symbols": [{"name": name, "share": share} for name, share in verdict.symbols],
        "threshold": asdict(context.customer.thresholds),
        "pool": pool_of(verdict.category).value,
        "dkim": {"domain": key.domain, "selector": key.selector} if key else None,
        "routes": routes,
        "limit": {"rate_limit": context.customer.rate_limit},
    }


def _mail(envelope: Envelope, verdict: Verdict) -> Mail:
    return Mail(
        id=0,
        kind="customer",
        customer_id=envelope.customer_id,
        sender=envelope.sender,
        pool=pool_of(verdict.category),
        category=verdict.category,
        received_at=envelope.received_at,
        size_bytes=envelope.size_bytes,
        body=envelope.body,
        header_from=verdict.header_from,
    )


def _recipients(envelope: Envelope) -> list[OpenRecipient]:
    return [
        OpenRecipient(place, item.address, 0, envelope.received_at)
        for place, item in enumerate(envelope.recipients)
    ]


async def _route(snapshot: Snapshot, router: Router, parcel: Parcel) -> dict[str, Any]:
    told: dict[str, Any] = {
        "domain": parcel.domain,
        "recipients": [str(recipient.address) for recipient in parcel.recipients],
        "gateway": None,
        "hops": [],
        "problem": "",
    }
    candidates = usable(snapshot, parcel.mail.pool, parcel.domain, parcel.mail.received_at, None)
    gateway = choose(candidates, random.Random(0))  # noqa: S311 - any of them would do
    if gateway is None:
        return {**told, "problem": f"no usable gateway in the {parcel.mail.pool} pool: the mail would wait"}
    told["gateway"] = {"name": gateway.name, "pool": gateway.pool.value, "hostname": gateway.hostname}
    told["candidates"] = sorted(candidate.name for candidate in candidates)
    try:
        route = await router.route(snapshot, parcel, gateway)
    except StepFailed as failed:
        return {**told, "problem": str(failed.reply)}
    return {**told, "hops": _hops(route)}


def _certificate(hop: Hop, domain: str) -> str:
    """Which certificate passes, and why that one; '' when none is looked at."""
    if hop.tls.fingerprint:
        return f"the pinned one, {hop.tls.fingerprint}"
    if hop.tls.level is TlsLevel.DANE:
        return "one that a TLSA record of the host matches"
    if hop.tls.level is not TlsLevel.VERIFY:
        return ""
    roles = {domain: "the recipient's domain", hop.host: "the MX host"}
    names = hop.tls.names or (hop.host,)
    return "for " + " or ".join(f"{name} ({roles.get(name, 'the next hop')})" for name in names)


def _hops(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "host": hop.host,
            "port": hop.port,
            "addresses": list(hop.addresses),
            "tls": {
                "level": hop.tls.level.value,
                "source": hop.tls.source,
                "blocked": hop.tls.blocked,
                "certificate": _certificate(hop, route.destination),
            },
        }
        for hop in route.hops
    ]
