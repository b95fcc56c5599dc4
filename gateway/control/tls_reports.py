"""The daily TLS reports (RFC 8460) to the domains that ask for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.conf import settings
from django.utils import timezone

from gateway.control.domain_checks import demo_zone
from gateway.control.mail import submit_own_mail
from gateway.dns import Resolver
from gateway.models import TlsCount
from gateway.rules.address import AddressError
from gateway.rules.tls_report import PolicyTexts, Reporter, SessionCount, policies, report_json, report_mail
from gateway.tls.mta_sts import StsPolicies
from gateway.tls.tls_rpt import policy_texts, wanted_by

log = logging.getLogger(__name__)

ORGANIZATION = "Secure Mail Gateway"
KEEP = timedelta(days=35)
PARALLEL = 20


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A domain that wants reports, with what its policies say."""

    addresses: tuple[str, ...]
    texts: dict[str, PolicyTexts]


def send_due(now: datetime | None = None) -> str:
    """Report every finished day (UTC) that was not reported; run by the schedule once a day. Returns what happened.

    A day's rows are marked before its mails are queued: a crash in between costs a report, never sends it twice.
    """
    now = now or timezone.now()
    today = now.astimezone(UTC).date()
    TlsCount.objects.filter(day__lt=today - KEEP).delete()
    due = TlsCount.objects.filter(day__lt=today, reported_at=None).order_by("day", "policy_domain", "pk")
    counts = list(due)
    subscribers = asyncio.run(_subscribers(counts, now))
    TlsCount.objects.filter(pk__in=[row.pk for row in counts]).update(reported_at=now)
    sent = sum(_send(day, domain, rows, subscribers[domain], now) for day, domain, rows in _grouped(counts))
    return f"{sent} TLS reports"


def _grouped(counts: Iterable[TlsCount]) -> list[tuple[date, str, list[TlsCount]]]:
    groups: dict[tuple[date, str], list[TlsCount]] = {}
    for row in counts:
        groups.setdefault((row.day, row.policy_domain), []).append(row)
    return [(day, domain, rows) for (day, domain), rows in groups.items()]


async def _subscribers(counts: Sequence[TlsCount], now: datetime) -> dict[str, Subscriber]:
    """Ask each domain once whether it wants reports."""
    resolver = Resolver(settings.SMG.nameservers, static=demo_zone())
    sts = StsPolicies.from_config(settings.SMG, resolver, lambda: now)
    hosts: dict[str, set[str]] = {}
    for row in counts:
        hosts.setdefault(row.policy_domain, set()).add(row.mx)
    few = asyncio.Semaphore(PARALLEL)

    async def ask(domain: str) -> Subscriber:
        async with few:
            addresses = await wanted_by(resolver, domain)
            port = settings.SMG.delivery_port
            texts = await policy_texts(resolver, sts, domain, hosts[domain], port) if addresses else {}
        return Subscriber(addresses, texts)

    found = await asyncio.gather(*(ask(domain) for domain in hosts))
    return dict(zip(hosts, found, strict=True))


def _send(day: date, domain: str, rows: Sequence[TlsCount], subscriber: Subscriber, now: datetime) -> int:
    """Queue one day's report of one domain; returns the number of mails."""
    if not subscriber.addresses:
        return 0
    host = settings.SMG.hostname
    reporter = Reporter(ORGANIZATION, host, f"postmaster@{host}")
    sessions = (SessionCount(domain, row.policy_type, row.result, row.mx, row.sessions) for row in rows)
    report = report_json(day, domain, policies(sessions, subscriber.texts), reporter)
    return sum(
        _queue(report_mail(day, domain, address, report, reporter, now), address, reporter)
        for address in subscriber.addresses
    )


def _queue(raw: bytes, address: str, reporter: Reporter) -> int:
    try:
        submit_own_mail(sender=reporter.contact, recipients=[address], raw=raw)
    except AddressError:
        log.warning("a domain wants TLS reports at what is no address", extra={"address": address})
        return 0
    return 1
