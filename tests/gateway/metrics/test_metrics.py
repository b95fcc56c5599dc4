"""What is counted, what the page shows of it, and how the listener treats strangers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from prometheus_client.parser import text_string_to_metric_families

from gateway import store
from gateway.config import Config, Endpoint
from gateway.db import Database
from gateway.metrics import BUCKETS_S, Meters
from gateway.metrics.gather import Gatherer
from gateway.metrics.page import Counted, page
from gateway.metrics.server import REQUEST_BYTES, Answer, MetricsServer
from gateway.models import Complaint, Worker
from gateway.rules.gauges import Gauge
from gateway.rules.policy import GatewayPolicy, Snapshot
from gateway.rules.reasons import refuse
from gateway.rules.types import (
    Category,
    Outcome,
    Pool,
    Refused,
    Reply,
    Stage,
    State,
    TraceEntry,
    Verdict,
)
from gateway.snapshot import SnapshotSource
from tests.factories import make_customer, make_message

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
GOOD = GatewayPolicy(id=1, name='mta"01', pool=Pool.GOOD, hostname="mta01.smg.example")


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The page as Prometheus reads it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def shown(meters: Meters, name: str, **labels: str) -> float:
    numbers = {"meters": meters.as_json()}
    return samples(page([Counted("0", numbers)], []))[name, tuple(sorted({**labels, "process": "0"}.items()))]


def outcome(state: State) -> Outcome:
    return Outcome(7, state, Reply(250, "2.0.0", "Ok"), Stage.DATA, NOW, 1)


def test_counts_add_up() -> None:
    meters = Meters()
    for _ in range(3):
        meters.count("smg_messages_accepted", Category.CLEAN.value)
    meters.sent(GOOD, [outcome(State.DELIVERED), outcome(State.QUEUED), outcome(State.DELIVERED)])
    assert shown(meters, "smg_messages_accepted_total", category="clean") == 3
    labels = {"gateway": 'mta"01', "pool": "good"}
    assert shown(meters, "smg_deliveries_total", outcome="delivered", **labels) == 2
    assert shown(meters, "smg_deliveries_total", outcome="deferred", **labels) == 1


@pytest.mark.parametrize(
    ("stage", "refused", "also"),
    [
        ("data", refuse("scanner"), "smg_temporary_failures_total"),
        ("mail", refuse("rate_limit"), ""),  # temporary, but the customer's own doing
        ("auth", Refused(Reply(535, "5.7.8", "no"), "login"), "smg_auth_failures_total"),
        ("auth", Refused(Reply(454, "4.7.0", "later"), "login_backoff"), ""),
    ],
)
def test_refusals(stage: str, refused: Refused, also: str) -> None:
    meters = Meters()
    meters.refused(stage, refused)
    found = samples(page([Counted("0", {"meters": meters.as_json()})], []))
    counted = {name for (name, _), value in found.items() if value and name.endswith("_total")}
    assert counted == {"smg_refusals_total"} | ({also} if also else set())
    assert shown(meters, "smg_refusals_total", stage=stage, reason=refused.reason) == 1


def test_the_trace_gives_the_times_of_the_checks() -> None:
    meters = Meters()
    meters.checked(Verdict(trace=(TraceEntry("virus", "pass", {}, 4.0),), refused=refuse("internal")))
    assert shown(meters, "smg_step_seconds_bucket", step="check.virus", le="0.0025") == 0
    assert shown(meters, "smg_step_seconds_bucket", step="check.virus", le="0.005") == 1
    assert shown(meters, "smg_step_seconds_sum", step="check.virus") == pytest.approx(0.004)
    assert shown(meters, "smg_refusals_total", stage="data", reason="internal") == 1


def test_buckets_are_cumulative_and_hold_the_bound_itself() -> None:
    meters = Meters()
    for seconds in (0.001, 0.002, 99.0):
        meters.observe("smg_data_to_250_seconds", seconds=seconds)
    assert shown(meters, "smg_data_to_250_seconds_bucket", le="0.001") == 1
    assert shown(meters, "smg_data_to_250_seconds_bucket", le=str(BUCKETS_S[-1])) == 2
    assert shown(meters, "smg_data_to_250_seconds_bucket", le="+Inf") == 3
    assert shown(meters, "smg_data_to_250_seconds_count") == 3


async def test_a_step_that_fails_is_timed_too() -> None:
    async def broken() -> None:
        raise ValueError("no route")

    meters = Meters()
    with pytest.raises(ValueError, match="no route"):
        await meters.timed("route", broken())
    assert shown(meters, "smg_step_seconds_count", step="route") == 1


def test_processes_stay_apart() -> None:
    one, two = Meters(), Meters()
    one.count("smg_ndrs", by=2)
    two.count("smg_ndrs")
    listeners = {"smtp": {"accepted": 5, "refused": 1, "open": 2}}
    processes = [
        Counted("0", {"meters": one.as_json(), "listeners": listeners}),
        Counted("1", {"meters": two.as_json()}),
    ]
    found = samples(page(processes, []))
    assert found["smg_ndrs_total", (("process", "0"),)] == 2
    assert found["smg_ndrs_total", (("process", "1"),)] == 1
    assert (
        found["smg_connections_total", (("listener", "smtp"), ("outcome", "refused"), ("process", "0"))] == 1
    )


def test_what_another_version_counted_is_left_out() -> None:
    numbers = {
        "meters": {
            "counters": [["smg_gone", ["x"], 1], ["smg_ndrs", ["a label too many"], 1]],
            "histograms": [["smg_data_to_250_seconds", [], [1, 2, 3]]],
        }
    }
    names = {name for name, _ in samples(page([Counted("0", numbers), Counted("1", {})], []))}
    assert not {name for name in names if name.startswith(("smg_gone", "smg_ndrs", "smg_data"))}


def test_gauges() -> None:
    found = samples(
        page([], [Gauge("smg_part_up", "up", 0, {"part": "antivirus"}), Gauge("smg_tickets_open", "t", 4)])
    )
    assert found["smg_part_up", (("part", "antivirus"),)] == 0
    assert found["smg_tickets_open", ()] == 4


# ------------------------------------------------------------------------------------------------- the database


@pytest.mark.django_db(transaction=True)
def test_gauges_of_an_empty_database() -> None:
    found = {(gauge.name, *gauge.labels.values()): gauge.value for gauge in store.read_gauges(NOW)}
    assert found["smg_queue_recipients", "queued", "good"] == 0
    assert found["smg_queue_oldest_seconds", "bad"] == 0
    assert found["smg_complaints_day", "abuse"] == 0
    assert found["smg_listings_active", "gateway"] == 0


@pytest.mark.django_db
def test_complaints_of_a_day_by_kind() -> None:
    message = make_message(make_customer("acme"))
    reports = [
        (1, "abuse", message),
        (2, "abuse", message),
        (3, "not-spam", message),
        (25, "fraud", message),
        (1, "virus", None),
    ]
    for number, (age_h, kind, about) in enumerate(reports):
        Complaint.objects.create(
            at=NOW - timedelta(hours=age_h), kind=kind, message=about, digest=str(number)
        )
    found = {
        gauge.labels["kind"]: gauge.value
        for gauge in store.read_gauges(NOW)
        if gauge.name == "smg_complaints_day"
    }
    expected = {"abuse": 2, "not-spam": 1, "fraud": 0, "virus": 0, "other": 0, "auth-failure": 0}
    assert found == expected


@pytest.mark.django_db
def test_numbers_of_living_processes() -> None:
    for slot, age_s in ((0, 1), (1, 60)):
        Worker.objects.create(
            owner=f"w{slot}", node="here", pid=slot, slot=slot, started_at=NOW, seen_at=NOW - timedelta(seconds=age_s),
            numbers={"running": slot},
        )  # fmt: skip
    assert store.numbers_of("here", NOW - timedelta(seconds=30)) == [("0", {"running": 0})]
    assert store.numbers_of("there", NOW - timedelta(seconds=30)) == []


@pytest.mark.django_db(transaction=True)
async def test_the_whole_page_of_a_node(tmp_path: Path) -> None:
    """With everything a relay process says in its heartbeat; the spool's directory is not there yet."""
    numbers = {
        "listeners": {"smtp": {"accepted": 5, "refused": 1, "open": 2}},
        "parts": {"antivirus": False, "policy": True},
        "meters": Meters().as_json(),
    }
    await sync_to_async(Worker.objects.create)(
        owner="w", node="here", pid=1, slot=0, started_at=NOW, seen_at=NOW, numbers=numbers
    )
    source = SnapshotSource(Database(None))
    source.current = Snapshot(gateways={1: GOOD, 2: replace(GOOD, id=2, name="mta02", drained=True)})
    source.loaded_at = NOW - timedelta(seconds=3)
    config = Config.from_env({"SMG_VAR_DIR": str(tmp_path)}, tmp_path)
    found = samples((await Gatherer(config, "here", source, lambda: NOW).page()).body)
    assert found["smg_part_up", (("part", "antivirus"),)] == 0
    assert found["smg_gateway_usable", (("gateway", "mta02"), ("pool", "good"))] == 0
    assert found["smg_open_connections", (("listener", "smtp"), ("process", "0"))] == 2
    assert found["smg_snapshot_age_seconds", ()] == 3
    assert found["smg_spool_free_bytes", ()] > 0
    assert found["smg_processes", ()] == 1
    assert found["smg_tickets_open", ()] == 0


