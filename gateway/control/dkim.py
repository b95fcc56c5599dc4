"""Verbs on DKIM keys: a key's life from the customer's request to its end.

requested -> publishing (key made, the record must appear in the DNS) -> active (signs) -> retiring (another one signs,
the record is still needed for mail under way) -> revoked. A key is switched on only when the public DNS shows its
record; with the CNAME kind the customer's record points into the operator's zone, so that later keys need nothing from
the customer. The private key is made here, stored encrypted, and never leaves.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway import crypto
from gateway.control.audit import move_policy_version, record
from gateway.models import DkimKey, Domain
from gateway.sign import generate_key

State = DkimKey.State
OPEN = (State.REQUESTED, State.PUBLISHING)
ROTATE_AFTER = timedelta(days=365)
CNAME_SELECTORS = ("smgc1", "smgc2")
IN_USE = (State.PUBLISHING, State.ACTIVE, State.RETIRING)
SELECTORS = tuple(f"smg{number}" for number in range(1, 1000))


@transaction.atomic
def request(domain: Domain, *, actor: str, kind: str = DkimKey.Kind.TXT, note: str = "") -> DkimKey:
    """Ask for a key (the first one, or the next one). Returns the open request when there is one already.

    Raises ValidationError when the domain is not proven.
    """
    if not domain.is_verified:
        raise ValidationError(_("Prove the domain first."), code="not_verified")
    there = domain.dkim_keys.filter(state__in=OPEN).first()
    if there is not None:
        return there
    key = DkimKey(domain=domain, kind=kind, note=note[:300], requested_by=actor)
    key.full_clean()
    key.save(force_insert=True)
    record(actor, "dkim.request", domain, customer=domain.customer, detail={"kind": ["", kind]})
    return key


@transaction.atomic
def approve(key: DkimKey, *, actor: str, selector: str = "") -> bool:
    """Make the key pair; the record can be published from now on. True if something changed. Raises ValidationError."""
    if not _move(key, State.REQUESTED, State.PUBLISHING):
        return False
    pem, public = generate_key()
    key.selector = selector.strip().lower() or _selector_for(key)
    key.private_key, key.public_key = crypto.encrypt(pem.decode()), public
    key.approved_at, key.approved_by = timezone.now(), actor
    key.full_clean()
    key.save(update_fields=["selector", "private_key", "public_key", "approved_at", "approved_by"])
    _record(key, actor, "dkim.approve")
    return True


@transaction.atomic
def decline(key: DkimKey, *, actor: str, reason: str) -> bool:
    """Say no to a request; the reason is shown to the customer. True if something changed. Raises ValidationError."""
    if not reason.strip():
        raise ValidationError({"reason": _("Tell the customer why.")})
    if not _move(key, State.REQUESTED, State.DECLINED):
        return False
    key.problem, key.approved_by = reason.strip()[:300], actor
    key.save(update_fields=["problem", "approved_by"])
    _record(key, actor, "dkim.decline")
    return True


@transaction.atomic
def keep_check(key: DkimKey, *, problem: str, now: datetime) -> None:
    """What the public DNS showed for this key: `problem` '' = the very record is there."""
    key.checked_at, key.problem = now, problem[:300]
    key.save(update_fields=["checked_at", "problem"])


@transaction.atomic
def activate(key: DkimKey, *, actor: str) -> bool:
    """Sign with this key from now on; the one that signed before is retiring. True if something changed.

    Raises ValidationError unless the last check found the record (code 'not_published').
    """
    if key.checked_at is None or key.problem:
        raise ValidationError(_("The public DNS does not show the record yet."), code="not_published")
    now = timezone.now()
    before = key.domain.dkim_keys.filter(state=State.ACTIVE).exclude(pk=key.pk)
    before.update(state=State.RETIRING, retired_at=now)
    if not _move(key, State.PUBLISHING, State.ACTIVE):
        return False
    key.activated_at, key.rotate_at = now, (now + ROTATE_AFTER).date()
    key.save(update_fields=["activated_at", "rotate_at"])
    _record(key, actor, "dkim.activate")
    move_policy_version()
    return True


@transaction.atomic
def revoke(key: DkimKey, *, actor: str, reason: str = "") -> bool:
    """End a key, whatever its state; its private half is destroyed. Mail leaves unsigned when no other key is active.
    True if something changed."""
    if key.state in (State.REVOKED, State.DECLINED):
        return False
    key.state, key.private_key, key.retired_at = State.REVOKED, "", key.retired_at or timezone.now()
    key.problem = reason[:300]
    key.save(update_fields=["state", "private_key", "retired_at", "problem"])
    _record(key, actor, "dkim.revoke")
    move_policy_version()
    return True


def retire_old(now: datetime) -> int:
    """End retiring keys once no mail signed with them can be under way: queue lifetime and a week. Returns a count."""
    until = now - timedelta(seconds=settings.SMG.queue_lifetime_s) - timedelta(days=7)
    old = list(DkimKey.objects.filter(state=State.RETIRING, retired_at__lt=until).select_related("domain"))
    return sum(revoke(key, actor="system") for key in old)


def record_name(key: DkimKey) -> str:
    """Where the customer publishes: 'smg1._domainkey.acme.example'."""
    return f"{key.selector}._domainkey.{key.domain.name}"


def cname_target(key: DkimKey) -> str:
    """Where a CNAME record points: a name in the operator's zone that carries the key's TXT record."""
    return cname_target_of(key.selector, key.domain.name)


def cname_target_of(selector: str, domain: str) -> str:
    """The target of one of a domain's two CNAME names, whether it has a key by now or not."""
    return f"{selector}.{domain}.dkim.{settings.SMG.hostname}"


def record_value(key: DkimKey) -> str:
    """The value of the customer's record: the TXT text, or the CNAME's target."""
    return cname_target(key) if key.kind == DkimKey.Kind.CNAME else key.public_key


def _move(key: DkimKey, before: str, after: str) -> bool:
    if not DkimKey.objects.filter(pk=key.pk, state=before).update(state=after):
        return False
    key.state = after
    return True


def _selector_for(key: DkimKey) -> str:
    """TXT keys take the next free name. CNAME keys alternate between two, so that the customer's two records, published
    once, serve every later key; the name of a key that has ended is free again. Raises ValidationError while both are
    in use."""
    keys = key.domain.dkim_keys.exclude(pk=key.pk)
    if key.kind != DkimKey.Kind.CNAME:
        taken = set(keys.values_list("selector", flat=True))
        return next(selector for selector in SELECTORS if selector not in taken)
    in_use = set(keys.filter(state__in=IN_USE).values_list("selector", flat=True))
    free = [selector for selector in CNAME_SELECTORS if selector not in in_use]
    if not free:
        raise ValidationError(
            _("The key before the present one is still needed for mail under way."), code="in_use"
        )
    keys.filter(selector=free[0]).update(selector="")
    return free[0]


def _record(key: DkimKey, actor: str, action: str) -> None:
    detail = {"selector": ["", key.selector], "state": ["", key.state]}
    record(actor, action, key, customer=key.domain.customer, detail=detail)
