"""When the daily test of a TLS rule is worth a mail: a table, and no word left without its twin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.rules.tls_warnings import judge, letter

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON = (NOW + timedelta(days=10)).isoformat()
LATER = (NOW + timedelta(days=60)).isoformat()
PAST = (NOW - timedelta(days=1)).isoformat()


def probe(state: str = "works", end: str | None = LATER, **more: Any) -> dict[str, Any]:
    return {"state": state, "checked_at": NOW.isoformat(), "expires_at": end, "problem": "why", **more}


@pytest.mark.parametrize(
    ("old", "new", "level", "warning"),
    [
        ({}, probe(), "verify", ""),
        ({}, probe("fails"), "verify", ""),  # once may be our own bad moment
        (probe(failures=1), probe("fails"), "verify", "broken"),
        (probe(failures=2), probe("fails"), "verify", ""),  # said already
        (probe(failures=9), probe("works"), "verify", "recovered"),
        (probe(failures=9), probe("partly"), "verify", "recovered"),
        (probe(failures=1), probe("works"), "verify", ""),
        ({}, probe(end=SOON), "verify", "expires"),
        ({}, probe(end=SOON), "dane", "expires"),
        ({}, probe(end=SOON), "encrypt", ""),
        ({}, probe(end=PAST), "verify", ""),
        ({}, probe(end=None), "verify", ""),
        (probe(warned_for=SOON), probe(end=SOON), "verify", ""),
        (probe(warned_for=PAST), probe(end=SOON), "verify", "expires"),
        (probe(failures=1), probe("unavailable"), "dane", ""),
    ],
)
def test_warnings(old: dict[str, Any], new: dict[str, Any], level: str, warning: str) -> None:
    assert judge(old, new, level, NOW).warning == warning


def test_what_is_kept() -> None:
    assert judge({}, probe("fails"), "verify", NOW).probe["failures"] == 1
    kept = judge({}, probe(end=SOON), "verify", NOW).probe
    assert (kept["warned_for"], kept["failures"], kept["state"]) == (SOON, 0, "works")
    assert judge(kept, probe(end=SOON), "verify", NOW).probe["warned_for"] == SOON


@pytest.mark.parametrize("warning", ["broken", "recovered", "expires"])
@pytest.mark.parametrize("language", ["de", "en"])
@pytest.mark.parametrize("on_failure", ["reject", "hold"])
def test_letters(warning: str, language: str, on_failure: str) -> None:
    subject, text = letter(
        warning,
        language,
        domain="bank.example",
        level="verify",
        on_failure=on_failure,
        probe=probe(end=SOON),
        url="https://smg.example/tls/",
    )
    assert "bank.example" in subject
    assert "\n" not in subject
    assert "https://smg.example/tls/" in text
    assert "{" not in subject + text
