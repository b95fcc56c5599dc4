"""manage.py alerts [--json]"""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from blacklist.models import Alert


class Command(BaseCommand):
    help = "Alerts: target, provider, kind, at."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        alerts = Alert.objects.select_related("listing__target", "listing__provider").order_by("id")
        rows = [_row(alert) for alert in alerts.prefetch_related("customers")]
        if options["json"]:
            self.stdout.write(json.dumps({"alerts": rows}, ensure_ascii=False))
            return
        for row in rows:
            self.stdout.write(
                f"{row['at']:33} {row['target']:40} {row['provider']:24} {row['kind']:12} {row['severity']}"
            )


def _row(alert: Alert) -> dict[str, Any]:
    return {
        "target": alert.listing.target.value,
        "provider": alert.listing.provider.slug,
        "kind": alert.kind,
        "at": alert.at.isoformat(),
        "severity": alert.severity,
        "customers": [customer.slug for customer in alert.customers.all()],
        "mailed_at": alert.mailed_at.isoformat() if alert.mailed_at else None,
    }
