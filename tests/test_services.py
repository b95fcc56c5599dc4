"""The daemons of the test suite do what the other tests rely on."""

from __future__ import annotations

import base64
import socket
import struct
import subprocess
from collections.abc import Callable

import dns.message
import dns.query
import dns.rcode
import psycopg
import pytest

from tests import services as real
from tests.services import EICAR, Daemon

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


def scan(clamd: Daemon, data: bytes) -> bytes:
    with socket.create_connection((clamd.host, clamd.port), timeout=20) as connection:
        connection.sendall(b"zINSTREAM\0" + struct.pack("!I", len(data)) + data + struct.pack("!I", 0))
        return connection.recv(500).rstrip(b"\0")


@pytest.mark.parametrize(
    ("mail", "verdict"),
    [
        (b"Subject: a\r\n\r\nhello\r\n", b"stream: OK"),
        (b"Subject: a\r\n\r\n" + EICAR + b"\r\n", b"stream: Eicar-Test-Signature.UNOFFICIAL FOUND"),
        (
            b"Subject: a\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=a.com\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(EICAR),
            b"stream: Eicar-Test-Signature.UNOFFICIAL FOUND",
        ),
    ],
)
def test_clamd_knows_eicar(clamd: Daemon, mail: bytes, verdict: bytes) -> None:
    assert scan(clamd, mail) == verdict


def http_post(daemon: Daemon, path: str, body: bytes) -> bytes:
    with socket.create_connection((daemon.host, daemon.port), timeout=20) as connection:
        connection.sendall(
            b"POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body)) + body
        )
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_rspamd_knows_gtube(rspamd: Daemon) -> None:
    assert b'"GTUBE"' in http_post(
        rspamd, "/checkv2", b"From: a@a.example\r\nSubject: x\r\n\r\n" + GTUBE + b"\r\n"
    )
    assert b'"GTUBE"' not in http_post(
        rspamd, "/checkv2", b"From: a@a.example\r\nSubject: x\r\n\r\nhello\r\n"
    )


def test_spamd_knows_gtube(spamd: Daemon) -> None:
    mail = b"From: a@a.example\r\nSubject: x\r\n\r\n" + GTUBE + b"\r\n"
    with socket.create_connection((spamd.host, spamd.port), timeout=60) as connection:
        connection.sendall(b"SYMBOLS SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(mail) + mail)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"Spam: True" in answer
    assert b"GTUBE" in answer


def test_postgres_takes_a_transaction(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


def ask(daemon: Daemon, name: str, kind: str) -> dns.message.Message:
    return dns.query.udp(dns.message.make_query(name, kind), daemon.host, port=daemon.port, timeout=5)


def test_unbound_asks_rbldnsd_and_nsd(
    start_rbldnsd: Callable[..., Daemon],
    start_nsd: Callable[..., Daemon],
    start_unbound: Callable[..., Daemon],
) -> None:
    rbl = start_rbldnsd({"dnsbl.example": ("ip4set", ":127.0.0.2:listed $\n192.0.2.7\n")})
    nsd = start_nsd(
        {
            "acme.example": "@ 60 SOA ns root 1 1 1 1 60\n@ NS ns\nns A 127.0.0.1\n@ 60 MX 10 mx\nmx A 192.0.2.1\n"
        }
    )
    resolver = start_unbound(
        {"dnsbl.example": rbl.endpoint, "acme.example": nsd.endpoint},
        local_data=["globex.example. A 192.0.2.9"],
    )
    assert "127.0.0.2" in str(ask(resolver, "7.2.0.192.dnsbl.example", "A").answer[0])
    assert ask(resolver, "8.2.0.192.dnsbl.example", "A").rcode() == dns.rcode.NXDOMAIN
    assert "10 mx.acme.example." in str(ask(resolver, "acme.example", "MX").answer[0])
    assert "192.0.2.9" in str(ask(resolver, "globex.example", "A").answer[0])


def test_smtp_sink_keeps_what_it_took(start_smtp_sink: Callable[..., Daemon]) -> None:
    sink = start_smtp_sink([])
    source = real.need("smtp-source")
    subprocess.run([source, "-m", "3", "-t", "charlie@globex.example", sink.endpoint], check=True, timeout=20)
    mails = list((sink.directory / "mails").iterdir())
    assert len(mails) == 3
    assert b"charlie@globex.example" in mails[0].read_bytes()


def test_a_missing_daemon_skips_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real, "find_binary", lambda name: None)
    monkeypatch.setattr(real, "REQUIRED", False)
    with pytest.raises(pytest.skip.Exception, match="clamav-daemon"):
        real.need("clamd")
    monkeypatch.setattr(real, "REQUIRED", True)
    with pytest.raises(pytest.fail.Exception, match="required"):
        real.need("clamd")


def test_a_daemon_that_dies_at_start_says_why(services: real.Services) -> None:
    with pytest.raises(real.ServiceError, match="no such zone"):
        services.start(
            "broken", ["sh", "-c", "echo no such zone; exit 3"], services.directory("broken"), port=1
        )
