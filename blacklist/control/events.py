"""Who wants to be told of alerts (the portal's webhooks). A registry of functions instead of Django's signals: it is
searchable, and a broken listener cannot stop an alert."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import transaction

logger = logging.getLogger(__name__)
Listener = Callable[[str, dict[str, Any]], None]
_listeners: list[Listener] = []


def on_event(listener: Listener) -> Listener:
    """Call `listener(kind, payload)` after each alert was committed. Kinds: ip_listed, ip_delisted, domain_listed,
    domain_delisted, ticket_moved. Payload (JSON-ready): target, role, provider, severity, alert, at, customers (ids),
    ticket. May be used as a decorator; registering twice does nothing."""
    if listener not in _listeners:
        _listeners.append(listener)
    return listener


def publish(kind: str, payload: dict[str, Any]) -> None:
    """Tell everybody once the running transaction is committed."""
    transaction.on_commit(lambda: _tell(kind, payload), robust=True)


def _tell(kind: str, payload: dict[str, Any]) -> None:
    for listener in tuple(_listeners):
        try:
            listener(kind, payload)
        except Exception:  # the boundary to others' code: it must not break the alert of the next
            logger.exception("blacklist event listener failed", extra={"kind": kind})
