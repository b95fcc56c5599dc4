"""`manage.py up`: portal, relay and scheduler together, in the foreground. `./run` calls it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import sys
from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from gateway import supervisor
from gateway.config import Config
from gateway.preflight import Obstacle, only_one, refuse_taken_ports
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
        try:
            lock = only_one(config.var_dir)
            refuse_taken_ports(config)
        except Obstacle as obstacle:
            raise CommandError(str(obstacle)) from obstacle
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
        if not config.demo:
            return
        if (config.var_dir / "demo.json").exists():
            call_command("demo_setup", sink_only=True)
        else:
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
    access = read_access(config) if config.demo else None
    line = supervision.send_line(access, swaks=shutil.which("swaks") is not None) if access else ""
    degraded = supervision.degraded_lines(await supervisor.outside_parts(config))
    smtp = ", ".join(
        [f"{each} (STARTTLS)" for each in config.smtp_listen]
        + [f"{each} (TLS)" for each in config.smtps_listen]
    )
    if config.tls_cert is None:
        smtp += ", certificate self-signed"
    return supervision.banner(config.public_url, smtp, access, line, degraded)


def read_access(config: Config) -> Access | None:
    """The demo's log-in and where it is used; None when the file is missing or from another version."""
    if not config.smtp_listen:
        return None
    smtp = config.smtp_listen[0].as_client()
    where = {"smtp_host": smtp.host, "smtp_port": smtp.port}
    try:
        return Access.from_json(json.loads((config.var_dir / "demo.json").read_text()) | where)
    except (OSError, KeyError, ValueError):
        return None
