"""Take one feedback report from standard input: the end of a mail server's pipe for feedback loops."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from gateway.control import complaints
from gateway.rules.arf import READ_BYTES, NotAReportError


class Command(BaseCommand):
    help = "Record the complaint in a feedback report (ARF, RFC 5965) on standard input. Exit codes of sysexits.h."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="say it in JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        raw = sys.stdin.buffer.read(READ_BYTES)
        while sys.stdin.buffer.read(READ_BYTES):  # a mail server whose pipe breaks would try again
            pass
        try:
            complaint, is_new = complaints.record(raw)
        except NotAReportError as error:
            raise CommandError(f"not a feedback report: {error}", returncode=os.EX_DATAERR) from error
        except DatabaseError as error:
            raise CommandError(f"the database is away: {error}", returncode=os.EX_TEMPFAIL) from error
        self._say(complaint, is_new, as_json=options["json"])

    def _say(self, complaint: Any, is_new: bool, *, as_json: bool) -> None:
        about = {
            "new": is_new,
            "kind": complaint.kind,
            "message": complaint.message.text_id if complaint.message else None,
            "customer": complaint.customer.slug if complaint.customer else None,
            "login": complaint.credential.username if complaint.credential else None,
            "obstacle": complaint.obstacle,
        }
        if as_json:
            self.stdout.write(json.dumps(about))
        elif complaint.message:
            self.stdout.write(f"{about['kind']}: message {about['message']} of {about['customer']}")
        else:
            self.stdout.write(f"{about['kind']}: {complaint.get_obstacle_display()}")
