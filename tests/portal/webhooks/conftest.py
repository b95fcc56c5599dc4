"""A receiver on loopback that answers as it is told, and the laboratory that lets us reach it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gateway.control import customers
from gateway.models import Customer
from portal.models import WebhookEndpoint
from portal.webhooks import endpoints

ALICE = "alice@acme.example"


@dataclass
class Receiver:
    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"thanks"
    drip_s: float = 0  # wait between the octets of the body
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(state.status)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.write_body()

        def write_body(self) -> None:
            if not state.drip_s:
                self.wfile.write(state.body)
                return
            try:
                while not state.stop.wait(state.drip_s):
                    self.wfile.write(b".")
                    self.wfile.flush()
            except OSError:
                return

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_args: None  # type: ignore[method-assign]  # clients that hang up are the test
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/hook?token=abc"
    yield state
    state.stop.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def laboratory(settings: Any) -> None:
    settings.SMG_WEBHOOK_NETWORKS = ("127.0.0.0/8",)


@pytest.fixture
def acme(db: None) -> Customer:
    return customers.create(actor="sam@smg.example", slug="acme", name="ACME", alert_email="ops@acme.example")


@pytest.fixture
def endpoint(acme: Customer, receiver: Receiver, laboratory: None) -> WebhookEndpoint:
    return endpoints.create(acme, url=receiver.url, actor=ALICE)[0]
