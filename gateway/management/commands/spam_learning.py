"""manage.py spam_learning: take what this installation learned about spam to a file, or back."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway.control import learning
from gateway.spam.learn import LocalError


class Command(BaseCommand):
    help = "Exports the locally learned counts as JSON, or replaces them by an export. They hold no text of any mail."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("verb", choices=["export", "import"])
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = (
                self._export(options["file"])
                if options["verb"] == "export"
                else self._import(options["file"])
            )
        except (OSError, UnicodeDecodeError, LocalError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{found.ham} good and {found.spam} spam messages, {len(found.features)} features")

    @staticmethod
    def _export(path: Path) -> learning.LocalCounts:
        path.write_text(learning.export() + "\n", "utf-8")
        return learning.counts()

    @staticmethod
    def _import(path: Path) -> learning.LocalCounts:
        return learning.restore(path.read_text("utf-8"), actor="command line")
