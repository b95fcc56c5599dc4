"""API tokens: made, recognised, revoked. Only a keyed hash is stored; the token is shown once.

`smg_<prefix>_<secret>`: the prefix finds the row and may be shown, the secret has 256 bits. A token acts for its maker
at one customer and never may do more than the maker may do there today: who leaves the team takes their tokens along.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway import crypto
from gateway.control.audit import record
from gateway.models import Customer
from portal.models import ApiToken, Membership, User

READ, WRITE = "read", "write"
SCOPES = (READ, WRITE)
MARK = "smg"
NOTED_EVERY = timedelta(minutes=1)  # last use is written at most this often
MOST_TOKENS = 50


@transaction.atomic
def create(
    customer: Customer,
    user: User,
    *,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
    actor: str,
) -> tuple[ApiToken, str]:
    """A new token and its text, which is nowhere else. Raises ValidationError."""
    _check(customer, name, scopes, expires_at)
    prefix, secret = secrets.token_hex(5), secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        customer=customer,
        user=user,
        name=name.strip(),
        prefix=prefix,
        secret_hash=_hash(secret),
        scopes=[scope for scope in SCOPES if scope in scopes],
        expires_at=expires_at,
    )
    record(actor, "token.create", token, customer=customer, detail={"scopes": ["", " ".join(token.scopes)]})
    return token, f"{MARK}_{prefix}_{secret}"


@transaction.atomic
def revoke(token: ApiToken, *, actor: str) -> bool:
    """The token works no more. True if something changed."""
    if not ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
        return False
    record(actor, "token.revoke", token, customer=token.customer)
    token.refresh_from_db(fields=["revoked_at"])
    return True


def recognise(text: str) -> tuple[ApiToken, Membership] | None:
    """The token and the membership it acts with, or None for whatever does not work (any more)."""
    mark, _one, rest = text.partition("_")
    prefix, _two, secret = rest.partition("_")
    if mark != MARK or not secret:
        return None
    token = ApiToken.objects.select_related("user", "customer").filter(prefix=prefix).first()
    stored = token.secret_hash if token else ""
    if not crypto.secret_matches(secret, stored, _key()) or token is None:
        return None
    if not token.is_active or not token.user.is_active:
        return None
    member = Membership.objects.filter(user=token.user, customer=token.customer).first()
    return (token, _narrowed(member, token)) if member else None


def note_use(token: ApiToken, client_ip: str | None) -> None:
    """Remember the last use, without a write per request."""
    now = timezone.now()
    unnoted = Q(last_used_at=None) | Q(last_used_at__lt=now - NOTED_EVERY)
    ApiToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=now, last_used_ip=client_ip)


def _narrowed(member: Membership, token: ApiToken) -> Membership:
    """The maker's membership; a token without 'write' is a viewer's, whoever made it. Never saved."""
    role = member.role if WRITE in token.scopes else Membership.Role.VIEWER
    return Membership(id=member.pk, user=token.user, customer=token.customer, role=role)


def _check(customer: Customer, name: str, scopes: Sequence[str], expires_at: datetime | None) -> None:
    errors: dict[str, object] = {}
    if not name.strip() or len(name) > 100:
        errors["name"] = _("Name the program that will use it, in at most 100 characters.")
    if not scopes or set(scopes) - set(SCOPES):
        errors["scopes"] = _("Choose read, write, or both.")
    if expires_at is not None and expires_at <= timezone.now():
        errors["expires_at"] = _("This time is over.")
    if customer.api_tokens.filter(revoked_at=None).count() >= MOST_TOKENS:
        errors["name"] = _("Revoke tokens that are not used any more first.")
    if errors:
        raise ValidationError(errors)


def _hash(secret: str) -> str:
    return crypto.hash_secret(secret, _key())


@lru_cache(maxsize=1)
def _key() -> bytes:
    return crypto.derive_key(settings.SECRET_KEY, "api tokens")
