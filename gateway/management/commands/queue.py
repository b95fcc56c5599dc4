"""manage.py queue: what waits, and hold / release / retry / cancel by filter."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count, Min, QuerySet
from django.utils import timezone

from gateway.control import queue as verbs
from gateway.models import Recipient
from gateway.rules.ids import from_text

VERBS = {"hold": verbs.hold, "release": verbs.release, "retry": verbs.retry, "cancel": verbs.cancel}
OPEN = (Recipient.StateChoice.QUEUED, Recipient.StateChoice.HELD)


class Command(BaseCommand):
    help = "Shows the queue (counts, oldest, by destination and reason), or changes the part of it that filters name."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("verb", nargs="?", choices=["show", *VERBS], default="show")
        parser.add_argument("--customer", help="short name of a customer")
        parser.add_argument("--domain", help="recipient domain")
        parser.add_argument("--recipient", help="recipient address")
        parser.add_argument("--sender", help="envelope sender")
        parser.add_argument("--login", help="SMTP login that handed it over")
        parser.add_argument("--message", help="message id, as in the 250 reply")
        parser.add_argument("--reason", help="reason of the last deferral or hold")
        parser.add_argument("--state", choices=[state.value for state in OPEN])
        parser.add_argument("--all", action="store_true", help="allow a verb without any filter")
        parser.add_argument(
            "--dry-run", action="store_true", help="only say how many recipients a verb would change"
        )
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        selected = self._select(options)
        if options["verb"] == "show":
            self._show(selected, as_json=options["json"])
            return
        if not self._is_filtered(options) and not options["all"]:
            raise CommandError("This would change the whole queue: name a filter, or say --all.")
        if options["dry_run"]:
            self._say(options, {"would_change": selected.count()})
            return
        changed = VERBS[options["verb"]](selected, actor="command line")
        self._say(options, {"changed": changed})

    @staticmethod
    def _is_filtered(options: dict[str, Any]) -> bool:
        return any(
            options[name]
            for name in ("customer", "domain", "recipient", "sender", "login", "message", "reason", "state")
        )

    @staticmethod
    def _select(options: dict[str, Any]) -> QuerySet[Recipient]:
        wanted = {
            "customer__slug": options["customer"],
            "domain": options["domain"] and options["domain"].lower(),
            "address": options["recipient"],
            "message__sender": options["sender"],
            "message__credential__username__iexact": options["login"],
            "reason": options["reason"],
            "state": options["state"],
        }
        found = Recipient.objects.filter(
            state__in=OPEN, **{name: value for name, value in wanted.items() if value}
        )
        if not options["message"]:
            return found
        try:
            return found.filter(message_id=from_text(options["message"]))
        except ValueError as error:
            raise CommandError(str(error)) from error

    def _say(self, options: dict[str, Any], result: dict[str, int]) -> None:
        text = (
            json.dumps(result)
            if options["json"]
            else ", ".join(f"{key}: {value}" for key, value in result.items())
        )
        self.stdout.write(text)

    def _show(self, selected: QuerySet[Recipient], *, as_json: bool) -> None:
        picture = overview(selected)
        if as_json:
            self.stdout.write(json.dumps(picture))
            return
        self.stdout.write(
            f"queued {picture['queued']}, held {picture['held']}, oldest {picture['oldest'] or '-'}"
        )
        for title in ("by_destination", "by_reason"):
            self.stdout.write(f"\n{title.replace('_', ' ')}:")
            for row in picture[title]:
                self.stdout.write(f"  {row['count']:>8}  {row['state']:<7} {row['name'] or '-'}")


def overview(selected: QuerySet[Recipient]) -> dict[str, Any]:
    """{"queued", "held", "due", "oldest" (ISO time or None), "by_destination": [...], "by_reason": [...]}."""
    states = dict(selected.values_list("state").annotate(Count("id")))
    oldest = selected.aggregate(at=Min("message__received_at"))["at"]
    return {
        "queued": states.get("queued", 0),
        "held": states.get("held", 0),
        "due": selected.filter(state="queued", next_attempt_at__lte=timezone.now()).count(),
        "oldest": oldest.isoformat() if oldest else None,
        "by_destination": _groups(selected, "domain"),
        "by_reason": _groups(selected, "reason"),
    }


def _groups(selected: QuerySet[Recipient], field: str, most: int = 50) -> list[dict[str, Any]]:
    rows = selected.values_list(field, "state").annotate(number=Count("id")).order_by("-number")[:most]
    return [{"name": name, "state": state, "count": number} for name, state, number in rows]
