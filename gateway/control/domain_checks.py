"""Verbs that ask the public DNS about a customer's domain and keep what it says."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from gateway import domain_check
from gateway.control import dkim, domains
from gateway.dns import Resolver, StaticZone
from gateway.models import DkimKey, Domain, Gateway
from gateway.rules.domain_check import DKIM_PREFIX, CheckResult, Wanted, WantedKey

PUBLISHED = (DkimKey.State.PUBLISHING, DkimKey.State.ACTIVE, DkimKey.State.RETIRING)
AT_ONCE = 200  # domains of one run of the schedule


def check(domain: Domain, *, actor: str = "system", resolver: Resolver | None = None) -> str:
    """Check a domain now and keep the result; a DKIM key whose record became visible starts to sign.

    Returns what happened to the proof: 'verified', 'unverified', 'taken' or ''. Blocks while the DNS is asked (at most
    some seconds).
    """
    now = timezone.now()
    ask = domain_check.check(
        resolver or make_resolver(), wanted(domain), domain.records, now=now,
        server="demo" if settings.SMG.demo else "", open_to=settings.SMG.private_mx_networks,
    )  # fmt: skip
    result = asyncio.run(ask)
    conclusion = domains.keep_check(domain, result, now=now, actor=actor)
    _keep_keys(domain, result, now)
    return conclusion


def check_due() -> int:
    """Check every domain whose time has come; run by the schedule every five minutes. Returns how many."""
    due = list(Domain.objects.filter(next_check_at__lte=timezone.now()).select_related("customer")[:AT_ONCE])
    for domain in due:
        check(domain)
    dkim.retire_old(timezone.now())
    return len(due)


def may_check(domain: Domain) -> bool:
    """People may ask again after five seconds: a button that is hammered must not hammer the DNS."""
    return domain.checked_at is None or timezone.now() - domain.checked_at > timedelta(seconds=5)


def wanted(domain: Domain) -> Wanted:
    """What the domain's records should say."""
    keys = list(domain.dkim_keys.filter(state__in=PUBLISHED).order_by("id"))
    return Wanted(
        domain=domain.name,
        challenge=domain.challenge,
        spf_host=settings.SMG.spf_host.lower(),
        addresses=gateway_addresses(),
        keys=(*map(_wanted_key, keys), *_spare_names(domain, keys)),
        report_address=domain.customer.alert_email,
    )


def gateway_addresses() -> tuple[str, ...]:
    """The addresses of our gateways, for when the SPF host cannot be asked."""
    pairs = Gateway.objects.values_list("source_ip", "source_ip6")
    return tuple(sorted({address for pair in pairs for address in pair if address}))


def make_resolver() -> Resolver:
    """A resolver with an empty cache: 'check now' means now."""
    return Resolver(settings.SMG.nameservers, static=demo_zone(), timeout_s=1.5, deadline_s=5.0)


def demo_zone() -> StaticZone | None:
    """The demo's domains, which no real DNS knows; None outside of the demo."""
    if not settings.SMG.demo:
        return None
    from gateway.demo_dns import demo_dns

    return demo_dns()


def _wanted_key(key: DkimKey) -> WantedKey:
    target = dkim.cname_target(key) if key.kind == DkimKey.Kind.CNAME else ""
    return WantedKey(key.selector, key.public_key, target)


def _spare_names(domain: Domain, keys: list[DkimKey]) -> list[WantedKey]:
    """CNAME keys alternate between two names; the one without a key should be published together with the other."""
    if not any(key.kind == DkimKey.Kind.CNAME for key in keys):
        return []
    there = {key.selector for key in keys}
    spare = [selector for selector in dkim.CNAME_SELECTORS if selector not in there]
    return [WantedKey(selector, "", dkim.cname_target_of(selector, domain.name)) for selector in spare]


def _keep_keys(domain: Domain, result: CheckResult, now: datetime) -> None:
    for key in domain.dkim_keys.filter(state__in=PUBLISHED).select_related("domain__customer"):
        record = result.records.get(DKIM_PREFIX + key.selector)
        if record is None or record.state == "unknown":
            continue
        problem = record.notes[0][0] if record.notes else ""
        dkim.keep_check(key, problem=problem, now=now)
        if not problem and key.state == DkimKey.State.PUBLISHING:
            dkim.activate(key, actor="system")
