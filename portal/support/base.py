"""What support's pages share: who gets in, time ranges, and questions that must not take the database down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection, transaction
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.rules.ids import id_at
from portal.access import page

View = Callable[..., HttpResponseBase]
RANGES = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
RANGE_CHOICES = [
    ("24h", _("last 24 hours")), ("1h", _("last hour")), ("7d", _("last 7 days")), ("30d", _("last 30 days")),
]  # fmt: skip
LONGEST_QUERY_MS = 8000


class TooSlowError(Exception):
    """A search took longer than a page may; a shorter time range helps."""


def staff_page(*methods: str) -> Callable[[View], View]:
    """A page for support; everybody else who is logged in gets 403."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_staff:
                raise PermissionDenied("support only")
            return view(request, *args, **kwargs)

        return page(*methods)(checked)

    return decorate


def span_of(request: HttpRequest) -> timedelta:
    """The chosen time range, a day unless it makes sense otherwise."""
    return RANGES.get(request.GET.get("range", ""), RANGES["24h"])


def id_since(span: timedelta) -> int:
    """The least message id of a time range: ids are made of the time."""
    return id_at(timezone.now() - span)


@contextmanager
def bounded() -> Iterator[None]:
    """Give up a query after some seconds (PostgreSQL). Raises TooSlowError. SQLite knows no such limit, and in a
    transaction there the relay could not write meanwhile."""
    if connection.vendor != "postgresql":
        yield
        return
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {LONGEST_QUERY_MS}")
            yield
    except OperationalError as error:
        if "statement timeout" in str(error):
            raise TooSlowError from error
        raise
