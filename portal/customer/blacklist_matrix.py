"""The matrix of targets and lists: the newest result of every pair, and what is not known said as such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Max, Q, QuerySet

from blacklist.models import Listing, Provider, Result, Target
from gateway.models import Customer

KNOWN = ("listed", "not_listed")


@dataclass(frozen=True, slots=True)
class Cell:
    """One pair. `state`: listed | not_listed | unknown | '' (never asked); `listing` where a page tells more."""

    state: str
    provider: Provider
    result: Result | None = None
    listing: Listing | None = None
    last_good: datetime | None = None


@dataclass(slots=True)
class Row:
    target: Target
    cells: list[Cell] = field(default_factory=list)

    def count(self, state: str) -> int:
        return sum(cell.state == state for cell in self.cells)

    @property
    def listed(self) -> int:
        return self.count("listed")

    @property
    def unknown(self) -> int:
        return self.count("unknown")

    @property
    def clean(self) -> int:
        return self.count("not_listed")

    @property
    def checked_at(self) -> datetime | None:
        return max((cell.result.at for cell in self.cells if cell.result), default=None)


def visible_targets(customer: Customer) -> QuerySet[Target]:
    """The customer's own targets, and our gateways' addresses, which carry their mail."""
    own = Q(customers=customer) | Q(gateway__isnull=False)
    return Target.objects.filter(own, is_active=True).select_related("gateway").distinct()


def matrix(targets: Sequence[Target]) -> tuple[list[Provider], list[Row]]:
    """(lists with any result, a row per target with a cell per list)."""
    newest = _newest(targets, Q())
    providers = list(Provider.objects.filter(pk__in={provider for _, provider in newest}).order_by("name"))
    listings = _open_listings(targets)
    unknown = [key for key, result in newest.items() if result.status not in KNOWN]
    good = _newest(targets, Q(status__in=KNOWN)) if unknown else {}
    rows = []
    for target in targets:
        keys = [(target.pk, provider.pk) for provider in providers]
        cells = [
            _cell(provider, newest.get(key), listings.get(key), good.get(key))
            for provider, key in zip(providers, keys, strict=True)
        ]
        rows.append(Row(target, cells))
    return providers, rows


def _cell(provider: Provider, result: Result | None, listing: Listing | None, good: Result | None) -> Cell:
    if result is None:
        return Cell("listed" if listing else "", provider, listing=listing)
    state = result.status if result.status in KNOWN else "unknown"
    if listing is not None and state != "listed":
        state = "listed"  # open until a clean answer is confirmed
    elif listing is None and state == "listed":
        state = "unknown"  # not confirmed
    return Cell(state, provider, result, listing, good.at if good else None)


Key = tuple[int, int]


def _newest(targets: Sequence[Target], only: Q) -> dict[Key, Result]:
    rows = Result.objects.filter(only, target__in=targets).exclude(status="not_applicable").order_by()
    newest = rows.values("target", "provider").annotate(newest=Max("id")).values_list("newest", flat=True)
    return {(one.target_id, one.provider_id): one for one in Result.objects.filter(pk__in=list(newest))}


def _open_listings(targets: Sequence[Target]) -> dict[Key, Listing]:
    rows = Listing.objects.filter(target__in=targets, delisted_at__isnull=True, is_confirmed=True)
    return {(one.target_id, one.provider_id): one for one in rows.select_related("provider")}
