"""manage.py backtest: what changed thresholds would have done to the mail of the last days."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from gateway.control.backtest import DAYS, Change, run
from gateway.models import Customer


class Command(BaseCommand):
    help = "Replays the stored scores of the last days with other thresholds: who would move between Good and Bad."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--suspect", type=float, help="score from which a message is suspect")
        parser.add_argument("--spam", type=float, help="score from which it is spam")
        parser.add_argument("--without", action="append", default=[], help="a symbol that no longer counts")
        parser.add_argument(
            "--customer", help="short name: change this customer's thresholds, not the defaults"
        )
        parser.add_argument("--days", type=int, default=DAYS)
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        change = Change(
            suspect=options["suspect"],
            spam=options["spam"],
            without=tuple(options["without"]),
            customer=self._customer(options["customer"]),
            days=options["days"],
        )
        try:
            told = run(change).as_json()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self.stdout.write(json.dumps(told) if options["json"] else "\n".join(lines(told)))

    @staticmethod
    def _customer(slug: str | None) -> Customer | None:
        if not slug:
            return None
        found = Customer.objects.filter(slug=slug).first()
        if found is None:
            raise CommandError(f"there is no customer {slug!r}")
        return found


def lines(told: dict[str, Any]) -> list[str]:
    """The result as text."""
    part = f"an even sample of {told['looked_at']} of them" if told["sample"] else "all of them"
    found = [f"{told['total']} messages in {told['days']} days, {part}:"]
    found.append(f"{told['to_bad']} would move to Bad, {told['to_good']} to Good")
    for name, (before, after) in told["categories"].items():
        found.append(f"  {name:<8} {before:>8} -> {after}")
    if told["unreadable"]:
        found.append(f"  {told['unreadable']} stored vectors cannot be read any more")
    found += [
        f"{row['customer']}: {row['to_bad']} to Bad, {row['to_good']} to Good of {row['messages']}"
        for row in told["customers"]
    ]
    found += [
        f"  {row['message']} {row['customer']} {row['before']} -> {row['after']} ({row['to']})"
        for row in told["examples"]
    ]
    return found
