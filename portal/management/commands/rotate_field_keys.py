"""manage.py rotate_field_keys [--check]"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal import field_keys


class Command(BaseCommand):
    help = (
        "Encrypts every secret in the database anew under the first of SMG_FIELD_KEYS. Put a new key in front, "
        "restart, run this, then the old key may go."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="only try whether every field can be read")

    def handle(self, *args: Any, **options: Any) -> None:
        results = field_keys.check_all() if options["check"] else field_keys.rotate_all()
        for result in results:
            lost = f", {len(result.unreadable)} unreadable" if result.unreadable else ""
            self.stdout.write(
                f"{result.column}: {result.done} {'readable' if options['check'] else 'rotated'}{lost}"
            )
        bad = [f"{result.column} of {pk}" for result in results for pk in result.unreadable]
        if bad:
            raise CommandError(f"no key fits {', '.join(bad[:20])}; is a key missing in SMG_FIELD_KEYS?")
