"""Verbs on how gently a destination is treated."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from gateway.control.audit import move_policy_version, record, save_changes
from gateway.models import Shaping


@transaction.atomic
def create(*, actor: str, **values: Any) -> Shaping:
    """A rule for one destination (fields of Shaping). Raises ValidationError."""
    rule = Shaping(**values)
    rule.full_clean()
    rule.save(force_insert=True)
    record(actor, "shaping.create", rule, detail={name: ["", str(value)] for name, value in values.items()})
    move_policy_version()
    return rule


@transaction.atomic
def change(rule: Shaping, *, actor: str, **values: Any) -> list[str]:
    """Save the named fields; returns those that changed. Raises ValidationError."""
    return save_changes(rule, actor, "shaping.change", customer=None, **values)


@transaction.atomic
def remove(rule: Shaping, *, actor: str) -> None:
    """Treat the destination like every other one again."""
    record(actor, "shaping.remove", rule)
    rule.delete()
    move_policy_version()
