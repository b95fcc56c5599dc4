"""manage.py check_blacklists [--target X --role gateway|customer_ip|domain] [--json]"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from blacklist.control.adhoc import Row, check_one, rows_of
from blacklist.control.lease import RunBusy
from blacklist.control.runs import manual_options, start
from blacklist.models import CheckRun
from blacklist.rules.types import Role, Status


class Command(BaseCommand):
    help = "The same check as at 05:00, now: over all targets, or (nothing recorded, nobody told) over one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--target", help="an IP address or a domain; without it, everything that is watched"
        )
        parser.add_argument("--role", choices=[role.value for role in Role], help="what the target is to us")
        parser.add_argument(
            "--json",
            action="store_true",
            help='{"results": [{target, provider, status, codes, reason, severity}]}',
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["role"] and not options["target"]:
            raise CommandError("--role belongs to --target")
        rows = self._one(options) if options["target"] else self._all()
        if options["json"]:
            self.stdout.write(json.dumps({"results": [row.as_json() for row in rows]}, ensure_ascii=False))
        else:
            self._tell(rows)

    def _one(self, options: dict[str, Any]) -> list[Row]:
        try:
            return check_one(
                options["target"], Role(options["role"]) if options["role"] else None, manual_options()
            )
        except ValueError as error:
            raise CommandError(str(error)) from error

    def _all(self) -> list[Row]:
        try:
            run = start(CheckRun.Kind.MANUAL, actor="command line", options=manual_options())
        except RunBusy as busy:
            raise CommandError(str(busy)) from busy
        except ValueError as error:
            raise CommandError(str(error)) from error
        for finding in run.findings:
            self.stderr.write(f"note: {finding['text']}")
        return list(rows_of(run))

    def _tell(self, rows: list[Row]) -> None:
        for row in rows:
            if row.status != Status.NOT_APPLICABLE and not row.reason.startswith("not asked"):
                shown = " ".join(
                    part
                    for part in (",".join(row.codes), row.severity if row.codes else "", row.reason)
                    if part
                )
                self.stdout.write(f"{row.target:40} {row.provider:24} {row.status:15} {shown}".rstrip())
        counts = Counter(row.status for row in rows)
        self.stdout.write(
            ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "nothing is watched"
        )
