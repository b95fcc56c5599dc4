"""Kills under load: what got its 250 arrives. `bench/crash.py` is the same by hand, for as long as one likes."""

from __future__ import annotations

import json

import pytest

from bench.crash import broken_promises, run

pytestmark = pytest.mark.slow


@pytest.mark.timeout(120)
def test_what_got_its_250_arrives_through_kills_of_the_tree_and_of_its_processes() -> None:
    """Three kills at random moments, numbered messages from six clients, a next hop that defers now and then."""
    verdict = run(3, seed=20, kinds=("one", "tree"), moods=("ok", "defer"), settle_s=60, pause_s=0.1)
    assert broken_promises(verdict) == [], json.dumps(verdict, indent=1, default=str)
    assert verdict["accepted"] > 30
    assert verdict["delivered"] + verdict["reported"] + verdict["held"] == verdict["accepted"]
    assert verdict["back_after_s"].keys() == {"one", "tree"}
