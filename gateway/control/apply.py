"""Declarative set-up of everything about sending: what a TOML file names is created or changed, nothing is deleted.

Idempotent: applying the same file again changes nothing. Each section has a table of the keys it knows; an unknown key
is an error that names it, because a typo must not silently leave a limit off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from gateway import crypto
from gateway.control.audit import move_policy_version, record
from gateway.models import Credential, Customer, DkimKey, Domain, Gateway, Shaping, SourceNetwork, TlsRule
from gateway.sign import public_record

ACTOR = "command line"

GATEWAY_KEYS = {
    "pool", "hostname", "source_ip", "source_ip6", "next_hop", "next_hop_username", "next_hop_tls", "weight",
}  # fmt: skip
CUSTOMER_KEYS = {
    "name", "alert_email", "language", "time_zone", "rate_limit", "ndr_enabled", "ndr_on_refusal", "delay_warning_h",
    "keep_subjects", "retention_days", "suspect_threshold", "spam_threshold",
}  # fmt: skip
CREDENTIAL_KEYS = {"label", "networks", "senders", "expires_at"}
TLS_RULE_KEYS = {"level", "on_failure", "min_version", "fingerprint", "shadow", "note"}
SHAPING_KEYS = {"max_connections", "messages_per_minute", "messages_per_connection", "note"}
NETWORK_KEYS = {"may_relay", "note"}


class ApplyError(ValueError):
    """The file cannot be applied; the text names the section, the entry and the key."""


def apply_sending(data: dict[str, Any]) -> list[str]:
    """Apply `gateways`, `customers` (with their credentials, domains, networks, tls_rules, dkim_keys) and `shaping`.

    Returns one line per difference; the caller's transaction decides whether they stay. Raises ApplyError.
    """
    lines: list[str] = []
    for row in data.get("gateways", []):
        lines += _gateway(row)
    for row in data.get("customers", []):
        lines += _customer(row)
    for row in data.get("shaping", []):
        lines += _upsert(
            Shaping,
            {"destination": _need(row, "shaping", "destination").lower()},
            row,
            SHAPING_KEYS,
            "shaping",
        )
    if lines:
        changes = [_without_secret(line) for line in lines][:200]
        record(ACTOR, "apply", detail={"number": len(lines), "changes": changes})
        move_policy_version()
    return lines


def _gateway(row: dict[str, Any]) -> list[str]:
    name = _need(row, "gateways", "name")
    lines = _upsert(
        Gateway, {"name": name}, row, GATEWAY_KEYS, "gateway", besides={"next_hop_password", "drained"}
    )
    gateway = Gateway.objects.get(name=name)
    password = row.get("next_hop_password")
    if password is not None and (
        not gateway.next_hop_password or crypto.decrypt(gateway.next_hop_password) != password
    ):
        Gateway.objects.filter(pk=gateway.pk).update(next_hop_password=crypto.encrypt(password))
        lines.append(f"gateway {name}: next_hop_password changed")
    if "drained" in row and bool(row["drained"]) != (gateway.drained_at is not None):
        drained_at = timezone.now() if row["drained"] else None
        Gateway.objects.filter(pk=gateway.pk).update(
            drained_at=drained_at, drained_reason=ACTOR if drained_at else ""
        )
        lines.append(f"gateway {name}: {'drained' if drained_at else 'in use again'}")
    return lines


PARTS = ("credentials", "domains", "networks", "tls_rules", "dkim_keys")


def _customer(row: dict[str, Any]) -> list[str]:
    slug = _need(row, "customers", "slug")
    lines = _upsert(Customer, {"slug": slug}, row, CUSTOMER_KEYS, "customer", besides={*PARTS, "suspended"})
    customer = Customer.objects.get(slug=slug)
    if "suspended" in row and bool(row["suspended"]) != (customer.suspended_at is not None):
        customer.suspended_at = timezone.now() if row["suspended"] else None
        customer.save(update_fields=["suspended_at"])
        lines.append(f"customer {slug}: {'suspended' if customer.suspended_at else 'resumed'}")
    for part, function in _PART_FUNCTIONS.items():
        for entry in row.get(part, []):
            lines += function(customer, entry)
    return lines


def _credential(customer: Customer, row: dict[str, Any]) -> list[str]:
    username = _need(row, "credentials", "username")
    there = Credential.objects.filter(username__iexact=username).first()
    if there is not None and there.customer_id != customer.id:
        raise ApplyError(f"credentials {username}: belongs to another customer")
    secret = row.get("secret") or (None if there else crypto.make_secret())
    hashed = _hashed(secret, there)
    lines = _upsert(
        Credential, {"username": there.username if there else username}, row, CREDENTIAL_KEYS, "credential",
        besides={"secret"}, on_create={"customer": customer, "secret_hash": hashed},
    )  # fmt: skip
    if there is None and "secret" not in row:
        lines.append(f"credential {username}: secret {secret}")
    if there is not None and there.secret_hash != hashed:
        Credential.objects.filter(pk=there.pk).update(secret_hash=hashed)
        lines.append(f"credential {username}: secret changed")
    return lines


def _hashed(secret: str | None, there: Credential | None) -> str:
    if secret is not None:
        return crypto.hash_secret(secret, crypto.credential_key_from_settings())
    return there.secret_hash if there is not None else ""


def _domain(customer: Customer, row: dict[str, Any]) -> list[str]:
    name = _need(row, "domains", "name").lower()
    lines = _upsert(Domain, {"customer": customer, "name": name}, row, set(), "domain", besides={"verified"})
    domain = Domain.objects.get(customer=customer, name=name)
    if "verified" not in row or bool(row["verified"]) == domain.is_verified:
        return lines
    owner = Domain.objects.filter(name=name, verified_at__isnull=False).exclude(pk=domain.pk).first()
    if row["verified"] and owner is not None:
        raise ApplyError(f"domains {name}: already proven by customer {owner.customer.slug}")
    domain.verified_at, domain.verified_by = (timezone.now(), ACTOR) if row["verified"] else (None, "")
    domain.save(update_fields=["verified_at", "verified_by"])
    return [*lines, f"domain {name}: {'verified' if row['verified'] else 'not verified any more'}"]


def _network(customer: Customer, row: dict[str, Any]) -> list[str]:
    key = {"customer": customer, "network": _need(row, "networks", "network")}
    return _upsert(SourceNetwork, key, row, NETWORK_KEYS, "network")


def _tls_rule(customer: Customer, row: dict[str, Any]) -> list[str]:
    key = {
        "customer": customer,
        "sender_domain": row.get("sender_domain", "").lower(),
        "recipient_domain": _need(row, "tls_rules", "recipient_domain").lower(),
    }
    return _upsert(TlsRule, key, row, TLS_RULE_KEYS, "tls rule")


def _dkim_key(customer: Customer, row: dict[str, Any]) -> list[str]:
    """A key that exists already: its private part as `private_key` (PEM) or `private_key_file`; it signs at once."""
    name, selector = _need(row, "dkim_keys", "domain").lower(), _need(row, "dkim_keys", "selector")
    _refuse_unknown("dkim_keys", name, row, {"domain", "selector", "private_key", "private_key_file"})
    domain = Domain.objects.filter(customer=customer, name=name).first()
    if domain is None:
        raise ApplyError(f"dkim_keys {name}: no such domain of customer {customer.slug}")
    pem = row.get("private_key") or Path(_need(row, "dkim_keys", "private_key_file")).read_text()
    if DkimKey.objects.filter(domain=domain, selector=selector, state=DkimKey.State.ACTIVE).exists():
        return []
    now = timezone.now()
    domain.dkim_keys.filter(state=DkimKey.State.ACTIVE).update(state=DkimKey.State.RETIRING, retired_at=now)
    DkimKey.objects.update_or_create(
        domain=domain, selector=selector,
        defaults={
            "state": DkimKey.State.ACTIVE,
            "private_key": crypto.encrypt(pem), "public_key": public_record(pem.encode()),
            "requested_by": ACTOR, "approved_by": ACTOR, "approved_at": now, "activated_at": now,
        },
    )  # fmt: skip
    return [f"dkim key {selector}._domainkey.{name}: active"]


_PART_FUNCTIONS: dict[str, Callable[[Customer, dict[str, Any]], list[str]]] = {
    "domains": _domain,
    "credentials": _credential,
    "networks": _network,
    "tls_rules": _tls_rule,
    "dkim_keys": _dkim_key,
}


def _upsert(
    model: type[models.Model],
    key: dict[str, Any],
    row: dict[str, Any],
    known: set[str],
    noun: str,
    *,
    besides: Iterable[str] = (),
    on_create: dict[str, Any] | None = None,
) -> list[str]:
    """Create the row that `key` names, or change the fields that differ."""
    name = str(next(value for value in reversed(list(key.values())) if isinstance(value, str)))
    _refuse_unknown(noun, name, row, {*known, *key, *besides})
    values = {field: value for field, value in row.items() if field in known}
    there = model._default_manager.filter(**key).first()
    instance = there or model(**key, **(on_create or {}))
    changed = {field: value for field, value in values.items() if getattr(instance, field) != value}
    for field, value in changed.items():
        setattr(instance, field, value)
    if there is not None and not changed:
        return []
    _save(instance, noun, name)
    if there is None:
        return [f"{noun} {name}: created"]
    return [f"{noun} {name}: {field} = {value!r}" for field, value in changed.items()]


def _save(instance: models.Model, noun: str, name: str) -> None:
    try:
        instance.full_clean()
    except ValidationError as error:
        problems = "; ".join(f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items())
        raise ApplyError(f"{noun} {name}: {problems}") from error
    instance.save()


def _need(row: dict[str, Any], section: str, key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise ApplyError(f"{section}: every entry needs {key!r} (a text)")
    return value


def _refuse_unknown(section: str, name: str, row: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(set(row) - known)
    if unknown:
        raise ApplyError(
            f"{section} {name}: unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}"
        )


def _without_secret(line: str) -> str:
    return line.partition(": secret ")[0] + ": secret made" if ": secret " in line else line
