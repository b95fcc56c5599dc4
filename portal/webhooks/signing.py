"""The signature of Standard Webhooks and the times between attempts. Pure: no clock, no database."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

SECRET_PREFIX = "whsec_"  # noqa: S105 - a mark, not a secret
SECRET_BYTES = 32
BACK_OFF_S = (5, 60, 300, 1800, 7200, 21600, 43200, 86400)  # after the n-th failure; then it is given up
LEAST_FAILURES = 10  # in a row, before an endpoint is switched off ...
FAILING_FOR = timedelta(days=2)  # ... and only if nothing worked for as long as this


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def sign(secret: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: 'v1,' and the base64 of HMAC-SHA-256 over 'id.timestamp.body'.

    Raises ValueError for a secret that is not 'whsec_' and base64.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("not a webhook secret") from error
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode("ascii")


def next_attempt(attempts: int, now: datetime, retry_after_s: int | None = None) -> datetime | None:
    """When to try again after `attempts` failures; None: give up. The receiver may ask for a day at most."""
    if attempts > len(BACK_OFF_S):
        return None
    wait_s = max(BACK_OFF_S[attempts - 1], min(retry_after_s or 0, 86400))
    return now + timedelta(seconds=wait_s)


def is_dead(failures: int, failing_since: datetime | None, now: datetime) -> bool:
    """Whether an endpoint failed so often and so long that it is switched off."""
    return failing_since is not None and failures >= LEAST_FAILURES and now - failing_since >= FAILING_FOR
