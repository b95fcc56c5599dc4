"""Counts beside the navigation's entries. Each is one indexed query over few rows, never over the log."""

from __future__ import annotations

from collections.abc import Callable

from django.core.cache import cache
from django.http import HttpRequest

from gateway.models import Customer
from portal.access import current_membership

KEPT_S = 10
Counter = Callable[[Customer], int]
COUNTERS: dict[str, Counter] = {}  # filled by the areas that have something to count, see portal.apps


def badges(request: HttpRequest) -> dict[str, int]:
    """All counts of the customer; kept for some seconds, because every page shows them."""
    member = current_membership(request)
    if member is None:
        return {}
    customer = member.customer
    return cache.get_or_set(f"badges:{customer.pk}", lambda: _count(customer), KEPT_S) or {}


def _count(customer: Customer) -> dict[str, int]:
    return {name: count(customer) for name, count in COUNTERS.items()}
