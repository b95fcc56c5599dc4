"""Specs of the shipped lists, for tables."""

from blacklist.control.facts import shipped_codes, shipped_providers
from blacklist.rules.providers import Cells, CodeRow, build_spec
from blacklist.rules.types import ProviderSpec

FIELDS = (
    "slug", "name", "zone", "kind", "return_codes", "error_codes", "severity", "answer_mode",
    "removal_method", "test_positive", "test_negative",
)  # fmt: skip


def row_of(slug: str) -> dict[str, str]:
    return next(row for row in shipped_providers() if row["slug"] == slug)


def spec(slug: str, key: str = "") -> ProviderSpec:
    row = row_of(slug)
    rows = [CodeRow(**code) for code in shipped_codes().get(slug, [])]
    return build_spec(Cells(**{name: row.get(name, "") for name in FIELDS}), rows, key)


def plain(**changes: str) -> ProviderSpec:
    """A list nobody ships: what is not said is the usual."""
    values = dict.fromkeys(FIELDS, "") | {
        "slug": "lab", "name": "Lab", "zone": "bl.example", "kind": "ip4",
        "return_codes": "127.0.0.2=listed", "severity": "major",
        "answer_mode": "codes",
    }  # fmt: skip
    return build_spec(Cells(**(values | changes)))
