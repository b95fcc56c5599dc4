"""`manage.py up`: portal, relay and scheduler together, in the foreground. `./run` calls it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import shutil
import sys
from argparse import ArgumentParser
from io import TextIOWrapper
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from gateway import supervisor
from gateway.config import Config
from gateway.rules import supervision
from gateway.rules.supervision import Access


class Command(BaseCommand):
    help = "Run the portal, the relay and the scheduler together; Ctrl-C stops them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--setup", action="store_true", help="migrate first, and make the demo when there is none"
        )

    def handle(self, *, setup: bool, **options: object) -> None:
        config: Config = settings.SMG
        lock = only_one(config.var_dir)
        refuse_taken_ports(config)
        if setup:
            self._set_up(config)
            self.stdout.flush()
        Path(settings.STATIC_ROOT).mkdir(
            exist_ok=True
        )  # static files are found in the tree; whitenoise wants the place
        connections.close_all()  # the parts have their own
        code = asyncio.run(run(config))
        lock.close()
        self.stdout.write("Stopped.")
        sys.exit(code)

    def _set_up(self, config: Config) -> None:
        self.stdout.write("Preparing the database")
        call_command("migrate", interactive=False, verbosity=0)
        if config.demo and not (config.var_dir / "demo.json").exists():
            self.stdout.write("Making a demo customer with some days of mail")
            logging.disable(logging.INFO)  # its days of checks would fill the screen
            call_command("demo_setup")
            logging.disable(logging.NOTSET)


async def run(config: Config) -> int:
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    specs = supervisor.parts(config)
    return await supervisor.Supervisor(specs, write, colour=colour).run(lambda: greeting(config))


def write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


async def greeting(config: Config) -> str:
    access = read_access(config.var_dir / "demo.json") if config.demo else None
    line = supervision.send_line(access, swaks=shutil.which("swaks") is not None) if access else ""
    degraded = supervision.degraded_lines(await supervisor.outside_parts(config))
    smtp = ", ".join([*map(str, config.smtp_listen), *(f"{each} (TLS)" for each in config.smtps_listen)])
    return supervision.banner(access.url if access else config.public_url, smtp, access, line, degraded)


def read_access(path: Path) -> Access | None:
    """The demo's log-in; None when the file is missing or from another version."""
    try:
        return Access.from_json(json.loads(path.read_text()))
    except (OSError, KeyError, ValueError):
        return None


def only_one(var_dir: Path) -> TextIOWrapper:
    """Holds var/up.lock; raises CommandError when another supervisor has it."""
    lock = (var_dir / "up.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        raise CommandError(f"the gateway is running already (process {lock.read().strip()})") from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def refuse_taken_ports(config: Config) -> None:
    """Before anything starts: a part that finds its port taken would only be started again and again."""
    if config.demo and supervisor.taken(supervisor.DEMO_SINK):
        raise CommandError(
            f"{supervisor.DEMO_SINK} is in use: the demo's sink needs it (does another demo run?)"
        )
    wanted = {
        "SMG_WEB_LISTEN": [config.web_listen],
        "SMG_SMTP_LISTEN": config.smtp_listen,
        "SMG_SMTPS_LISTEN": config.smtps_listen,
    }
    for setting, endpoints in wanted.items():
        for endpoint in endpoints:
            if supervisor.taken(endpoint):
                raise CommandError(
                    f"{endpoint} is in use by another program: set {setting} to a free address"
                )
