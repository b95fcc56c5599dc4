"""Lets the product's own code live through days that are over: for the demo's history, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

NO_MAIL = "django.core.mail.backends.dummy.EmailBackend"
SPEED = 60.0  # a check of half a second looks like one of half a minute


@contextmanager
def at(moment: datetime, *, letters: bool = False) -> Iterator[None]:
    """For the block `django.utils.timezone.now()` says `moment` and goes on from there; mail goes nowhere unless
    `letters`: nobody wants last week's alarms in this minute's inbox. For one thread of a command only."""
    begun, real, backend = time.monotonic(), timezone.now, settings.EMAIL_BACKEND

    def then() -> datetime:
        return moment + timedelta(seconds=(time.monotonic() - begun) * SPEED)

    timezone.now = then
    settings.EMAIL_BACKEND = backend if letters else NO_MAIL
    try:
        yield
    finally:
        timezone.now, settings.EMAIL_BACKEND = real, backend
