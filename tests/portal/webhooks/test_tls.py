"""https: a certificate that fits is needed, and the deadline holds during the handshake too."""

from __future__ import annotations

import dataclasses
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from portal.webhooks import sender

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
BODY = b"{}"
ANSWER = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def ca(tmp_path: Path, settings: Any) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    settings.SMG = dataclasses.replace(settings.SMG, ca_file=tmp_path / "ca.pem")
    return made


@pytest.fixture
def serve(ca: trustme.CA) -> Iterator[Any]:
    """serve(name): the port of a server with a certificate for that name."""
    servers: list[socket.socket] = []

    def start(name: str) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(context)
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)
        threading.Thread(target=_answer, args=(server, context), daemon=True).start()
        return int(server.getsockname()[1])

    yield start
    for server in servers:
        server.close()


def _answer(server: socket.socket, context: ssl.SSLContext) -> None:
    try:
        peer, _address = server.accept()
        with context.wrap_socket(peer, server_side=True) as stream:
            request = b""
            for chunk in iter(lambda: stream.recv(65536), b""):
                request += chunk
                if request.endswith(
                    BODY
                ):  # the rest of half a request would meet a closed socket, and reset it
                    stream.sendall(ANSWER)
                    return
    except OSError:
        return


def test_a_good_certificate(serve: Any) -> None:
    port = serve("localhost")
    answer = sender.post(
        f"https://localhost:{port}/", BODY, {}, laboratory=(*LOOPBACK, ipaddress.ip_network("::1/128"))
    )
    assert (answer.status, answer.error) == (204, "")


def test_a_certificate_for_another_name(serve: Any) -> None:
    answer = sender.post(f"https://127.0.0.1:{serve('other.example')}/", BODY, {}, laboratory=LOOPBACK)
    assert answer.status == 0
    assert answer.error.startswith("certificate: ")


def test_an_unknown_authority(serve: Any, settings: Any) -> None:
    port = serve("localhost")
    settings.SMG = dataclasses.replace(settings.SMG, ca_file=None)
    answer = sender.post(
        f"https://localhost:{port}/", BODY, {}, laboratory=(*LOOPBACK, ipaddress.ip_network("::1/128"))
    )
    assert answer.status == 0
    assert answer.error.startswith("certificate: ")


def test_a_handshake_that_never_ends(ca: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        answer = sender.post(f"https://127.0.0.1:{silent.getsockname()[1]}/", BODY, {}, laboratory=LOOPBACK)
    assert (answer.status, answer.error) == (0, "no complete answer in time")
