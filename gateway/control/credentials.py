"""Verbs on SMTP logins. The secret leaves here once, as a return value; only its keyed hash is stored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.control.audit import move_policy_version, record, save_changes
from gateway.crypto import credential_key_from_settings, hash_secret, make_secret
from gateway.models import Credential, Customer

CHANGEABLE = {"label", "networks", "senders", "expires_at"}
OVERLAP_H = 24
LONGEST_OVERLAP_H = 30 * 24
SHORTEST_SECRET = 12  # of secrets that are given (apply, moves from other systems)


@transaction.atomic
def create(
    customer: Customer, *, actor: str, username: str, secret: str = "", **values: Any
) -> tuple[Credential, str]:
    """A new login and its secret (made here unless given). `values`: label, networks, senders, expires_at.

    Raises ValidationError: a taken or impossible user name, a sender that is not the customer's, a short secret.
    """
    _refuse_unknown(values)
    if secret and len(secret) < SHORTEST_SECRET:
        raise ValidationError({"secret": _("At least %(number)s characters.") % {"number": SHORTEST_SECRET}})
    secret = secret or make_secret()
    credential = Credential(customer=customer, username=username.strip(), secret_hash=_hash(secret), **values)
    check_senders(customer, credential.senders)
    credential.full_clean()
    credential.save(force_insert=True)
    record(
        actor, "credential.create", credential, customer=customer, detail={"label": ["", credential.label]}
    )
    move_policy_version()
    return credential, secret


@transaction.atomic
def change(credential: Credential, *, actor: str, **values: Any) -> list[str]:
    """Save the named fields. Returns the names of those that changed. Raises ValidationError."""
    _refuse_unknown(values)
    check_senders(credential.customer, values.get("senders", []))
    return save_changes(credential, actor, "credential.change", customer=credential.customer, **values)


@transaction.atomic
def rotate(credential: Credential, *, actor: str, overlap_h: int = OVERLAP_H) -> str:
    """A new secret; the old one stays good for `overlap_h` hours (0: ends now). Raises ValidationError."""
    if not 0 <= overlap_h <= LONGEST_OVERLAP_H:
        raise ValidationError(
            {"overlap_h": _("Between 0 and %(hours)s hours.") % {"hours": LONGEST_OVERLAP_H}}
        )
    if credential.block == Credential.Block.REVOKED:
        raise ValidationError(_("This login is revoked. Make a new one."), code="revoked")
    secret = make_secret()
    credential.previous_secret_hash = credential.secret_hash if overlap_h else ""
    credential.previous_until = timezone.now() + timedelta(hours=overlap_h) if overlap_h else None
    credential.secret_hash = _hash(secret)
    credential.save(update_fields=["secret_hash", "previous_secret_hash", "previous_until"])
    record(
        actor,
        "credential.rotate",
        credential,
        customer=credential.customer,
        detail={"overlap_h": ["", str(overlap_h)]},
    )
    move_policy_version()
    return secret


@transaction.atomic
def revoke(credential: Credential, *, actor: str, reason: str = "") -> bool:
    """End the login for good, its old secret too. True if something changed."""
    if credential.block == Credential.Block.REVOKED:
        return False
    credential.previous_secret_hash, credential.previous_until = "", None
    _block(credential, Credential.Block.REVOKED, reason)
    record(
        actor, "credential.revoke", credential, customer=credential.customer, detail={"reason": ["", reason]}
    )
    move_policy_version()
    return True


@transaction.atomic
def blow_fuse(
    credential: Credential, *, reason: str, signals: dict[str, Any] | None = None, actor: str = "system"
) -> bool:
    """Stop one login because of unusual traffic; `signals` are its numbers (`Breach.as_json`), for pages in any
    language. True if something changed; a revoked one stays revoked."""
    if not credential.is_active:
        return False
    _block(credential, Credential.Block.FUSE, reason)
    detail = {"reason": ["", reason], **({"signals": signals} if signals else {})}
    record(actor, "credential.fuse", credential, customer=credential.customer, detail=detail)
    move_policy_version()
    return True


@transaction.atomic
def release_fuse(credential: Credential, *, actor: str) -> bool:
    """Let a login that the abuse fuse had stopped send again. True if something changed."""
    if credential.block != Credential.Block.FUSE:
        return False
    detail = {"reason": [credential.block_reason, ""]}
    _block(credential, Credential.Block.NONE, "")
    record(actor, "credential.release", credential, customer=credential.customer, detail=detail)
    move_policy_version()
    return True


def check_senders(customer: Customer, senders: list[str]) -> None:
    """Every narrower sender must lie in a domain that the customer has entered. Raises ValidationError."""
    known = set(customer.domains.values_list("name", flat=True)) if senders else set()
    foreign = [sender for sender in senders if not _within(sender.rpartition("@")[2].lower(), known)]
    if foreign:
        message = _("“%(sender)s” is not in one of your domains.")
        raise ValidationError({"senders": ValidationError(message, params={"sender": foreign[0]})})


def _within(domain: str, known: set[str]) -> bool:
    labels = domain.split(".")
    return any(".".join(labels[start:]) in known for start in range(len(labels)))


def _block(credential: Credential, block: str, reason: str) -> None:
    credential.block, credential.block_reason = block, reason[:300]
    credential.blocked_at = timezone.now() if block else None
    fields = ["block", "block_reason", "blocked_at", "previous_secret_hash", "previous_until"]
    credential.save(update_fields=fields)


def _hash(secret: str) -> str:
    return hash_secret(secret, credential_key_from_settings())


def _refuse_unknown(values: dict[str, Any]) -> None:
    unknown = set(values) - CHANGEABLE
    if unknown:
        raise ValidationError(_("Unknown fields: %(names)s"), params={"names": ", ".join(sorted(unknown))})
