"""Counts beside the navigation's entries. Each is one indexed query over few rows, never over the log."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest

from gateway.models import Customer
from portal.access import current_membership

Counter = Callable[[Customer], int]
COUNTERS: dict[str, Counter] = {}  # filled by the areas that have something to count, see portal.apps


def badges(request: HttpRequest) -> dict[str, int]:
    member = current_membership(request)
    if member is None:
        return {}
    return {name: count(member.customer) for name, count in COUNTERS.items()}
