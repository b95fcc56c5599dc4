"""Score mail as the relay does: one JSON line per message."""

from __future__ import annotations

import asyncio
import json
import lzma
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from gateway.config import Config
from gateway.models import LocalWord
from gateway.rules.spam import Score
from gateway.spam import LocalCounts, Setup, judge
from gateway.spam.corpus import messages, open_mail
from gateway.spam.judge import setup_of
from gateway.spam.learn import counts_of
from gateway.spam.symbols import describe


class Command(BaseCommand):
    help = "Print one JSON line per message: score, category, kind, symbols with their share."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", nargs="?", type=Path, help="message or mbox (also .xz); standard input if absent or -"
        )
        parser.add_argument(
            "--language", default="en", choices=("en", "de"), help="language of the descriptions"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            with _opened(options["file"]) as stream:
                asyncio.run(self.judge_all(stream, _local_counts(), options["language"]))
        except (OSError, EOFError, lzma.LZMAError) as error:
            raise CommandError(str(error)) from error

    async def judge_all(self, stream: IO[bytes], local: LocalCounts, language: str) -> None:
        """Print a line for each message as soon as it is judged."""
        async for score in _scores(
            stream, local, setup_of(Config.from_env(os.environ, Path(settings.BASE_DIR)))
        ):
            self.stdout.write(_line(score, language))


async def _scores(stream: IO[bytes], local: LocalCounts, setup: Setup) -> AsyncIterator[Score]:
    for _, raw in messages(stream):
        yield await judge(raw, setup=setup, local=local)


def _opened(path: Path | None) -> IO[bytes]:
    return sys.stdin.buffer if path is None or str(path) == "-" else open_mail(path)


def _local_counts() -> LocalCounts:
    """What this installation learned; nothing where there is no database yet."""
    try:
        return counts_of(LocalWord.objects.values_list("feature", "ham", "spam"))
    except DatabaseError:
        return LocalCounts()


def _line(score: Score, language: str) -> str:
    data = score.as_json()
    for symbol in data["symbols"]:
        symbol["description"] = describe(symbol["name"], language)
    return json.dumps(data, ensure_ascii=False)
