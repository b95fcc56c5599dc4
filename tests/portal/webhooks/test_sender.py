"""One POST: what is reached, what is refused, and how long it may take."""

from __future__ import annotations

import ipaddress
import socket
import time
from typing import Any

import pytest

from portal.webhooks import sender
from tests.portal.webhooks.conftest import Receiver

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::127.0.0.1",
    ],
)
def test_special_addresses_are_refused(address: str) -> None:
    assert not sender.is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert sender.is_allowed(ipaddress.ip_address(address))


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """getaddrinfo that gives one answer after the other; returns the list of asked names."""
    asked: list[str] = []
    left = list(answers)

    def fake(host: str, port: int, **_options: Any) -> list[Any]:
        asked.append(host)
        found = left.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    return asked


def test_a_name_that_leads_inside_is_refused(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    resolve_to(monkeypatch, ["8.8.8.8", "127.0.0.1"])
    answer = sender.post("http://hook.example/", b"{}", {})
    assert (answer.status, answer.error) == (0, "the name leads to an address that is not public")
    assert not receiver.got


def test_a_name_that_rebinds_gets_no_second_question(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolve_to(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
    tried: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(address)
        raise OSError("unreachable here")

    monkeypatch.setattr(socket, "create_connection", connect)
    assert sender.post("http://hook.example/", b"{}", {}).error == "unreachable here"
    assert (asked, tried) == (["hook.example"], [("8.8.8.8", 80)])


def test_an_answer(receiver: Receiver) -> None:
    answer = sender.post(receiver.url, b'{"a":1}', {"webhook-id": "msg_1"}, laboratory=LOOPBACK)
    assert (answer.status, answer.error, answer.body, answer.is_success) == (200, "", "thanks", True)
    headers, body = receiver.got[0]
    assert (headers["webhook-id"], body) == ("msg_1", b'{"a":1}')


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 302, {"Location": receiver.url}
    answer = sender.post(receiver.url, b"{}", {}, laboratory=LOOPBACK)
    assert (answer.status, answer.error, len(receiver.got)) == (302, "redirects are not followed", 1)


def test_a_huge_answer_is_cut(receiver: Receiver) -> None:
    receiver.body = b"x" * 5_000_000
    answer = sender.post(receiver.url, b"{}", {}, laboratory=LOOPBACK)
    assert (answer.status, len(answer.body)) == (200, sender.KEPT_CHARS)


def test_a_drip_of_octets_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    monkeypatch.setattr(sender, "TIMEOUT_S", 0.4)
    receiver.drip_s = 0.05
    started = time.monotonic()
    sender.post(receiver.url, b"{}", {}, laboratory=LOOPBACK)
    assert time.monotonic() - started < 2


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        answer = sender.post(f"http://127.0.0.1:{silent.getsockname()[1]}/", b"{}", {}, laboratory=LOOPBACK)
    assert (answer.status, answer.error) == (0, "no complete answer in time")


def test_tls_to_a_server_without_tls_fails(receiver: Receiver) -> None:
    answer = sender.post(receiver.url.replace("http:", "https:"), b"{}", {}, laboratory=LOOPBACK)
    assert answer.status == 0
    assert answer.error


@pytest.mark.parametrize(
    "garbage", [b"\0\xff\r\n\r\n", b"HTTP/1.1 999999\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000]
)
def test_garbage_is_an_error_not_an_exception(garbage: bytes) -> None:
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _address = server.accept()
            peer.recv(65536)
            peer.sendall(garbage)
            peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        answer = sender.post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {}, laboratory=LOOPBACK)
        thread.join()
    assert answer.status == 0
    assert answer.error