# ------------------------------------------------------------------------------------------------- the listener


async def a_page() -> Answer:
    return Answer(200, b"smg_up 1\n")


async def no_page() -> Answer:
    raise RuntimeError("database is away")


@pytest.fixture
async def server() -> AsyncIterator[MetricsServer]:
    serving = MetricsServer({"/metrics": a_page, "/healthz": a_page})
    await serving.listen(Endpoint("127.0.0.1", 0))
    yield serving
    serving.close()


async def ask(server: MetricsServer, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200", b"smg_up 1\n"),
        (b"GET /metrics?name[]=x HTTP/1.1\r\n\r\n", b"200", b"smg_up 1\n"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404", b"/metrics /healthz\n"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405", b"GET only\n"),
        (b"\x16\x03\x01\r\n\r\n", b"405", b"GET only\n"),
    ],
)
async def test_requests(server: MetricsServer, request_: bytes, status: bytes, body: bytes) -> None:
    head, _, rest = (await ask(server, request_)).partition(b"\r\n\r\n")
    assert head.split()[1] == status
    assert rest == body


async def test_a_request_without_end_is_cut_off(server: MetricsServer) -> None:
    assert await ask(server, b"GET /metrics " + b"x" * (REQUEST_BYTES * 4)) == b""


async def test_a_page_that_cannot_be_made_is_no_old_one() -> None:
    serving = MetricsServer({"/metrics": no_page})
    await serving.listen(Endpoint("127.0.0.1", 0))
    answer = await ask(serving, b"GET /metrics HTTP/1.1\r\n\r\n")
    serving.close()
    assert b" 503 " in answer
    assert b"database" not in answer
