"""Verbs on forced TLS rules."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from gateway.control.audit import move_policy_version, record, save_changes
from gateway.models import Customer, TlsRule
from gateway.rules.domain_names import AddressError, parse_domain

CHANGEABLE = {
    "sender_domain", "recipient_domain", "level", "on_failure", "min_version", "fingerprint", "shadow", "note",
}  # fmt: skip


@transaction.atomic
def add(customer: Customer, *, actor: str, probe: dict[str, Any] | None = None, **values: Any) -> TlsRule:
    """A new rule, in force from the next policy version on. Raises ValidationError.

    `probe` is the preflight's verdict that the person saw: {state, checked_at, expires_at, problem}.
    """
    rule = TlsRule(customer=customer, probe=probe or {}, **_canonical(customer, values))
    rule.full_clean()
    rule.save(force_insert=True)
    detail = {name: ["", str(value)] for name, value in values.items()}
    record(actor, "tls_rule.add", rule, customer=customer, detail=detail)
    move_policy_version()
    return rule


@transaction.atomic
def change(rule: TlsRule, *, actor: str, **values: Any) -> list[str]:
    """Save the named fields. Returns the names of those that changed. Raises ValidationError."""
    values = _canonical(rule.customer, values)
    return save_changes(rule, actor, "tls_rule.change", customer=rule.customer, **values)


@transaction.atomic
def remove(rule: TlsRule, *, actor: str) -> None:
    """End the rule: mail to this partner is encrypted only if their server offers it."""
    record(actor, "tls_rule.remove", rule, customer=rule.customer, detail={"level": [rule.level, ""]})
    rule.delete()
    move_policy_version()


def keep_probe(rule: TlsRule, probe: dict[str, Any]) -> None:
    """Store a preflight's verdict. Nothing configured changes, so no audit entry."""
    rule.probe = probe
    rule.save(update_fields=["probe"])
    move_policy_version()  # what is known to fail is refused at RCPT


def _canonical(customer: Customer, values: dict[str, Any]) -> dict[str, Any]:
    unknown = set(values) - CHANGEABLE
    if unknown:
        raise ValidationError(_("Unknown fields: %(names)s"), params={"names": ", ".join(sorted(unknown))})
    found = dict(values)
    if "recipient_domain" in found:
        found["recipient_domain"] = canonical_pattern(found["recipient_domain"])
    if found.get("sender_domain"):
        found["sender_domain"] = _own_domain(customer, found["sender_domain"])
    if "fingerprint" in found:
        found["fingerprint"] = found["fingerprint"].replace(":", "").strip().lower()
    return found


def canonical_pattern(text: str) -> str:
    """'Bank.Example.' -> 'bank.example', '.bank.example' stays a pattern. Raises ValidationError."""
    text = text.strip()
    dot = "." if text.startswith(".") else ""
    return dot + _domain(text.lstrip("."), "recipient_domain")


def _own_domain(customer: Customer, text: str) -> str:
    name = _domain(text.strip(), "sender_domain")
    labels = name.split(".")
    parents = {".".join(labels[start:]) for start in range(len(labels))}
    if not customer.domains.filter(name__in=parents).exists():
        message = _("“%(value)s” is not one of your domains.")
        raise ValidationError({"sender_domain": ValidationError(message, params={"value": text})})
    return name


def _domain(text: str, field: str) -> str:
    try:
        return parse_domain(text.rstrip("."))
    except AddressError as error:
        message = _("“%(value)s” is not a domain name like example.com.")
        raise ValidationError({field: ValidationError(message, params={"value": text[:100]})}) from error
