"""Train the shipped tables of the spam scorer from labelled mail (development only)."""

from __future__ import annotations

import os
from lzma import LZMAError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.spam.corpus import CorpusError, samples


class Command(BaseCommand):
    help = "Train the spam scorer's tables. Files: ham*/spam* as mbox or mbox.xz. Needs requirements-dev.txt."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("corpus", nargs="+", type=Path, help="files, or folders of ham*/spam* files")
        parser.add_argument("--out", required=True, type=Path, help="table file to write")

    def handle(self, *_args: Any, **options: Any) -> None:
        # Sums over several threads round differently with their number: the same octets need one thread.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        try:
            from gateway.spam.train import train
        except ImportError as error:
            raise CommandError(f"training needs the packages of requirements-dev.txt ({error})") from error
        try:
            data = train(samples(_files(options["corpus"])), self.stderr.write)
        except (CorpusError, ValueError, OSError, EOFError, LZMAError) as error:
            raise CommandError(str(error)) from error
        options["out"].write_bytes(data)
        self.stdout.write(f"{options['out']}: {len(data)} octets")


def _files(paths: list[Path]) -> list[Path]:
    """Files as given, folders replaced by their ham*/spam* files in the order of their names."""
    found: list[Path] = []
    for path in paths:
        found.extend(sorted([*path.glob("ham*"), *path.glob("spam*")]) if path.is_dir() else [path])
    return found
