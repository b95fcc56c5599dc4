"""Who is dead: seen by Alice, a process of node one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gateway.rules.liveness import GAP_S, HUNG_S, SILENCE_S, Beat, Watch

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
RUNNING = {1, 2}


def watch() -> Watch:
    return Watch("alice", "one", lambda pid: pid in RUNNING)


def beat(owner: str, at_s: float = 0, *, node: str = "two", pid: int = 9) -> Beat:
    return Beat(owner, node, pid, NOON + timedelta(seconds=at_s))


def looks(alice: Watch, until_s: float, *beats: Beat) -> list[str]:
    """What Alice thinks in the end, looking every two seconds at the same beats."""
    dead: list[str] = []
    for second in range(0, int(until_s) + 1, 2):
        dead = alice.dead(beats, float(second))
    return dead


def test_another_nodes_process_is_dead_when_it_falls_silent() -> None:
    assert looks(watch(), SILENCE_S, beat("bob")) == []
    assert looks(watch(), SILENCE_S + 2, beat("bob")) == ["bob"]


def test_who_beats_is_alive_whatever_its_clock_says() -> None:
    alice = watch()
    for second in range(0, 60, 2):
        assert alice.dead([beat("bob", at_s=-86400 + second)], float(second)) == []


def test_a_process_of_the_own_node_is_dead_as_soon_as_it_is_gone_and_not_while_it_runs() -> None:
    assert watch().dead([beat("carol", node="one", pid=7)], 0.0) == ["carol"]
    assert looks(watch(), HUNG_S, beat("dave", node="one", pid=2)) == []
    assert looks(watch(), HUNG_S + 2, beat("dave", node="one", pid=2)) == ["dave"]


def test_after_an_outage_of_the_database_everybody_has_time_to_beat_again() -> None:
    alice = watch()
    alice.dead([beat("bob")], 0.0)
    assert alice.dead([beat("bob")], 100.0) == []
    assert alice.dead([beat("bob")], 100.0 + GAP_S) == []


def test_nobody_buries_himself() -> None:
    assert looks(watch(), 200, beat("alice", node="one", pid=99)) == []
