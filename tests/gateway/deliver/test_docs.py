"""What docs/delivery.md says about reasons is what the code knows."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.rules.replies import REASONS

PAGE = Path(__file__).parents[3] / "docs" / "delivery.md"


def test_every_reason_is_explained_and_no_other() -> None:
    table = PAGE.read_text("utf-8").split("| reason | means | what to do |")[1]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [word for row in rows for word in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(REASONS)
