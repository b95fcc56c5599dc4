"""manage.py demo_sink: the end of the demo's gateways; keeps the mail for the portal's mail catcher."""

from __future__ import annotations

import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

STOP = {signal.SIGTERM, signal.SIGINT}


class Command(BaseCommand):
    help = "Runs the demo's mail sink on SMG_DEMO_SINK (only with SMG_DEMO=on)."

    def handle(self, *args: Any, **options: Any) -> None:
        from gateway.demo import sink

        if not settings.SMG.demo:
            raise CommandError("The sink is part of the demo: set SMG_DEMO=on.")
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP)  # or a container's first process would never get them
        controller = sink(settings.SMG)
        controller.start()
        try:
            signal.sigwait(STOP)
        finally:
            controller.stop()
