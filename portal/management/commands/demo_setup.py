"""manage.py demo_setup: the demo's customers, people and some days of mail; writes var/demo.json."""

from __future__ import annotations

import json
import logging
import os
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from gateway.control import gateways
from gateway.models import Customer, Gateway
from portal.demo import clock, letters
from portal.demo.cast import ACTOR, PEOPLE, SUPPORT, Access, make_cast
from portal.demo.doings import make_doings
from portal.demo.reputation import make_history
from portal.demo.traffic import DAYS, Traffic

VOICES = {"acme": letters.ACME, "globex": letters.GLOBEX}


class Command(BaseCommand):
    help = "Makes the demo customers, people and traffic (only with SMG_DEMO=on). Idempotent; passwords are made anew."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--sink-only",
            action="store_true",
            help="only let the demo's gateways follow a changed SMG_DEMO_SINK",
        )

    def handle(self, *args: Any, sink_only: bool, **options: Any) -> None:
        if not settings.SMG.demo:
            raise CommandError(
                "demo_setup would put invented customers into a real gateway: set SMG_DEMO=on first."
            )
        target = settings.SMG.var_dir / "demo.json"
        if sink_only:
            follow_sink(target)
        else:
            self._set_up(target)

    def _set_up(self, target: Path) -> None:
        now = timezone.now()
        with clock.at(born(now)):
            access = make_cast()
        with quiet():
            number, checks = make_story(now)
        write_private(target, as_json(access))  # last: its presence says that all is there
        self.stdout.write(f"{number} messages and {checks} blacklist checks made; access is in {target}")


def born(now: datetime) -> datetime:
    """When the customers came: before their first mail."""
    is_new = not Customer.objects.filter(slug__in=VOICES).exists()
    return now - timedelta(days=DAYS + 1) if is_new else now


@contextmanager
def quiet() -> Iterator[None]:
    """The story's alarms are for the pages, not for this terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def make_story(now: datetime) -> tuple[int, int]:
    """(messages, blacklist checks) that were made."""
    customers = {customer.slug: customer for customer in Customer.objects.filter(slug__in=VOICES)}
    messages = sum(Traffic(customers[slug], now, voice).make() for slug, voice in VOICES.items())
    checks = make_history(now)
    make_doings(now)
    return messages, checks


def as_json(access: Access) -> dict[str, object]:
    return {
        "email": PEOPLE[0][0],
        "password": access.password,
        "username": "acme-web",
        "secret": access.secret,
        "sender": PEOPLE[0][0],
        "recipient": "dora@customer.example",
        "support_email": SUPPORT,
        "support_password": access.support_password,
        "sink": str(settings.SMG.demo_sink),
    }


def follow_sink(path: Path) -> None:
    """The gateways that handed over to the sink's old place hand over to the new one."""
    known, sink = json.loads(path.read_text()), str(settings.SMG.demo_sink)
    if known["sink"] == sink:
        return
    for gateway in Gateway.objects.filter(next_hop=known["sink"]):
        gateways.change(gateway, actor=ACTOR, next_hop=sink)
    write_private(path, known | {"sink": sink})


def write_private(path: Path, values: Mapping[str, object]) -> None:
    """Readable by the owner alone, and never half written."""
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(values, indent=2) + "\n")
    fresh.replace(path)
