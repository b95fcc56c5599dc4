"""A mail through the real relay, the real scheduler's worker, and a receiver behind https that is away at first."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from portal.webhooks.events import SOURCES
from tests.dns_server import DnsServer
from tests.fake_next_hop import FakeNextHop
from tests.relay_harness import ROOT, Relays, RunningRelay, mail

pytestmark = pytest.mark.slow

MAKE = """
from gateway.models import Customer
from portal.webhooks import endpoints
print(endpoints.create(Customer.objects.get(slug="acme"), url="{url}", events=["message.delivered"], actor="test")[1])
"""


class Receiver(BaseHTTPRequestHandler):
    """Is away for the first request; takes the others."""

    got: list[tuple[float, dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((time.monotonic(), {name.lower(): text for name, text in self.headers.items()}, body))
        self.send_response(500 if len(self.got) == 1 else 204)
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """(URL, its handler class); the certificate is from a CA of the test, at ca.pem."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    handler = type("Handler", (Receiver,), {"got": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}/hook", handler
    server.shutdown()
    server.server_close()


@pytest.fixture
def relay(
    relays: Relays, dns: DnsServer, good: FakeNextHop, bad: FakeNextHop, tmp_path: Path
) -> Iterator[RunningRelay]:
    running = relays.start(
        dns.endpoint,
        good.port,
        bad.port,
        SMG_CA_FILE=str(tmp_path / "ca.pem"),
        SMG_WEBHOOK_NETWORKS="127.0.0.0/8",
    )
    yield running
    running.kill()


@pytest.fixture
def scheduler(relay: RunningRelay) -> Iterator[subprocess.Popen[bytes]]:
    with (relay.directory / "scheduler.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "scheduler"], cwd=ROOT, env=relay.env, stdout=log, stderr=log
        )
        yield process
        process.terminate()
        assert process.wait(30) == 0


def signed(secret: str, headers: dict[str, str], body: bytes) -> str:
    """Standard Webhooks: base64 of HMAC-SHA-256 over 'id.timestamp.body'."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


async def test_a_delivery_is_told_and_told_again(
    receiver: tuple[str, Any], relay: RunningRelay, scheduler: subprocess.Popen[bytes]
) -> None:
    url, handler = receiver
    secret = await asyncio.to_thread(send_one, relay, url)
    (_, first, body), (_, second, again) = handler.got
    assert (first["webhook-id"], body) == (second["webhook-id"], again)
    for headers in (first, second):
        assert headers["webhook-signature"] == signed(secret, headers, body)
    told = json.loads(body)
    assert (told["type"], told["data"]["recipient"]) == ("message.delivered", "b@partner.example")


def send_one(relay: RunningRelay, url: str) -> str:
    """Make the webhook, send a mail, wait until the receiver took the event; returns the webhook's secret."""
    secret = relay.manage("shell", "-c", MAKE.format(url=url)).strip().splitlines()[-1]
    # The first round with a webhook notes where each table ends; what happens from then on is told.
    relay.wait_for("SELECT count(*) FROM portal_webhookcursor", len(SOURCES), 60)
    assert relay.send("web@acme.example", "b@partner.example", mail()) == ""
    relay.wait_for("SELECT count(*) FROM portal_webhookdelivery WHERE state = 'delivered'", 1, 60)
    return secret
