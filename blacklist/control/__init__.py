"""The doors of blacklist monitoring.

Writing: every change is a verb in one of these modules, in one transaction, with a line in the ticket's history or an
audit entry. What others may call:

    apply_providers(rows), apply_targets(rows)     the declarative set-up
    ensure_schedules()                             the clock
    report_reply(gateway, destination, text, at)   a delivery that names a list
    on_event(callback)                             be told of alerts (webhooks)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blacklist.control.events import on_event

if TYPE_CHECKING:
    from datetime import datetime

    from blacklist.models import Listing

__all__ = ["apply_providers", "apply_targets", "ensure_schedules", "on_event", "report_reply"]


def apply_providers(
    rows: list[dict[str, Any]], *, actor: str = "command line", check: bool = False
) -> list[str]:
    """See control.providers.apply_providers."""
    from blacklist.control.providers import apply_providers as apply

    return apply(rows, actor=actor, check=check)


def apply_targets(
    rows: list[dict[str, Any]], *, actor: str = "command line", check: bool = False
) -> list[str]:
    """See control.targets.apply_targets."""
    from blacklist.control.targets import apply_targets as apply

    return apply(rows, actor=actor, check=check)


def ensure_schedules() -> None:
    """See control.schedules.ensure_schedules."""
    from blacklist.control.schedules import ensure_schedules as ensure

    ensure()


def report_reply(gateway_name: str, destination: str, text: str, at: datetime) -> Listing | None:
    """See control.replies.report_reply."""
    from blacklist.control.replies import report_reply as report

    return report(gateway_name, destination, text, at)
