"""Pages of a list by its last id, newest first: as fast on page 1000 as on page 1, and never a count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet

AnyModel = TypeVar("AnyModel", bound=Model)
SIZE = 50


@dataclass(frozen=True, slots=True)
class KeysetPage(Generic[AnyModel]):
    rows: list[AnyModel]
    next_cursor: str


def keyset_page(rows: QuerySet[AnyModel], cursor: str, size: int = SIZE) -> KeysetPage[AnyModel]:
    """A page of rows older than the cursor; a cursor that makes no sense counts as none."""
    if cursor.isdecimal() and len(cursor) < 20:
        rows = rows.filter(pk__lt=min(int(cursor), 2**63 - 1))
    found: list[Any] = list(rows.order_by("-pk")[: size + 1])
    return KeysetPage(found[:size], str(found[size - 1].pk) if len(found) > size else "")
