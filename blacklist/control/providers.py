"""Verbs on the lists: load, replace, give a key, switch on and off, and what a run found out about their health."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from blacklist.control.facts import (
    FactsError,
    dead_zones,
    shipped_codes,
    shipped_providers,
    shipped_reputation,
)
from blacklist.models import BlacklistSettings, Provider
from blacklist.rules.dead import is_dead_zone
from blacklist.rules.providers import parse_kinds
from gateway.control.audit import record

COLUMNS = {  # file column -> field
    "name": "name", "zone": "zone", "kind": "kind", "return_codes": "return_codes", "error_codes": "error_codes",
    "severity": "severity", "severity_reason": "severity_reason", "public_resolver_policy": "policy",
    "removal_method": "removal_method", "removal_url_or_email": "removal_to", "removal_notes": "removal_notes",
    "test_positive": "test_positive", "test_negative": "test_negative", "status_as_known": "known",
    "source_url": "source_url", "answer_mode": "answer_mode", "request_policy": "request_policy",
    "auto_expiry": "auto_expiry", "confirmation": "confirmation",
}  # fmt: skip
YES = frozenset({"yes", "true", "1", "on"})


def ensure_providers() -> int:
    """Load the shipped set into an empty database, and reputation systems that are missing (no file of lists holds
    them); returns how many were loaded."""
    if not Provider.objects.exists():
        return len(load_rows(shipped_providers(), actor="system"))
    known = set(Provider.objects.values_list("slug", flat=True))
    missing = [row for row in shipped_reputation() if row["slug"] not in known]
    return len(load_rows(missing, actor="system")) if missing else 0


@transaction.atomic
def load_rows(rows: Iterable[dict[str, Any]], *, actor: str, replace: bool = False) -> list[Provider]:
    """Create or update lists from rows with the columns of the fact files (others are ignored, `key`
    and `enabled` obeyed).

    Lists that need a key, are unconfirmed or dead are off; a list that was there keeps its switch and
    its key unless the row speaks of them. `replace`: lists that are not in the rows are switched off, or removed when
    nothing refers to them. Raises FactsError.
    """
    loaded = [_load_row(dict(row)) for row in rows]
    if replace:
        _retire(exclude=[provider.pk for provider in loaded])
    close_dead_tickets()
    record(actor, "blacklist.load_providers", detail={"lists": len(loaded), "replace": replace})
    return loaded


def _load_row(row: dict[str, Any]) -> Provider:
    slug = str(row.get("slug", "")).strip()
    if not slug:
        raise FactsError("a list without a slug")
    provider = Provider.objects.filter(slug=slug).first() or Provider(slug=slug)
    is_new = provider.pk is None
    _fill(provider, row)
    _mark_dead(provider)
    _switch(provider, row, is_new)
    try:
        provider.full_clean()
    except ValidationError as error:
        raise FactsError(f"{slug}: {_sentence(error)}") from error
    provider.save()
    return provider


def _fill(provider: Provider, row: dict[str, Any]) -> None:
    for column, field in COLUMNS.items():
        if column in row:
            setattr(provider, field, str(row[column]).strip())
    provider.name = provider.name or provider.slug
    provider.severity = provider.severity or "minor"
    provider.known = provider.known or "active"
    provider.answer_mode = provider.answer_mode or "codes"
    if "needs_key" in row:
        provider.needs_key = str(row["needs_key"]).strip().lower() in YES
    if "rate_qps" in row and row["rate_qps"] not in ("", None):
        provider.rate_qps = float(row["rate_qps"])
    if "code_rows" in row:
        provider.code_rows = row["code_rows"]
    elif provider.slug in shipped_codes():
        provider.code_rows = shipped_codes()[provider.slug]
    if row.get("key"):
        provider.set_key(str(row["key"]).strip())


def _mark_dead(provider: Provider) -> None:
    """A row may call a dead list active; the facts know better."""
    dead = is_dead_zone(provider.zone, dead_zones())
    if dead:
        provider.known, provider.severity_reason = Provider.Known.DEAD, provider.severity_reason or dead


def _switch(provider: Provider, row: dict[str, Any], is_new: bool) -> None:
    if provider.known == Provider.Known.DEAD or not provider.can_be_asked:
        provider.enabled = False
    elif "enabled" in row and row["enabled"] not in ("", None):
        provider.enabled = str(row["enabled"]).strip().lower() in YES
    elif is_new or row.get("key"):
        wanted = not provider.needs_key or provider.has_key
        provider.enabled = wanted and provider.known == Provider.Known.ACTIVE


def _sentence(error: ValidationError) -> str:
    return "; ".join(f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items())


def _retire(exclude: list[int]) -> None:
    systems = [row["slug"] for row in shipped_reputation()]  # are in no file of lists
    for provider in Provider.objects.exclude(pk__in=exclude).exclude(slug__in=systems):
        if provider.listings.exists():
            Provider.objects.filter(pk=provider.pk).update(enabled=False)
        else:
            provider.delete()


@transaction.atomic
def set_key(provider: Provider, key: str, *, actor: str) -> None:
    """Keep or forget a subscriber's key. The audit entry says that it changed, never what it is."""
    provider.set_key(key.strip())
    provider.enabled = provider.enabled and provider.can_be_asked
    provider.save(update_fields=["key_encrypted", "enabled"])
    record(actor, "blacklist.key", provider.slug, detail={"key": ["", "set" if key else "removed"]})


