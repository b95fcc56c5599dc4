"""Pre-checks of a ticket: what operators look at before they remove anything, stored as evidence with the ticket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from django.utils import timezone

from blacklist.control import drafts, evidence
from blacklist.control.history import SYSTEM, log
from blacklist.models import DelistingTicket
from blacklist.rules.prechecks import Check, check_generic, check_helo, check_ptr, check_spf
from blacklist.rules.tickets import ENDED
from gateway.dns import DnsError, DnsNotFound, Resolver
from gateway.domain_check import Gatherer
from gateway.rules.spf import Needed, evaluate

OpenResolver = Callable[[], Resolver]


def run_pending(open_resolver: OpenResolver) -> int:
    """Pre-check every living ticket that has none yet; returns how many."""
    waiting = DelistingTicket.objects.filter(prechecked_at__isnull=True).exclude(
        state__in=[state.value for state in ENDED]
    )
    count = 0
    for ticket in waiting.select_related("listing__target__gateway", "listing__provider"):
        precheck(ticket, open_resolver)
        count += 1
    return count


def precheck(ticket: DelistingTicket, open_resolver: OpenResolver) -> list[Check]:
    """Look everything up anew and write the draft with it. Look-ups that fail are 'not known', never 'in order'."""
    target = ticket.listing.target
    helo = target.gateway.hostname if target.gateway else ""
    resolver = open_resolver()  # in this thread: the demo's reads the database
    found = _in_thread(lambda: _look(resolver, target.kind, target.value, helo))
    checks = [*found, *evidence.gather(ticket)]
    ticket.prechecks, ticket.prechecked_at = [check.as_json() for check in checks], timezone.now()
    ticket.save(update_fields=["prechecks", "prechecked_at"])
    bad = sum(check.ok is False for check in checks)
    log(ticket, SYSTEM, "precheck", text=f"{len(checks)} checks, {bad} not in order")
    drafts.refresh(ticket)
    return checks


def _in_thread(ask: Callable[[], Any]) -> list[Check]:
    """A loop of its own in a thread of its own: the caller may already be inside of one."""
    results: list[list[Check]] = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(ask())), name="precheck")
    thread.start()
    thread.join()
    return results[0] if results else [Check("dns", None, "The look-ups failed.")]


async def _look(resolver: Resolver, kind: str, value: str, helo: str) -> list[Check]:
    if kind == "domain":
        return await _domain(resolver, value)
    names = await _ptr(resolver, value)
    forward = {name: await _addresses(resolver, name) for name in (names or ())[:5]}
    ptr = check_ptr(value, names, forward)
    checks = [ptr, check_generic(value, ptr.value)]
    if helo:
        checks += [
            check_helo(helo, ptr.value),
            await _spf(resolver, helo, value),
            await _mailboxes(resolver, helo),
        ]
    return checks


async def _domain(resolver: Resolver, domain: str) -> list[Check]:
    return [await _mailboxes(resolver, domain)]


async def _ptr(resolver: Resolver, address: str) -> tuple[str, ...] | None:
    try:
        return (await resolver.ptr(address)).texts
    except DnsNotFound:
        return ()
    except DnsError:
        return None


async def _addresses(resolver: Resolver, name: str) -> tuple[str, ...]:
    found: list[str] = []
    for ask in (resolver.a, resolver.aaaa):
        try:
            found += (await ask(name)).addresses
        except DnsError:
            continue
    return tuple(found)


async def _spf(resolver: Resolver, domain: str, address: str) -> Check:
    gatherer = Gatherer(resolver)
    while True:
        try:
            return check_spf(domain, address, evaluate(gatherer.facts, domain, address).result)
        except Needed as needed:
            await gatherer.ask([needed.question])


async def _mailboxes(resolver: Resolver, domain: str) -> Check:
    """That postmaster@ and abuse@ are read only a person can say; that mail can reach them at all can be asked."""
    text = f"Check that postmaster@{domain} and abuse@{domain} are read."
    try:
        records = (await resolver.mx(domain)).records
        if records or await _addresses(resolver, domain):
            return Check("mailboxes", None, text, domain)
    except DnsNotFound:
        pass
    except DnsError:
        return Check("mailboxes", None, f"The mail servers of {domain} could not be asked. {text}", domain)
    return Check("mailboxes", False, f"{domain} takes no mail: postmaster@ and abuse@ do not work.", domain)
