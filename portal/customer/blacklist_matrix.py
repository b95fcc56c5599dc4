"""The matrix of targets and lists: the newest result of every pair, and what is not known said as such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from blacklist.models import Listing, Provider, Result, Target
from gateway.models import Customer

KNOWN = ("listed", "not_listed")


@dataclass(frozen=True, slots=True)
class Cell:
    """One pair. `state`: listed | not_listed | unknown | '' (never asked); `listing` where a page tells more;
    `last_good` of what is unknown now."""

    state: str
    provider: Provider
    result: Result | None = None
    listing: Listing | None = None
    last_good: datetime | None = None

    @property
    def asked_at(self) -> str:
        """In the reader's zone. Not left to a template's filter: a page has a thousand cells."""
        return f"{timezone.localtime(self.result.at):%Y-%m-%d %H:%M}" if self.result else ""


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
    own = Target.objects.filter(customers=customer).values("pk")
    return Target.objects.filter(Q(pk__in=own) | Q(gateway__isnull=False))


def matrix(targets: Sequence[Target]) -> tuple[list[Provider], list[Row]]:
    """(lists with any result, a row per target with a cell per list)."""
    newest, good = _newest(targets)
    providers = list(Provider.objects.filter(pk__in={provider for _, provider in newest}).order_by("name"))
    listings = _open_listings(targets)
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
    return Cell(state, provider, result, listing, good.at if good and state == "unknown" else None)


Key = tuple[int, int]


def _newest(targets: Sequence[Target]) -> tuple[dict[Key, Result], dict[Key, Result]]:
    """(newest result, newest one that says listed or not listed) of each pair."""
    asked = Result.objects.filter(target__in=targets).exclude(status="not_applicable").order_by()
    known = Max("id", filter=Q(status__in=KNOWN))
    pairs = list(asked.values_list("target", "provider").annotate(newest=Max("id"), known=known))
    wanted = {pk for pair in pairs for pk in pair[2:]}
    results = Result.objects.only("target", "provider", "status", "reason", "at").in_bulk(wanted)
    newest = {(target, provider): results[pk] for target, provider, pk, _known in pairs}
    return newest, {(target, provider): results[pk] for target, provider, _newest, pk in pairs if pk}


def _open_listings(targets: Sequence[Target]) -> dict[Key, Listing]:
    rows = Listing.objects.filter(target__in=targets, delisted_at__isnull=True, is_confirmed=True)
    return {(one.target_id, one.provider_id): one for one in rows}
