"""manage.py load_providers [FILE.csv] [--replace]"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from blacklist.control.facts import FactsError, read_csv, shipped_providers
from blacklist.control.providers import load_rows
from blacklist.models import Provider


class Command(BaseCommand):
    help = "Load blocklists from a file with the columns of blacklist/data/providers.csv; without one, the shipped set."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", nargs="?", type=Path, help="CSV; also obeyed: key, enabled (yes/no), rate_qps"
        )
        parser.add_argument(
            "--replace", action="store_true", help="remove or switch off every list that is not in the file"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            rows = read_csv(options["file"]) if options["file"] else shipped_providers()
            loaded = load_rows(rows, actor="command line", replace=options["replace"])
        except FactsError as error:
            raise CommandError(str(error)) from error
        asked = sum(provider.enabled for provider in loaded)
        dead = sum(provider.known == Provider.Known.DEAD for provider in loaded)
        self.stdout.write(f"{len(loaded)} lists loaded: {asked} are asked, {dead} are dead and never asked")
        for provider in loaded:
            if not provider.enabled and provider.known != Provider.Known.DEAD:
                why = (
                    "needs a key or registration"
                    if provider.needs_key
                    else provider.known
                    if provider.zone
                    else "has no zone"
                )
                self.stdout.write(f"  off: {provider.slug} ({why})")
