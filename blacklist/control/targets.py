"""What is watched: our gateways and HELO names, customers' networks, proven sender domains, and what
was added by hand."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from publicsuffixlist import PublicSuffixList

from blacklist.models import Target
from blacklist.rules.names import canonical_target, is_loopback, is_public_address
from blacklist.rules.types import Kind, Role
from gateway.control.audit import record
from gateway.models import Customer, Domain, Gateway, Message, SourceNetwork

LARGEST_NETWORK = 256  # addresses; of larger ones only those are asked that really sent mail
SEEN_FOR = timedelta(days=30)


class TargetError(ValueError):
    """A target row that cannot be used."""


@dataclass(slots=True)
class _Wanted:
    role: Role
    kind: Kind
    gateway: Gateway | None = None
    customers: set[int] = field(default_factory=set)


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def registrable(domain: str) -> str | None:
    """'mail.acme.example' -> 'acme.example', None for a public suffix. From the list in the package,
    never the network."""
    found: str | None = _suffixes().privatesuffix(domain)
    return found


@transaction.atomic
def sync_targets() -> int:
    """Bring the watched targets in line with what is configured; returns how many are watched.

    One row per value, however many customers share it; our own gateway beats a customer's claim on the same address.
    """
    wanted = _wanted()
    existing = {target.value: target for target in Target.objects.all()}
    for value, want in wanted.items():
        target = existing.get(value) or Target(value=value)
        _bring_up(target, want)
    gone = [target.pk for value, target in existing.items() if value not in wanted and not target.is_manual]
    Target.objects.filter(pk__in=gone).update(is_active=False)
    return Target.objects.filter(is_active=True).count()


def _bring_up(target: Target, want: _Wanted) -> None:
    changed = [name for name, value in _values(target, want).items() if getattr(target, name) != value]
    for name in changed:
        setattr(target, name, _values(target, want)[name])
    if target._state.adding:
        target.save(force_insert=True)
    elif changed:
        target.save(update_fields=changed)
    if want.customers or not target.is_manual:
        target.customers.set(want.customers)


def _values(target: Target, want: _Wanted) -> dict[str, Any]:
    """What a person set by hand stays, except that our own gateway is our own gateway."""
    gateway_id = want.gateway.pk if want.gateway else None
    if not target.is_manual:
        return {"role": want.role.value, "kind": want.kind.value, "gateway_id": gateway_id, "is_active": True}
    return {"role": want.role.value, "gateway_id": gateway_id} if gateway_id else {}


def _wanted() -> dict[str, _Wanted]:
    found: dict[str, _Wanted] = {}
    for kind, value, role, gateway, customer_id in (*_gateway_rows(), *_network_rows(), *_domain_rows()):
        want = found.setdefault(value, _Wanted(role, kind, gateway))
        if customer_id is not None:
            want.customers.add(customer_id)
    return found


_Row = tuple[Kind, str, Role, Gateway | None, int | None]


def _gateway_rows() -> Iterator[_Row]:
    for gateway in Gateway.objects.all():
        for text in filter(None, (gateway.source_ip, gateway.source_ip6)):
            kind, value = canonical_target(text)
            if is_public_address(value) and not (is_loopback(value) and settings.SMG.demo):
                yield kind, value, Role.GATEWAY, gateway, None
        yield from _name_row(gateway.hostname, Role.GATEWAY, gateway, None)


def _name_row(name: str, role: Role, gateway: Gateway | None, customer_id: int | None) -> Iterator[_Row]:
    try:
        kind, value = canonical_target(name)
    except ValueError:  # 'localhost' and the like: nothing that a list could know
        return
    if kind is Kind.DOMAIN and registrable(value):
        yield kind, value, role, gateway, customer_id


def _domain_rows() -> Iterator[_Row]:
    for name, customer_id in Domain.objects.filter(verified_at__isnull=False).values_list(
        "name", "customer_id"
    ):
        yield from _name_row(name, Role.DOMAIN, None, customer_id)


def _network_rows() -> Iterator[_Row]:
    seen = _seen_addresses()
    for text, customer_id in SourceNetwork.objects.values_list("network", "customer_id"):
        network = ipaddress.ip_network(text, strict=False)
        for address in _addresses(network, seen[customer_id]):
            kind, value = canonical_target(str(address))
            if is_public_address(value) and not is_loopback(value):
                yield kind, value, Role.CUSTOMER_IP, None, customer_id


def _addresses(network: Any, seen: set[str]) -> Iterable[object]:
    if network.num_addresses <= LARGEST_NETWORK:
        return list(network.hosts()) or [network.network_address]
    inside = (ipaddress.ip_address(text) for text in sorted(seen))
    return [one for one in inside if one.version == network.version and one in network][:LARGEST_NETWORK]


def _seen_addresses() -> dict[int, set[str]]:
    """The addresses that customers with large networks really sent from."""
    large = {
        customer_id
        for text, customer_id in SourceNetwork.objects.values_list("network", "customer_id")
        if ipaddress.ip_network(text, strict=False).num_addresses > LARGEST_NETWORK
    }
    found: dict[int, set[str]] = defaultdict(set)
    since = timezone.now() - SEEN_FOR
    rows = Message.objects.filter(customer_id__in=large, received_at__gte=since, client_ip__isnull=False)
    for customer_id, address in rows.order_by().values_list("customer_id", "client_ip").distinct():
        found[customer_id].add(str(address))
    return found


@transaction.atomic
def apply_targets(
    rows: list[dict[str, Any]], *, actor: str = "command line", check: bool = False
) -> list[str]:
    """`[[targets]]` of the set-up file: `value` (or `target`), `role` [customer_ip for addresses, domain for domains],
    `customers` or `customer` (slugs), `gateway` (name), `note`, `active`.

    Idempotent. Returns one line per target that is new or changes; with `check` nothing is written. Raises TargetError.
    """
    lines = [line for row in rows if (line := _apply_row(row))]
    if check:
        transaction.set_rollback(True)
    elif lines:
        record(actor, "blacklist.apply_targets", detail={"targets": len(lines)})
    return lines


def _apply_row(row: dict[str, Any]) -> str:
    text = str(row.get("value") or row.get("target") or "")
    try:
        kind, value = canonical_target(text)
        default = Role.DOMAIN if kind is Kind.DOMAIN else Role.CUSTOMER_IP
        role = Role(str(row.get("role") or default))
    except ValueError as error:
        raise TargetError(f"target {text!r}: {error}") from error
    target = Target.objects.filter(value=value).first() or Target(value=value)
    is_new = target.pk is None
    before = _state(target)
    target.kind, target.role, target.is_manual = kind.value, role.value, True
    target.is_active, target.note = bool(row.get("active", True)), str(row.get("note", target.note))
    target.gateway = _gateway(row, value) or target.gateway
    target.save()
    if "customer" in row or "customers" in row:
        target.customers.set(_customers(row))
    changed = _state(target) != before
    return f"target {value}: {'new' if is_new else 'changed'}" if is_new or changed else ""


def _state(target: Target) -> tuple[object, ...]:
    customers = set(target.customers.values_list("pk", flat=True)) if target.pk else set()
    return (
        target.kind,
        target.role,
        target.is_manual,
        target.is_active,
        target.note,
        target.gateway_id,
        customers,
    )


def _gateway(row: dict[str, Any], value: str) -> Gateway | None:
    if row.get("gateway"):
        gateway = Gateway.objects.filter(name=row["gateway"]).first()
        if gateway is None:
            raise TargetError(f"target {value}: there is no gateway named {row['gateway']!r}")
        return gateway
    return (
        Gateway.objects.filter(source_ip=value).first() or Gateway.objects.filter(source_ip6=value).first()
        if _is_ip(value)
        else None
    )


def _is_ip(value: str) -> bool:
    return canonical_target(value)[0] is not Kind.DOMAIN


def _customers(row: dict[str, Any]) -> list[Customer]:
    slugs = row.get("customers") or ([row["customer"]] if row.get("customer") else [])
    found = list(Customer.objects.filter(slug__in=slugs))
    missing = set(slugs) - {customer.slug for customer in found}
    if missing:
        raise TargetError(f"there is no customer {', '.join(sorted(missing))}")
    return found


@transaction.atomic
def save_target(text: str, values: dict[str, Any], *, actor: str) -> Target:
    """Create or change a watched target by hand; `values` are fields of Target, of the changed ones only."""
    kind, value = canonical_target(text)
    target = Target.objects.filter(value=value).first() or Target(
        value=value, kind=kind.value, role=values.get("role", "")
    )
    for name in ("role", "gateway", "is_active", "note"):
        if name in values:
            setattr(target, name, values[name])
    target.is_manual = True
    target.full_clean()
    target.save()
    if "customers" in values:
        target.customers.set(values["customers"])
    record(actor, "blacklist.target", value, detail={name: ["", str(one)] for name, one in values.items()})
    return target


def check_soon(target: Target, *, actor: str) -> None:
    """Ask every list about a target, in the background."""
    from django_q.tasks import async_task

    async_task("blacklist.control.schedules.check_target", target.pk, actor)
