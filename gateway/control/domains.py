"""Verbs on sender domains: add, prove, keep the result of a check, remove.

A domain counts only once it is proven, and a proven domain has one customer. It is proven by the ownership record in
the DNS, or by support's word. What the DNS has proven the DNS can take back: when the record is gone for
GRACE, without the DNS itself being at fault, the proof ends.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.control.audit import move_policy_version, record
from gateway.models import Customer, Domain
from gateway.rules.domain_check import OWNERSHIP, CheckResult
from gateway.rules.domain_names import AddressError, parse_domain

BY_DNS = "dns"
GRACE = timedelta(days=14)
TAKEN = _("Another customer has proven this domain. If it is yours, ask support.")
MAX_DOMAINS = 1000


@transaction.atomic
def add(customer: Customer, name: str, *, actor: str) -> Domain:
    """Enter a domain; it still has to be proven. Entering it again returns the one that is there.

    International names become A-labels. Raises ValidationError.
    """
    canonical = _canonical(name)
    there = Domain.objects.filter(customer=customer, name=canonical).first()
    if there is not None:
        return there
    if customer.domains.count() >= MAX_DOMAINS:
        raise ValidationError({"name": _("That are more domains than we manage here. Ask support.")})
    domain = Domain(customer=customer, name=canonical, next_check_at=timezone.now())
    domain.full_clean()
    domain.save(force_insert=True)
    record(actor, "domain.add", domain, customer=customer)
    return domain


@transaction.atomic
def remove(domain: Domain, *, actor: str) -> None:
    """Forget the domain with its DKIM keys; mail from it is refused from now on."""
    record(
        actor,
        "domain.remove",
        domain,
        customer=domain.customer,
        detail={"proven": [str(domain.is_verified), ""]},
    )
    domain.delete()
    move_policy_version()


@transaction.atomic
def verify(domain: Domain, *, actor: str, by: str = BY_DNS) -> bool:
    """The domain is proven: `by` 'dns' or the person who vouches. True if something changed.

    Raises ValidationError (code 'taken') when another customer has proven it.
    """
    if domain.is_verified:
        return False
    if Domain.objects.filter(name=domain.name, verified_at__isnull=False).exclude(pk=domain.pk).exists():
        raise ValidationError(TAKEN, code="taken")
    domain.verified_at, domain.verified_by = timezone.now(), by[:100]
    domain.save(update_fields=["verified_at", "verified_by"])
    record(actor, "domain.verify", domain, customer=domain.customer, detail={"by": ["", by]})
    move_policy_version()
    return True


@transaction.atomic
def unverify(domain: Domain, *, actor: str, reason: str) -> bool:
    """Take the proof back. True if something changed."""
    if not domain.is_verified:
        return False
    domain.verified_at, domain.verified_by = None, ""
    domain.save(update_fields=["verified_at", "verified_by"])
    record(actor, "domain.unverify", domain, customer=domain.customer, detail={"reason": ["", reason]})
    move_policy_version()
    return True


@transaction.atomic
def keep_check(domain: Domain, result: CheckResult, *, now: datetime, actor: str = "system") -> str:
    """Store what a check found and draw the conclusions for the proof.

    Returns 'verified', 'unverified', 'taken' or '' (nothing about the proof changed).
    """
    domain.records, domain.health = result.as_json(), result.health
    domain.checked_at, domain.next_check_at = now, now + timedelta(minutes=next_check_min(domain, now))
    domain.save(update_fields=["records", "health", "checked_at", "next_check_at"])
    return _conclude(domain, result, now, actor)


def next_check_min(domain: Domain, now: datetime) -> int:
    """Often while somebody is setting it up, twice a day later, ever rarer for what was given up."""
    age = now - domain.created_at
    if domain.is_verified:
        return 12 * 60 if domain.health != Domain.Health.BROKEN else 60
    return 5 if age < timedelta(hours=2) else 60 if age < timedelta(days=3) else 24 * 60


def _conclude(domain: Domain, result: CheckResult, now: datetime, actor: str) -> str:
    ownership = result.records[OWNERSHIP]
    if ownership.state == "good" and not domain.is_verified:
        try:
            verify(domain, actor=actor)
        except ValidationError:
            return "taken"
        return "verified"
    lost: Any = ownership.lost_since
    if domain.is_verified and domain.verified_by == BY_DNS and lost and now - lost > GRACE:
        unverify(domain, actor="system", reason=f"{ownership.name} is gone since {lost:%Y-%m-%d}")
        return "unverified"
    return ""


def _canonical(name: str) -> str:
    text = name.strip().rstrip(".").removeprefix("@")
    try:
        canonical = parse_domain(text)
    except AddressError as error:
        message = _("“%(value)s” is not a domain name like example.com.")
        raise ValidationError({"name": ValidationError(message, params={"value": name[:100]})}) from error
    if canonical.startswith("["):
        raise ValidationError({"name": _("An address is not a domain.")})
    return canonical
