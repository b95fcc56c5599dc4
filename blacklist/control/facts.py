"""The facts that the project ships (blacklist/data): lists, codes, reputation systems without DNS."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blacklist.rules.dead import REDUNDANT, is_dead_zone

if TYPE_CHECKING:
    from blacklist.models import Provider

DATA = Path(__file__).resolve().parent.parent / "data"
REQUIRED = frozenset({"slug", "zone", "kind"})
DEFAULT_REPUTATION_SEVERITY = "major"


class FactsError(ValueError):
    """A file that is not a list of providers; the text says what is wrong and where."""


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a file with a header line. Raises FactsError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = REQUIRED - set(reader.fieldnames or ())
            if missing:
                raise FactsError(f"{path.name}: columns are missing: {', '.join(sorted(missing))}")
            return [_row(path, number, row) for number, row in enumerate(reader, 2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FactsError(f"{path}: {error}") from error


def _row(path: Path, number: int, row: dict[str | None, Any]) -> dict[str, str]:
    if None in row:
        raise FactsError(
            f"{path.name}, line {number}: more cells than columns (is a text with commas not quoted?)"
        )
    return {str(key): (value or "").strip() for key, value in row.items()}


@lru_cache(maxsize=1)
def shipped_providers() -> tuple[dict[str, str], ...]:
    """The default set: every known list, and the reputation systems that only replies show."""
    return (*read_csv(DATA / "providers.csv"), *shipped_reputation())


@lru_cache(maxsize=1)
def shipped_reputation() -> tuple[dict[str, str], ...]:
    """Reputation systems without DNS, in the form of list rows without a zone."""
    return tuple(_reputation_rows())


def _reputation_rows() -> Iterable[dict[str, str]]:
    with (DATA / "reputation.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield {
                **row,
                "zone": "",
                "kind": "ip4+ip6",
                "answer_mode": "none",
                "severity": DEFAULT_REPUTATION_SEVERITY,
                "severity_reason": row["recognised_by"],
                "status_as_known": "active",
                "request_policy": {"email": "e-mail, after a person has confirmed the fix"}.get(
                    row["removal_method"], "person-fills-form"
                ),
            }


@lru_cache(maxsize=1)
def shipped_codes() -> dict[str, list[dict[str, str]]]:
    """Code rows by slug, with the names of rules.providers.CodeRow."""
    found: dict[str, list[dict[str, str]]] = {}
    with (DATA / "codes.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["slug"], []).append(
                {
                    "value": row["value"],
                    "label": row["label"],
                    "answer_class": row["answer_class"],
                    "severity_gateway": row["severity_gateway"],
                    "severity_other": row["severity_customer_ip_or_domain"],
                    "removal": row["removal_method"],
                }
            )
    return found


@lru_cache(maxsize=1)
def dead_zones() -> dict[str, str]:
    """Zone -> why it is never asked."""
    dead = {
        row["zone"]: row["severity_reason"]
        for row in shipped_providers()
        if row["status_as_known"] == "dead" and row["zone"]
    }
    return dead | dict.fromkeys(REDUNDANT, "part of Spamhaus ZEN: the operator wants ZEN to be asked alone")


def why_dead(provider: Provider) -> str:
    """Why a list must not be asked although somebody added it as alive; '' when nothing is known against it."""
    if provider.known == provider.Known.DEAD and not provider.enabled:
        return ""
    return is_dead_zone(provider.zone, dead_zones())
