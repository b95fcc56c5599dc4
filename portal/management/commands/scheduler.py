"""`manage.py scheduler`: brings the schedules in line with portal/schedule.py, then runs django-q2's cluster."""

from __future__ import annotations

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connections

from blacklist.control.schedules import ensure_schedules
from portal.schedule import keep_schedules


class Command(BaseCommand):
    help = "Run the scheduled and the background work (django-q2's cluster) in the foreground."

    def handle(self, **options: object) -> None:
        for name in keep_schedules():
            self.stdout.write(f"schedule changed: {name}")
        ensure_schedules()
        connections.close_all()  # the cluster forks; its processes have connections of their own
        call_command("qcluster")
