"""manage.py explain < message.eml: the whole policy for an envelope, nothing queued."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Says what the gateway would do with the message on standard input; nothing is queued, no counter is spent."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--sender", required=True, help="envelope sender; <> for the null sender")
        parser.add_argument("--recipient", action="append", required=True, help="may be given several times")
        parser.add_argument("--credential", required=True, help="user name of the SMTP login")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        from gateway.explain import ExplainError, explain

        try:
            told = explain(
                sys.stdin.buffer.read(),
                sender=options["sender"],
                recipients=options["recipient"],
                credential=options["credential"],
            )
        except ExplainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(told, indent=None) if options["json"] else as_text(told))


def as_text(told: dict[str, Any]) -> str:
    """The explanation for a terminal."""
    lines = [("accepted: " if told["accepted"] else "refused: ") + told["reply"]]
    lines += [
        f"  {entry['step']:<14} {entry['outcome']:<7} {_evidence(entry['detail'])}" for entry in told["trace"]
    ]
    if not told["accepted"]:
        return "\n".join(lines)
    lines.append(f"score {told['score']} ({told['category']}): leaves by {told['pool'].capitalize()}")
    lines += [f"  {symbol['share']:+6.1f}  {symbol['name']}" for symbol in told["symbols"]]
    dkim = told["dkim"]
    lines.append(
        f"DKIM: {dkim['selector']}._domainkey.{dkim['domain']}" if dkim else "DKIM: no active key, unsigned"
    )
    for route in told["routes"]:
        lines.append(
            f"to {route['domain']} ({', '.join(route['recipients'])}): {route['problem'] or route['gateway']['name']}"
        )
        lines += [
            f"  {hop['host']}:{hop['port']} TLS {hop['tls']['level']} ({hop['tls']['source']})"
            + (f", certificate {hop['tls']['certificate']}" if hop["tls"]["certificate"] else "")
            for hop in route["hops"]
        ]
    return "\n".join(lines)


def _evidence(detail: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in detail.items() if value not in (None, "", [], {}))
