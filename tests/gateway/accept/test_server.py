"""Listeners, certificates, and the real clients smtplib and swaks."""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import shutil
import smtplib
import socket
import ssl
import stat
import subprocess
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from gateway.config import Config, ConfigError, Endpoint
from gateway.rules.ids import IdMaker
from gateway.smtp.server import Listener, configured_listeners, serve
from gateway.smtp.tls import load_certificate, self_signed, server_context
from tests.gateway.accept.house import FakeGatekeeper, House, client_context, make_config, open_house, run

BOTH_LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


def test_a_certificate_is_made_once(tmp_path: Path) -> None:
    directory = tmp_path / "var" / "tls"
    path = self_signed(directory, "relay.test")
    first = path.read_bytes()
    assert self_signed(directory, "other.test").read_bytes() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in directory.iterdir()] == [path.name]
    certificate = x509.load_pem_x509_certificate(first)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["relay.test"]
    assert certificate.public_key().curve.name == "secp256r1"  # type: ignore[union-attr]


def _fingerprint(directory: Path) -> bytes:
    return self_signed(directory, "relay.test").read_bytes()


def test_processes_that_start_at_once_agree_on_one(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        found = pool.map(_fingerprint, [tmp_path / "tls"] * 16, chunksize=1)
    assert len(set(found)) == 1
    assert len(list((tmp_path / "tls").iterdir())) == 1


def test_the_operators_certificate_is_used_and_can_be_renewed(tmp_path: Path) -> None:
    authority = trustme.CA()
    config = with_certificate(tmp_path, authority, "relay.test")
    context = server_context(config)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert names_shown(context, authority, "relay.test") == ("relay.test",)
    load_certificate(context, with_certificate(tmp_path, authority, "relay.test", "new.test"))
    assert set(names_shown(context, authority, "relay.test")) == {"relay.test", "new.test"}


def with_certificate(tmp_path: Path, authority: trustme.CA, *names: str) -> Config:
    issued = authority.issue_cert(*names)
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    return make_config(tmp_path, tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")


def names_shown(context: ssl.SSLContext, authority: trustme.CA, name: str) -> tuple[str, ...]:
    """What a checking client reads in the certificate."""
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    certificate = client.getpeercert() or {}
    return tuple(value for kind, value in certificate["subjectAltName"] if kind == "DNS")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tls_cert": Path("/nowhere/cert.pem")}, "SMG_TLS_CERT=/nowhere/cert.pem: cannot be used"),
        ({"tls_cert": Path(__file__)}, "cannot be used as a certificate with key"),
        ({"tls_key": Path("/nowhere/key.pem")}, "SMG_TLS_KEY=/nowhere/key.pem: set SMG_TLS_CERT, too"),
    ],
)
def test_a_certificate_that_cannot_be_used_stops_the_start(
    tmp_path: Path, changes: dict[str, Path], words: str
) -> None:
    with pytest.raises(ConfigError, match=words.replace(".", r"\.")):
        server_context(make_config(tmp_path, **changes))


def test_old_tls_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_house(tmp_path) as house:
            old = client_context()
            old.set_ciphers("ALL:@SECLEVEL=0")
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection("127.0.0.1", house.tls_port, ssl=old)

    with pytest.warns(DeprecationWarning, match="TLSv1"):
        run(main())


def test_the_listeners_of_the_configuration(tmp_path: Path) -> None:
    config = make_config(
        tmp_path, smtp_listen=(Endpoint("127.0.0.1", 2525),), smtps_listen=(Endpoint("::1", 4650),)
    )
    assert configured_listeners(config) == [
        Listener(Endpoint("127.0.0.1", 2525)),
        Listener(Endpoint("::1", 4650), implicit_tls=True),
    ]


@BOTH_LOOPS
def test_processes_share_a_port(tmp_path: Path, loop: str) -> None:
    async def main() -> None:
        config, keeper, free = make_config(tmp_path), FakeGatekeeper(), Endpoint("127.0.0.1", 0)
        first = await serve(config, keeper, ids=IdMaker(1), listeners=[Listener(free)])
        same = Listener(Endpoint(*first.addresses[0]))
        second = await serve(config, keeper, ids=IdMaker(2), listeners=[same])
        assert second.addresses == first.addresses
        assert await first.drain(1) == 0
        reader, writer = await asyncio.open_connection(*second.addresses[0])
        assert await reader.readline() == b"220 relay.test ESMTP\r\n"
        assert second.counters() == {
            "smtp": {"accepted": 1, "refused": 0, "open": 1},
            "smtps": {"accepted": 0, "refused": 0, "open": 0},
        }
        writer.close()
        await second.drain(1)

    run(main(), loop)


