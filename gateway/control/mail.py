"""Mail of the gateway itself (alerts, invitations, password resets): queued directly, by processes without a relay."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from typing import Any

from django.conf import settings

from gateway import store
from gateway.models import Message
from gateway.rules import headers
from gateway.rules.address import AddressError, parse_mailbox
from gateway.rules.ids import NODES, IdMaker
from gateway.rules.types import Pool

# Relay processes take the node numbers from below (Worker.slot); the few messages of other processes take one by
# chance from the top, with a sequence that starts anywhere.
FIRST_FREE_NODE = 960


def submit_own_mail(*, sender: str, recipients: Iterable[str], raw: bytes) -> int:
    """Queue a finished message (CRLF line ends) of the gateway's own; returns its id.

    It leaves by Good like any clean mail, signed if the operator's domain has a key. Raises AddressError when the
    sender or a recipient is no address, DatabaseError when it cannot be stored.
    """
    now = datetime.now(UTC)
    ids = IdMaker(random.randrange(FIRST_FREE_NODE, NODES))  # noqa: S311 - spreads, guards nothing
    now_ms = int(now.timestamp() * 1000) + random.randrange(1000)  # noqa: S311
    message_id = ids.next(now_ms)
    from_address = parse_mailbox(parseaddr(sender)[1])
    addresses = [parse_mailbox(parseaddr(recipient)[1]) for recipient in recipients]
    if not addresses:
        raise AddressError("no recipient")
    row = _message_row(message_id, str(from_address), from_address.domain, raw, len(addresses), now)
    rows = [_recipient_row(ids.next(now_ms), message_id, str(a), a.domain, now) for a in addresses]
    store.write_now(store.NewMessage(message=row, recipients=rows, content=raw))
    return message_id


def _message_row(
    message_id: int, sender: str, domain: str, raw: bytes, recipients: int, now: datetime
) -> dict[str, Any]:
    return {
        "id": message_id,
        "kind": Message.Kind.OWN,
        "customer_id": None,
        "credential_id": None,
        "received_at": now,
        "sender": sender,
        "sender_domain": domain,
        "header_from": sender,
        "subject": headers.subject(raw)[:300],
        "size_bytes": len(raw),
        "recipient_count": recipients,
        "client_ip": None,
        "category": Message.CategoryChoice.CLEAN,
    }


def _recipient_row(
    recipient_id: int, message_id: int, address: str, domain: str, now: datetime
) -> dict[str, Any]:
    return {
        "id": recipient_id,
        "message_id": message_id,
        "customer_id": None,
        "address": address,
        "domain": domain,
        "pool": Pool.GOOD.value,
        "next_attempt_at": now,
        "expires_at": now + timedelta(seconds=settings.SMG.queue_lifetime_s),
    }
