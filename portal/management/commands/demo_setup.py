"""manage.py demo_setup: the demo's customers, people and some days of mail; writes var/demo.json."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from gateway.models import Customer
from portal.demo import clock, letters
from portal.demo.cast import PEOPLE, SUPPORT, Access, make_cast
from portal.demo.doings import make_doings
from portal.demo.reputation import make_history
from portal.demo.traffic import DAYS, Traffic

VOICES = {"acme": letters.ACME, "globex": letters.GLOBEX}


class Command(BaseCommand):
    help = "Makes the demo customers, people and traffic (only with SMG_DEMO=on). Idempotent; passwords are made anew."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.SMG.demo:
            raise CommandError(
                "demo_setup would put invented customers into a real gateway: set SMG_DEMO=on first."
            )
        now = timezone.now()
        with clock.at(born(now)):
            access = make_cast()
        with quiet():
            number, checks = make_story(now)
        target = settings.SMG.var_dir / "demo.json"
        write_private(
            target, json.dumps(as_json(access), indent=2)
        )  # last: its presence says that all is there
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
    listen = settings.SMG.smtp_listen[0]
    return {
        "url": settings.SMG.public_url,
        "email": PEOPLE[0][0],
        "password": access.password,
        "smtp_host": listen.host,
        "smtp_port": listen.port,
        "username": "acme-web",
        "secret": access.secret,
        "sender": PEOPLE[0][0],
        "recipient": "dora@customer.example",
        "support_email": SUPPORT,
        "support_password": access.support_password,
    }


def write_private(path: Path, text: str) -> None:
    """Readable by the owner alone, and never half written."""
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    fresh.replace(path)