@transaction.atomic
def switch(provider: Provider, *, enabled: bool, actor: str) -> None:
    """Ask a list or not. Raises ValidationError for one that is dead or cannot be asked."""
    before, provider.enabled = provider.enabled, enabled
    try:
        provider.full_clean()
    except ValidationError:
        provider.enabled = before
        raise
    provider.save(update_fields=["enabled"])
    record(actor, "blacklist.switch", provider.slug, detail={"enabled": [str(before), str(enabled)]})


def close_dead_tickets() -> None:
    """Tickets of lists that turned out to be dead end as 'list invalid': nobody is told 'delisted'."""
    from blacklist.control.lifecycle import invalidate

    for provider in Provider.objects.filter(
        known=Provider.Known.DEAD, listings__delisted_at__isnull=True
    ).distinct():
        invalidate(provider, actor="system", why=provider.severity_reason)


@transaction.atomic
def apply_providers(
    rows: list[dict[str, Any]], *, actor: str = "command line", check: bool = False
) -> list[str]:
    """`[[providers]]` of the set-up file: rows with the columns of the fact files, plus `key`, `enabled`, `rate_qps`.

    Idempotent. Returns one line per list that is new or changes; with `check` nothing is written. Raises FactsError.
    """
    lines = []
    for row in rows:
        before = _snapshot(str(row.get("slug", "")))
        provider = _load_row(dict(row))
        changed = sorted(
            name for name, value in _snapshot(provider.slug).items() if before.get(name) != value
        )
        if changed:
            lines.append(f"provider {provider.slug}: {', '.join(changed) if before else 'new'}")
    if check:
        transaction.set_rollback(True)
    elif lines:
        record(actor, "blacklist.apply_providers", detail={"lists": len(lines)})
    return lines


def _snapshot(slug: str) -> dict[str, Any]:
    provider = Provider.objects.filter(slug=slug).first()
    if provider is None:
        return {}
    shown = {
        field: getattr(provider, field)
        for field in (*COLUMNS.values(), "needs_key", "enabled", "rate_qps", "code_rows")
    }
    return shown | {"key": provider.has_key}


def askable() -> tuple[list[Provider], dict[str, str]]:
    """(lists to ask, slug -> why not) of all lists. Of a public zone and its keyed twin only the keyed one is asked."""
    enabled: list[Provider] = []
    not_asked: dict[str, str] = {}
    for provider in Provider.objects.all():
        why = _why_not(provider)
        if why:
            not_asked[provider.slug] = why
        else:
            enabled.append(provider)
    keyed = {provider.slug.removesuffix("-dqs") for provider in enabled if provider.slug.endswith("-dqs")}
    for provider in [provider for provider in enabled if provider.slug in keyed]:
        enabled.remove(provider)
        not_asked[provider.slug] = "asked through the keyed zone"
    return enabled, not_asked


def _why_not(provider: Provider) -> str:
    if provider.known == Provider.Known.DEAD or is_dead_zone(provider.zone, dead_zones()):
        return provider.severity_reason or "dead"
    if not provider.zone:
        return "has no zone"
    if not provider.can_be_asked:
        return "needs a key"
    if not provider.enabled:
        return "status unconfirmed" if provider.known == Provider.Known.UNCONFIRMED else "switched off"
    return ""


def note_health(provider_id: int, health: str, why: str) -> bool:
    """What a run found out about a list. True when it turned bad just now: then support is told, once."""
    provider = Provider.objects.get(pk=provider_id)
    now = timezone.now()
    turned_bad = health != Provider.Health.OK and provider.health in (
        Provider.Health.OK,
        Provider.Health.UNKNOWN,
    )
    if provider.health != health:
        provider.health_since = now
    provider.health, provider.health_reason = health, why[:500]
    fields = ["health", "health_reason", "health_since"]
    if health == Provider.Health.OK:
        provider.last_ok_at = now
        fields.append("last_ok_at")
    provider.save(update_fields=fields)
    return turned_bad


def kinds_of(provider: Provider) -> frozenset[str]:
    return frozenset(kind.value for kind in parse_kinds(provider.kind))


@transaction.atomic
def save_provider(provider: Provider, values: dict[str, Any], *, actor: str) -> Provider:
    """Create or change a list by hand. Raises ValidationError: a dead list, an unknown kind, switched
    on without a key."""
    is_new = provider.pk is None
    detail = {name: [str(getattr(provider, name)), str(value)] for name, value in values.items()}
    for name, value in values.items():
        setattr(provider, name, value)
    provider.full_clean()
    provider.save(force_insert=is_new, update_fields=None if is_new else list(values))
    record(actor, "blacklist.list", provider.slug, detail=detail)
    close_dead_tickets()
    return provider


@transaction.atomic
def save_settings(settings: BlacklistSettings, fields: list[str], *, actor: str) -> None:
    """Change the settings of blacklist monitoring."""
    settings.full_clean()
    settings.save(update_fields=fields)
    record(actor, "blacklist.settings", detail={name: ["", str(getattr(settings, name))] for name in fields})
