"""`manage.py scheduler`: brings the schedules in line with portal/schedule.py, then runs django-q2's cluster and beside
it, in this process, the worker that sends webhooks."""

from __future__ import annotations

from django.core.management.base import BaseCommand
from django.db import connections
from django_q.cluster import Cluster

from blacklist.control.schedules import ensure_schedules
from portal.schedule import keep_schedules
from portal.webhooks.worker import keep_sending


class Command(BaseCommand):
    help = "Run the scheduled and the background work (django-q2's cluster) in the foreground."

    def handle(self, **options: object) -> None:
        for name in keep_schedules():
            self.stdout.write(f"schedule changed: {name}")
        ensure_schedules()
        connections.close_all()  # the cluster forks; its processes have connections of their own
        # It listens to SIGTERM: it stops its processes, and with them ends the worker's loop.
        cluster = Cluster()
        cluster.start()
        keep_sending(lambda: bool(cluster.is_running and cluster.sentinel.is_alive()))
