"""manage.py tickets [--json] [--open]"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from blacklist.models import DelistingTicket


class Command(BaseCommand):
    help = "Delisting tickets: target, provider, state, opened, closed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true")
        parser.add_argument("--open", action="store_true", help="only those that are not ended")

    def handle(self, *args: Any, **options: Any) -> None:
        tickets = DelistingTicket.objects.select_related("listing__target", "listing__provider").order_by(
            "id"
        )
        if options["open"]:
            tickets = tickets.filter(closed_at__isnull=True)
        rows = [_row(ticket) for ticket in tickets]
        if options["json"]:
            self.stdout.write(json.dumps({"tickets": rows}, ensure_ascii=False))
            return
        for row in rows:
            self.stdout.write(
                f"{row['target']:40} {row['provider']:24} {row['state']:17} {row['severity']:9} {row['opened']}"
            )


def _row(ticket: DelistingTicket) -> dict[str, Any]:
    listing = ticket.listing
    return {
        "id": ticket.pk,
        "target": listing.target.value,
        "provider": listing.provider.slug,
        "state": ticket.state,
        "severity": listing.severity,
        "opened": _iso(ticket.opened_at),
        "closed": _iso(ticket.closed_at),
        "deadline": _iso(ticket.next_action_at),
        "expected_end": _iso(ticket.expected_end),
        "times_listed": listing.times_listed,
        "incident": listing.incident_id,
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
