"""MX delivery by a real relay to servers that encrypt well, badly and not at all: what forced TLS rules make of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.dns_server import DnsServer
from tests.fake_next_hop import FakeNextHop
from tests.gateway.tls_certs import Certificates
from tests.relay_harness import Relays, RunningRelay, decoded, mail
from tests.services import free_port
from tests.whole_way.test_way import aside

pytestmark = pytest.mark.slow

# domain -> loopback address of its one server
DOMAINS = {
    "good": "127.0.0.2",
    "bare": "127.0.0.3",
    "wrong": "127.0.0.4",
    "shadow": "127.0.0.4",
    "free": "127.0.0.5",
}
RULES = """
[[customers]]
slug = "acme"
[[customers.tls_rules]]
recipient_domain = "good.example"
level = "verify"
on_failure = "reject"
[[customers.tls_rules]]
recipient_domain = "bare.example"
level = "encrypt"
on_failure = "reject"
[[customers.tls_rules]]
recipient_domain = "wrong.example"
level = "verify"
on_failure = "hold"
[[customers.tls_rules]]
recipient_domain = "shadow.example"
level = "verify"
on_failure = "reject"
shadow = true
"""


class Partners:
    """The servers behind the domains, and a relay that knows the rules."""

    def __init__(self, certs: Certificates, hops: dict[str, FakeNextHop], relay: RunningRelay) -> None:
        self.certs, self.hops, self.relay = certs, hops, relay

    async def mail_to(self, domain: str, state: str) -> dict[str, Any]:
        """Send one mail and wait for its state; returns the recipient's row."""
        address = f"bob@{domain}.example"
        assert await aside(self.relay.send, "web@acme.example", address, mail()) == ""
        await self.wait_for(domain, state)
        sql = "SELECT code, enhanced, reason, tls FROM gateway_recipient WHERE address = ?"
        (row,) = self.relay.query(sql, [address])
        return dict(zip(("code", "enhanced", "reason", "tls"), row, strict=True))

    async def wait_for(self, domain: str, state: str) -> None:
        sql = f"SELECT state FROM gateway_recipient WHERE address = 'bob@{domain}.example'"  # noqa: S608 - our words
        await aside(self.relay.wait_for, sql, state)


@pytest_asyncio.fixture
async def partners(relays: Relays, dns: DnsServer, tmp_path: Path) -> AsyncIterator[Partners]:
    certs, port = Certificates(tmp_path), free_port()
    contexts = {
        name: certs.server(certs.ca.issue_cert(f"mx.{name}.example")) for name in ("good", "wrong", "free")
    }
    contexts["wrong"] = certs.server(certs.wrong_name)
    for name, ip in DOMAINS.items():
        dns.mail_domain(f"{name}.example", ip)
    dns.add("null.example", "MX", "0 .")
    relay = relays.make(
        dns.endpoint,
        1,
        1,
        SMG_DELIVERY_PORT=str(port),
        SMG_CA_FILE=str(certs.ca_file),
        SMG_RETRY_SCHEDULE="1",
    )
    await aside(relay.execute, "UPDATE gateway_gateway SET next_hop = ?", [""])
    await aside(relay.apply, RULES)
    async with AsyncExitStack() as stack:
        hops = {
            name: await stack.enter_async_context(FakeNextHop(ip, port, tls=contexts.get(name)))
            for name, ip in DOMAINS.items()
            if name != "shadow"
        }
        await aside(relay.start)
        yield Partners(certs, hops, relay)
        relay.kill()


async def test_every_rule_has_its_way(partners: Partners) -> None:
    relay, hops = partners.relay, partners.hops

    good = await partners.mail_to("good", "delivered")
    tls = decoded(good["tls"])
    assert (tls["verified"], tls["subject"], tls["policy"]) == (True, "mx.good.example", "rule")
    assert hops["good"].messages[0].encrypted

    bare = await partners.mail_to("bare", "bounced")
    assert (bare["code"], bare["enhanced"], bare["reason"]) == (550, "5.7.10", "tls_required")
    assert hops["bare"].messages == []

    free = await partners.mail_to("free", "delivered")
    assert decoded(free["tls"])["policy"] == "opportunistic"

    null = await partners.mail_to("null", "bounced")
    assert (null["code"], null["enhanced"], null["reason"]) == (556, "5.1.10", "null_mx")
    nowhere = await partners.mail_to("nowhere", "bounced")
    assert (nowhere["enhanced"], nowhere["reason"]) == ("5.1.2", "no_such_domain")

    await partners.mail_to("shadow", "delivered")
    shadows = "SELECT count(*) FROM gateway_tlsshadow WHERE destination = 'shadow.example' AND problem != ''"
    await aside(relay.wait_for, shadows, 1)

    # Held, not lost: as soon as the partner has put its certificate right, the mail goes out by itself.
    held = await partners.mail_to("wrong", "held")
    assert (held["enhanced"], held["reason"]) == ("4.7.10", "tls_required")
    assert [message.rcpts for message in hops["wrong"].messages] == [["<bob@shadow.example>"]]
    hops["wrong"].tls = partners.certs.server(partners.certs.ca.issue_cert("mx.wrong.example"))
    await partners.wait_for("wrong", "delivered")
    assert hops["wrong"].messages[-1].encrypted
