"""deploy/monitoring against a real relay under load and a real Prometheus: every query of the dashboard and every alert
rule finds data."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dns_server import DnsServer
from tests.fake_next_hop import FakeNextHop
from tests.relay_harness import Relays, RunningRelay
from tests.services import Daemon, Services, free_port, need

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MONITORING = Path(__file__).resolve().parent.parent.parent / "deploy" / "monitoring"
LETTER = b"From: alice@acme.example\r\nTo: bob@customer.example\r\nSubject: Invoice\r\n\r\nAttached.\r\n"
COMPARISON = re.compile(r"\s*(==|>|<)\s*[\d.e]+( \* \d+)?")


def dashboard_queries() -> Iterator[str]:
    text = (MONITORING / "grafana-dashboard.json").read_text()
    for panel in json.loads(text)["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))


def alert_rules() -> Iterator[tuple[str, str]]:
    """(name, query) of each but those that wait for a metric to be absent."""
    (group,) = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    yield from ((rule["alert"], rule["expr"]) for rule in group["rules"] if "absent(" not in rule["expr"])


def start_prometheus(services: Services, relay_port: int) -> Daemon:
    """The scrape example and the rules as they are shipped, but asked every second."""
    directory, port = services.directory("prometheus"), free_port()
    config = (MONITORING / "prometheus.yml").read_text()
    config = config.replace("127.0.0.1:9200", f"127.0.0.1:{relay_port}").replace("15s", "1s")
    (directory / "prometheus.yml").write_text("global: {evaluation_interval: 1s}\n" + config)
    shutil.copy(MONITORING / "alerts.yml", directory)
    for file in directory.iterdir():
        services.give_away(file)
    command = [
        need("prometheus"), f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    return services.start("prometheus", command, directory, port=port)


def ask(prometheus: Daemon, path: str, **parameters: str) -> Any:
    url = f"http://127.0.0.1:{prometheus.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)["data"]


def finds(prometheus: Daemon, query: str) -> bool:
    """Whether there is a number for it; NaN is none (a quotient or a quantile of nothing)."""
    found = ask(prometheus, "query", query=query)["result"]
    return any(series["value"][1] != "NaN" for series in found)


@pytest.fixture
def measured(
    relays: Relays, dns: DnsServer, good: FakeNextHop, bad: FakeNextHop
) -> Iterator[tuple[RunningRelay, int]]:
    port = free_port()
    relay = relays.make(dns.endpoint, good.port, bad.port, SMG_METRICS_LISTEN=f"127.0.0.1:{port}")
    relay.manage("check_blacklists")
    relay.execute("UPDATE blacklist_checkrun SET kind = ?", ("daily",))
    relay.start()
    yield relay, port
    relay.kill()


def make_traffic(relay: RunningRelay) -> None:
    """Of every kind: delivered, bounced (with a report), refused."""
    assert relay.send("alice@acme.example", "bob@customer.example", LETTER) == ""
    relay.send("alice@acme.example", "nobody@customer.example", LETTER)
    relay.send("alice@globex.example", "bob@customer.example", LETTER)


async def test_every_query_finds_data(
    measured: tuple[RunningRelay, int], services: Services, good: FakeNextHop
) -> None:
    relay, port = measured
    good.say("RCPT", "250 2.1.5 ok", "550 5.1.1 no such user", "250 2.1.5 ok")
    prometheus = await asyncio.to_thread(start_prometheus, services, port)
    queries = {query: query for query in dashboard_queries()}
    queries |= {name: COMPARISON.sub("", expr) for name, expr in alert_rules()}
    assert len(queries) > 35

    def missing() -> list[str]:
        end = time.monotonic() + 120
        left = list(queries)
        while left and time.monotonic() < end:
            make_traffic(relay)
            left = [name for name in left if not finds(prometheus, queries[name])]
        return left

    assert await asyncio.to_thread(missing) == []
    (group,) = (await asyncio.to_thread(ask, prometheus, "rules"))["groups"]
    assert {rule["health"] for rule in group["rules"]} == {"ok"}
