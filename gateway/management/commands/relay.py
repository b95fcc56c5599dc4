"""manage.py relay: the SMTP relay of this node."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandParser
from django.db import connections


class Command(BaseCommand):
    help = "Runs the SMTP relay (SMG_RELAY_PROCESSES processes); stops cleanly on SIGTERM, starts anew on SIGHUP."
    # The checks of pages and templates would load all of both: 29 MB in every process, for nothing that mail needs.
    requires_system_checks = (Tags.models,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="only find out whether it could start")

    def handle(self, *args: Any, **options: Any) -> None:
        from gateway.relay_master import Master, check

        if options["check"]:
            check(settings.SMG)
            return
        connections.close_all()  # what the checks opened must not be shared with the children
        sys.exit(Master(settings.SMG).run())
