"""Sends webhooks within seconds of their events: a loop beside the scheduler's cluster (`manage.py scheduler`).

Several schedulers may run: leases keep them from sending anything twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django.db import close_old_connections

from portal.models import WebhookEndpoint
from portal.webhooks import tasks
from portal.webhooks.events import collect

log = logging.getLogger(__name__)
EVERY_S = 1.0


def keep_sending(goes_on: Callable[[], bool], *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Collect and deliver every second while `goes_on`. An error is logged and tried again: nothing is lost, as events
    stay in their tables and deliveries in the outbox."""
    while goes_on():
        close_old_connections()
        try:
            send(goes_on)
        except Exception:
            log.exception("webhooks could not be sent")
        sleep(EVERY_S)


def send(goes_on: Callable[[], bool]) -> None:
    """One round; without webhooks it is one query."""
    if WebhookEndpoint.objects.filter(disabled_at=None).exists():
        collect()
        tasks.deliver(goes_on)