@BOTH_LOOPS
def test_a_socket_that_is_bound_already(tmp_path: Path, loop: str) -> None:
    async def main() -> None:
        bound = socket.create_server(("127.0.0.1", 0))
        servers = await serve(
            make_config(tmp_path), FakeGatekeeper(), ids=IdMaker(1), listeners=[Listener(bound)]
        )
        reader, writer = await asyncio.open_connection(*bound.getsockname())
        assert await reader.readline() == b"220 relay.test ESMTP\r\n"
        writer.close()
        await servers.drain(1)

    run(main(), loop)


def test_a_place_that_is_taken_is_a_clear_error(tmp_path: Path) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            place = Endpoint(*other.getsockname())
            with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{place.port}: "):
                await serve(
                    make_config(tmp_path), FakeGatekeeper(), ids=IdMaker(1), listeners=[Listener(place)]
                )
        where = Listener(Endpoint(path="/run/x"))
        with pytest.raises(ConfigError, match="not on a Unix socket"):
            await serve(make_config(tmp_path), FakeGatekeeper(), ids=IdMaker(1), listeners=[where])

    run(main())


def test_ids_of_one_process_are_used_in_order(tmp_path: Path) -> None:
    config = dataclasses.replace(make_config(tmp_path), max_connections=10, relay_processes=4)

    async def main() -> None:
        servers = await serve(config, FakeGatekeeper(), ids=IdMaker(9), listeners=[])
        assert servers.reception.next_id() < servers.reception.next_id()
        assert servers._house.count._max_all == 3  # 10 over 4 processes, rounded up
        await servers.drain(0)

    run(main())


# ---- clients that others wrote


def letter(text: str = "Grüße\n.\n..\nfrom the dots\n") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "alice@acme.example", "bob@globex.example", "Grüße"
    message.set_content(text)
    return message


@BOTH_LOOPS
@pytest.mark.parametrize("way", ["starttls", "implicit"])
def test_smtplib(tmp_path: Path, loop: str, way: str) -> None:
    keeper = FakeGatekeeper()

    def send(house: House) -> None:
        if way == "implicit":
            client: smtplib.SMTP = smtplib.SMTP_SSL("127.0.0.1", house.tls_port, context=client_context())
        else:
            client = smtplib.SMTP("127.0.0.1", house.port)
            client.starttls(context=client_context())
        with client:
            client.login("acme-web", "s3cret")
            for _ in range(3):
                assert client.send_message(letter()) == {}
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                client.sendmail("alice@acme.example", ["no domain"], b"x")

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            await asyncio.to_thread(send, house)

    run(main(), loop)
    assert len(keeper.envelopes) == 3
    assert keeper.envelopes[0].body == letter().as_bytes(policy=letter().policy.clone(linesep="\r\n"))


@BOTH_LOOPS
@pytest.mark.skipif(not shutil.which("swaks"), reason="swaks is not installed")
@pytest.mark.parametrize(
    "options",
    [
        ["--tls", "--auth", "PLAIN", "--pipeline"],
        ["--tls", "--auth", "LOGIN"],
        ["--tls-on-connect", "--auth", "PLAIN"],
        ["--tls-on-connect", "--auth", "LOGIN", "--protocol", "ESMTP"],
    ],
    ids=" ".join,
)
def test_swaks(tmp_path: Path, loop: str, options: list[str]) -> None:
    keeper = FakeGatekeeper()

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            port = house.tls_port if "--tls-on-connect" in options else house.port
            command = [
                "swaks", "--server", "127.0.0.1", "--port", str(port), "--from", "alice@acme.example",
                "--to", "bob@globex.example,carol@globex.example", "--auth-user", "acme-web",
                "--auth-password", "s3cret", *options,
            ]  # fmt: skip
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, timeout=30, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr

    run(main(), loop)
    (envelope,) = keeper.envelopes
    assert [str(recipient.address) for recipient in envelope.recipients] == [
        "bob@globex.example",
        "carol@globex.example",
    ]
    assert b"This is a test mailing" in envelope.body
