"""manage.py clean_up: delete what is older than the retention time, now instead of at night."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from gateway.control.retention import clean_up


class Command(BaseCommand):
    help = "Deletes settled messages, refusals, audit entries and set-up events whose retention time is over."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count what would be deleted")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        gone = clean_up(dry_run=options["dry_run"])
        if options["json"]:
            self.stdout.write(json.dumps(gone))
            return
        verb = "would delete" if options["dry_run"] else "deleted"
        if not gone:
            self.stdout.write("nothing is old enough")
        for name, count in gone.items():
            self.stdout.write(f"{verb} {count:>9}  {name}")
