"""Three relay nodes, each a machine with a gateway address of its own, on one PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from tests import services
from tests.dns_server import DnsServer
from tests.fake_next_hop import FakeNextHop
from tests.netns import Machine, Network, need_namespaces
from tests.relay_harness import ROOT, RunningRelay, environment, mail
from tests.whole_way.test_way import aside

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

HOP, CLIENT = "192.0.2.99", "192.0.2.50"
LIMIT = 60
TAKEN_OVER_S = 15.0
SETUP = f"""
[[customers]]
name = "ACME"
slug = "acme"
  [[customers.networks]]
  network = "{CLIENT}/32"
  may_relay = true
  [[customers.domains]]
  name = "acme.example"
  verified = true
""" + "".join(
    f'[[gateways]]\nname = "g{n}"\npool = "good"\nhostname = "g{n}.smg.example"\nsource_ip = "192.0.2.1{n}"\n'
    for n in (1, 2, 3)
)
BY_GATEWAY = (
    "SELECT g.name, count(*) FROM gateway_recipient r JOIN gateway_gateway g ON g.id = r.gateway_id"
    " WHERE r.state = 'delivered' GROUP BY 1"
)
# Relay processes that work by the policy as it is now (they say so with every heartbeat).
KNOW_THE_LIMIT = (
    "SELECT count(*) FROM gateway_worker WHERE numbers->>'policy_version' ="
    " (SELECT version::text FROM gateway_policyversion)"
)


@dataclass
class Node:
    """One relay on a machine of its own, with a name of its own (another UTS namespace)."""

    name: str
    address: str
    machine: Machine
    relay: RunningRelay  # for its environment and its queries
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(init=False)

    def start(self) -> None:
        self.log = self.relay.directory / "log"
        command = ["unshare", "--uts", "sh", "-c", f'hostname {self.name}; exec "$@"', "sh"]
        with self.machine.entered(), self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, sys.executable, "manage.py", "relay"],
                cwd=ROOT, env=self.relay.env, stdout=output, stderr=output,
            )  # fmt: skip

    def wait_ready(self) -> None:
        end = time.monotonic() + 60
        while "relay ready" not in self.log.read_text():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def end(self, how: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None


@dataclass
class Land:
    """Nodes, a client, a next hop and the database they share."""

    nodes: list[Node]
    client: Machine
    far: Machine
    daemons: services.Services
    postgres: services.Daemon

    def send(
        self, node: Node, recipient: str, times: int = 1, start: threading.Barrier | None = None
    ) -> list[int]:
        """Reply codes of so many messages over one connection; `start`: wait there for others that have one."""
        codes = []
        with self.client.entered(), smtplib.SMTP(node.address, 2525, timeout=30) as smtp:
            smtp.ehlo("client.acme.example")
            if start is not None:
                start.wait(30)
            for _ in range(times):
                try:
                    smtp.sendmail("web@acme.example", recipient, mail())
                    codes.append(250)
                except smtplib.SMTPResponseException as error:
                    codes.append(error.smtp_code)
                    smtp.rset()
        return codes

    def restart_database(self) -> None:
        old = self.postgres
        old.stop(signal.SIGQUIT)
        time.sleep(2)
        self.postgres = self.daemons.start(
            "postgres", list(old.process.args), old.directory, port=old.port, ready=services._pg_ready  # type: ignore[call-overload, arg-type]
        )  # fmt: skip


@pytest.fixture
def land(tmp_path: Path) -> Iterator[Land]:
    need_namespaces()
    with contextlib.ExitStack() as stack:
        daemons = stack.enter_context(services.running())
        postgres = services.start_postgres(daemons)
        network = stack.enter_context(Network())
        far = network.machine(f"{HOP}/24")
        with far.entered():
            dns = DnsServer(HOP).start()
        stack.callback(dns.stop)
        dns.mail_domain("acme.example", HOP)
        for domain in ("partner.example", "later.example"):
            dns.mail_domain(domain, HOP)
        # A Unix socket, which network namespaces do not part.
        url = f"postgres://smg@/smg?host={quote(str(postgres.directory))}&port={postgres.port}"
        made = Land([], network.machine(f"{CLIENT}/24"), far, daemons, postgres)
        for number in (1, 2, 3):
            directory = tmp_path / f"node{number}"
            directory.mkdir()
            env = environment(
                directory, dns.endpoint, DATABASE_URL=url, SMG_SMTP_LISTEN="0.0.0.0:2525", SMG_RELAY_PROCESSES="1",
                SMG_PRIVATE_MX_NETWORKS="192.0.2.0/24", SMG_RETRY_SCHEDULE="2",
            )  # fmt: skip
            relay = RunningRelay(directory, env, 2525)
            address = f"192.0.2.1{number}"
            made.nodes.append(Node(f"node{number}", address, network.machine(f"{address}/24"), relay))
        first = made.nodes[0].relay
        first.manage("migrate", "--verbosity", "0")
        first.apply(SETUP)
        for node in made.nodes:
            stack.callback(node.end)
            node.start()
        for node in made.nodes:
            node.wait_ready()
        yield made


@contextlib.asynccontextmanager
async def next_hop(land: Land) -> AsyncIterator[FakeNextHop]:
    """Where all mail goes; it remembers from which address connections came."""
    hop = FakeNextHop(HOP, 25)
    with land.far.entered():
        await hop.__aenter__()
    try:
        yield hop
    finally:
        await hop.__aexit__(None, None, None)


async def test_three_nodes_send_by_their_own_ways_and_outlive_each_other(land: Land) -> None:
    query = land.nodes[0].relay.query
    wait_for = land.nodes[0].relay.wait_for
    delivered = "SELECT count(*) FROM gateway_recipient WHERE state = 'delivered'"
    async with next_hop(land) as hop:
        for node in land.nodes:
            assert await aside(land.send, node, "someone@partner.example", 4) == [250] * 4
        await aside(wait_for, delivered, 12)
        assert set(hop.peers) == {node.address for node in land.nodes}
        assert {message.helo for message in hop.messages} == {f"g{n}.smg.example" for n in (1, 2, 3)}
        assert dict(query(BY_GATEWAY)) == {"g1": 4, "g2": 4, "g3": 4}

        # A database that is restarted: mail is put off meanwhile, nothing is lost, service comes back by itself.
        await aside(land.restart_database)
        await aside(until_taken, land, land.nodes[1])
        await aside(wait_for, delivered, 13)

        # A node that dies with mail it leased: another of the pool sends it.
        hop.say("RCPT", "451 4.3.2 come back later")
        assert await aside(land.send, land.nodes[2], "someone@later.example", 5) == [250] * 5
        await aside(
            wait_for, "SELECT count(*) FROM gateway_recipient WHERE state = 'queued' AND attempts > 0", 5
        )
        hop.say("RCPT", "\0stall")
        leased = "SELECT count(*) FROM gateway_recipient WHERE substr(lease_owner, 1, 6) = 'node3:'"
        assert await aside(land.send, land.nodes[2], "someone@later.example", 3) == [250] * 3
        assert query(leased)[0][0] >= 3
        land.nodes[2].end()
        died_at = time.monotonic()
        hop.say("RCPT", "250 2.1.5 ok")
        await hop.drop_all()
        await aside(wait_for, leased, 0, TAKEN_OVER_S)
        taken_over_s = time.monotonic() - died_at
        await aside(wait_for, delivered, 21)
        print(f"taken over after {taken_over_s:.1f} s, delivered after {time.monotonic() - died_at:.1f} s")
        assert taken_over_s < TAKEN_OVER_S


async def test_three_living_nodes_keep_one_limit(land: Land) -> None:
    """All three take mail of one customer at once, over two connections each: together exactly the limit,
    of twice as much that they are handed."""
    query, first = land.nodes[0].relay.query, land.nodes[0].relay
    first.apply(SETUP.replace('slug = "acme"\n', f'slug = "acme"\nrate_limit = {LIMIT}\n'))
    await aside(first.wait_for, KNOW_THE_LIMIT, len(land.nodes))
    senders = [node for node in land.nodes for _ in range(2)]
    start = threading.Barrier(len(senders))
    loop = asyncio.get_running_loop()
    async with next_hop(land):
        with ThreadPoolExecutor(len(senders)) as threads:
            send = partial(
                land.send, recipient="someone@partner.example", times=2 * LIMIT // len(senders), start=start
            )
            found = await asyncio.gather(*(loop.run_in_executor(threads, send, node) for node in senders))
        taken = {node.name: 0 for node in land.nodes}
        for node, codes in zip(senders, found, strict=True):
            assert set(codes) <= {250, 451}, codes
            taken[node.name] += codes.count(250)
        print(f"taken by node: {taken}")
        assert all(node.process is not None and node.process.poll() is None for node in land.nodes)
        assert all(taken.values()), taken
        assert sum(taken.values()) == LIMIT, taken
        assert query("SELECT count(*) FROM gateway_message")[0][0] == LIMIT
        await aside(first.wait_for, "SELECT count(*) FROM gateway_recipient WHERE state = 'delivered'", LIMIT)


def until_taken(land: Land, node: Node) -> None:
    end = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError, smtplib.SMTPException):
            if land.send(node, "someone@partner.example") == [250]:
                return
        assert time.monotonic() < end, node.log.read_text()[-3000:]
        time.sleep(0.3)
