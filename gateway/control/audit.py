"""What all verbs share: the audit entry and the policy version."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F
from django.utils import timezone

from gateway.models import AuditEntry, Customer, PolicyVersion


def record(
    actor: str,
    action: str,
    target: object = "",
    *,
    customer: Customer | None = None,
    detail: dict[str, Any] | None = None,
) -> AuditEntry:
    """One audit entry, in the caller's transaction."""
    return AuditEntry.objects.create(
        actor=actor, action=action, target=str(target)[:300], customer=customer, detail=detail or {}
    )


def move_policy_version() -> None:
    """Tell every relay process to read the policy anew (it polls once a second)."""
    if not PolicyVersion.objects.filter(id=1).update(version=F("version") + 1, changed_at=timezone.now()):
        PolicyVersion.objects.create(id=1)


def save_changes(
    instance: models.Model, actor: str, action: str, *, customer: Customer | None, **values: Any
) -> list[str]:
    """Validate and save the named fields that really change, audit before and after, move the policy version.

    Returns the names of the changed fields (empty: nothing was written).
    """
    changed = {
        name: [getattr(instance, name), value]
        for name, value in values.items()
        if getattr(instance, name) != value
    }
    if not changed:
        return []
    for name, value in values.items():
        setattr(instance, name, value)
    instance.full_clean()
    instance.save(update_fields=list(changed))
    detail = {name: [str(before), str(after)] for name, (before, after) in changed.items()}
    record(actor, action, instance, customer=customer, detail=detail)
    move_policy_version()
    return list(changed)
