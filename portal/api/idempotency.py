"""Idempotency-Key: the first answer to a POST is kept for a day and given again to the same request.

Answers may hold secrets that are shown once (a token, an SMTP secret), so they are kept encrypted.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from gateway import crypto
from gateway.models import Customer
from portal.api.problems import Conflict, Unprocessable
from portal.models import IdempotencyKey

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
LOST_AFTER = timedelta(minutes=2)  # a request that never answered may be tried again
LONGEST = 255


def begin(request: Request, customer: Customer) -> IdempotencyKey | Response | None:
    """None: no key. A row: work, then `finish` or `forget`. A Response: it was done before, this is the answer.

    Raises Conflict while the first request runs, Unprocessable for the key of another request.
    """
    key = request.headers.get(HEADER)
    if request.method != "POST" or key is None:
        return None
    if not 0 < len(key) <= LONGEST or not key.isprintable():
        raise ValidationError({HEADER: [f"1 to {LONGEST} printable characters."]})
    old = timezone.now() - KEPT
    IdempotencyKey.objects.filter(customer=customer, key=key, created_at__lt=old).delete()
    fingerprint = fingerprint_of(request)
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(customer=customer, key=key, fingerprint=fingerprint)
    except IntegrityError:
        return _again(IdempotencyKey.objects.get(customer=customer, key=key), fingerprint)


def finish(row: IdempotencyKey, response: Response) -> None:
    """Keep a success; anything else may be tried again with the same key."""
    if not 200 <= response.status_code < 300:
        forget(row)
        return
    text = json.dumps(response.data, cls=JSONEncoder)
    IdempotencyKey.objects.filter(pk=row.pk).update(status=response.status_code, body=crypto.encrypt(text))


def forget(row: IdempotencyKey) -> None:
    IdempotencyKey.objects.filter(pk=row.pk).delete()


def forget_old() -> str:
    """Delete what is older than a day; run by the schedule. Answers may hold secrets, so they do not stay."""
    forgotten, _rows = IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
    return f"{forgotten} keys forgotten"


def fingerprint_of(request: Request) -> str:
    """The same for the same request by the same token or person."""
    asker = f"token {request.auth.pk}" if request.auth else f"user {request.user.pk}"
    parts: list[Any] = [asker, request.method, request.get_full_path(), request.data]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, cls=JSONEncoder).encode()).hexdigest()


def _again(row: IdempotencyKey, fingerprint: str) -> IdempotencyKey | Response:
    if row.fingerprint != fingerprint:
        raise Unprocessable
    if row.status:
        stored = json.loads(crypto.decrypt(str(row.body)))
        return Response(stored, status=row.status, headers={"Idempotent-Replayed": "true"})
    lost = IdempotencyKey.objects.filter(pk=row.pk, status=0, created_at__lt=timezone.now() - LOST_AFTER)
    if not lost.update(created_at=timezone.now()):
        raise Conflict
    return row
