"""manage.py apply FILE: declarative set-up from TOML. Idempotent; --check only shows the difference."""

from __future__ import annotations

import tomllib
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from blacklist.control import apply_providers, apply_targets
from gateway.control.apply import ApplyError, apply_sending

SECTIONS = {"gateways", "customers", "shaping", "providers", "targets"}


class Command(BaseCommand):
    help = "Creates and changes what a TOML file names: gateways, customers, shaping, providers, targets."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--check", action="store_true", help="only show what would change")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            data = tomllib.loads(options["file"].read_text(encoding="utf-8"))
            lines = apply(data, check=options["check"])
        except (OSError, ApplyError, ValueError) as error:
            raise CommandError(str(error)) from error
        for line in lines:
            self.stdout.write(line)
        self.stdout.write(
            "nothing to change"
            if not lines
            else f"{len(lines)} change(s){', not made' if options['check'] else ''}"
        )


@transaction.atomic
def apply(data: dict[str, Any], *, check: bool = False) -> list[str]:
    """All sections in one transaction; with `check` it is rolled back. Returns one line per difference."""
    unknown = sorted(set(data) - SECTIONS)
    if unknown:
        raise ApplyError(f"unknown section {unknown[0]!r}; known are {', '.join(sorted(SECTIONS))}")
    lines = apply_sending(data)
    lines += apply_providers(data.get("providers", []))
    lines += apply_targets(data.get("targets", []))
    if check:
        transaction.set_rollback(True)
    return lines
