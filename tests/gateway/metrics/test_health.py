"""What /healthz and /readyz of a relay node say: processes that hang, parts that are away."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from gateway.metrics.health import Health
from gateway.pulse import Pulse
from gateway.relay import node_name
from gateway.rules.readiness import HUNG_S, SILENT_S, hung, readiness


@pytest.mark.parametrize(
    ("degraded", "written_s", "status"),
    [
        ({}, 2.0, "ok"),
        ({"antivirus": "not configured"}, 2.0, "degraded"),
        ({"antivirus": "no answer from 127.0.0.1:3310"}, 2.0, "down"),
        ({"disk": "no space left for new mail"}, 2.0, "down"),
        ({"spam:rspamd": "does not answer"}, 2.0, "degraded"),
        ({"policy": "stale"}, 2.0, "degraded"),
        ({"clock": "has jumped"}, 2.0, "degraded"),
        ({}, SILENT_S + 1, "down"),
    ],
)
def test_readiness(degraded: dict[str, str], written_s: float, status: str) -> None:
    found = readiness(written_s, degraded)
    assert found["status"] == status
    assert set(found["components"]) == {"database", *degraded}


def test_who_hangs() -> None:
    assert hung([0.1, HUNG_S + 1, 2.0]) == [1]


async def test_a_process_that_hangs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pulse = Pulse(3)
    health = Health(pulse, dict)
    assert (await health.live()).status == 200
    now = time.monotonic()
    monkeypatch.setattr("gateway.pulse.time.monotonic", lambda: now + HUNG_S + 5)
    pulse.beat(0)
    pulse.beat(2)
    answer = await health.live()
    assert (answer.status, answer.body) == (503, b"processes that hang: 1\n")


async def test_readiness_as_json() -> None:
    answer = await Health(Pulse(1), lambda: {"disk": "full"}).ready()
    assert answer.status == 503
    assert json.loads(answer.body)["components"]["disk"] == {"status": "down", "text": "full"}
    assert (await Health(Pulse(1), dict).ready()).status == 200


def test_a_child_beats_for_its_parent() -> None:
    pulse = Pulse(2)
    time.sleep(0.05)
    if (pid := os.fork()) == 0:
        pulse.beat(1)
        os._exit(0)
    os.waitpid(pid, 0)
    ages_s = pulse.ages_s()
    assert ages_s[1] < ages_s[0]


def test_the_node_is_the_machine_outside_of_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.relay.socket.gethostname", lambda: "node1")
    monkeypatch.setattr("gateway.relay.INITIAL_PID_NAMESPACE", Path("/proc/self/ns/pid").stat().st_ino)
    assert node_name() == "node1"
    monkeypatch.setattr("gateway.relay.INITIAL_PID_NAMESPACE", 1)
    assert node_name().startswith("node1/")
