"""The relay beside real neighbours, and without them: clamd that finds, that is gone and comes back; forced TLS."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import zipfile
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from functools import partial
from typing import Any

import pytest

from tests.dns_server import DnsServer
from tests.fake_next_hop import FakeNextHop
from tests.relay_harness import Relays, RunningRelay, decoded, mail
from tests.services import Daemon, Services, free_port, start_rspamd, start_spamd
from tests.whole_way.test_way import DELIVERED, GTUBE, aside

pytestmark = pytest.mark.slow

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def letter(content: bytes, name: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "web@acme.example"
    message["To"] = "someone@partner.example"
    message["Subject"] = "Your file"
    message.set_content("Please find the file attached.\n")
    message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return message


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.com", content)
    return buffer.getvalue()


def forwarded(inner: EmailMessage) -> EmailMessage:
    message = letter(b"nothing", "nothing.bin")
    message.add_attachment(inner)
    return message


def octets(message: EmailMessage) -> bytes:
    return message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


INFECTED = {
    "plain text": mail(EICAR.decode() + "\r\n"),
    "base64": mail()
    .replace(b"Subject:", b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\nSubject:")
    .partition(b"\r\n\r\n")[0]
    + b"\r\n\r\n"
    + base64.encodebytes(EICAR).replace(b"\n", b"\r\n"),
    "attachment": octets(letter(EICAR, "eicar.com")),
    "in zip": octets(letter(zipped(EICAR), "eicar.zip")),
    "zip in zip": octets(letter(zipped(zipped(EICAR)), "eicar2.zip")),
    "in a forwarded message": octets(forwarded(letter(EICAR, "eicar.com"))),
}


@pytest.fixture
def guarded(
    relays: Relays, dns: DnsServer, good: FakeNextHop, bad: FakeNextHop, start_clamd: Callable[[], Daemon]
) -> Iterator[tuple[RunningRelay, Daemon]]:
    """A relay with a clamd of its own."""
    daemon = start_clamd()
    running = relays.start(
        dns.endpoint, good.port, bad.port, SMG_CLAMD=f"tcp:{daemon.endpoint}", SMG_RETRY_SCHEDULE="1,1,2"
    )
    yield running, daemon
    running.kill()


async def test_viruses_are_refused_reported_and_never_passed(
    guarded: tuple[RunningRelay, Daemon], good: FakeNextHop, bad: FakeNextHop
) -> None:
    relay, _ = guarded
    for name, message in INFECTED.items():
        reply = str(await aside(relay.send, "web@acme.example", "someone@partner.example", message))
        assert reply.startswith("554 5.7.1 Message contains a virus ("), f"{name}: {reply or 'accepted'}"
    assert await aside(relay.send, "web@acme.example", "someone@partner.example", mail()) == ""
    await aside(relay.wait_for, DELIVERED, 1)
    await aside(
        relay.wait_for, "SELECT count(*) FROM gateway_recipient WHERE state = 'delivered'", 1 + len(INFECTED)
    )
    reports = [item for item in good.messages if item.mail.startswith("<>")]
    assert [item.rcpts[0].split()[0] for item in reports] == ["<web@acme.example>"] * len(INFECTED)
    assert not [item for item in good.messages + bad.messages if EICAR in item.body]
    rows = relay.query("SELECT reason, trace FROM gateway_refusal")
    assert [reason for reason, _ in rows] == ["virus"] * len(INFECTED)
    assert decoded(rows[0][1])[-1]["detail"]["virus"]


async def test_without_the_scanner_nothing_passes_until_it_is_back(
    relays: Relays, dns: DnsServer, good: FakeNextHop, bad: FakeNextHop, clamd: Daemon
) -> None:
    """The scanner is a real clamd; its front door is the test's, so that it can be shut and opened again."""
    port = free_port()
    relay = await aside(relays.start, dns.endpoint, good.port, bad.port, SMG_CLAMD=f"tcp:127.0.0.1:{port}")

    async def send(message: bytes) -> object:
        return await aside(relay.send, "web@acme.example", "someone@partner.example", message)

    later = "451 4.7.1 Virus scanner is not available, try again later"
    assert await send(mail()) == later
    inside: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(partial(forward, clamd, inside), "127.0.0.1", port):
        assert await send(mail()) == ""
        assert str(await send(INFECTED["attachment"])).startswith("554 5.7.1 Message contains a virus (")
    for connection in inside:  # the relay keeps some
        connection.close()
    assert await send(mail()) == later
    await aside(relay.wait_for, DELIVERED, 1)
    relay.kill()


async def forward(
    daemon: Daemon,
    inside: list[asyncio.StreamWriter],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """One connection to a daemon, octet for octet; it is noted among those `inside`."""
    inside.append(writer)
    behind, to_daemon = await asyncio.open_connection(daemon.host, daemon.port)

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while octets_ := await source.read(65536):
            target.write(octets_)
            await target.drain()
        target.close()

    with contextlib.suppress(ConnectionError):
        await asyncio.gather(copy(reader, to_daemon), copy(behind, writer))


async def test_forced_tls_holds_and_refuses_but_never_sends_in_clear(
    relay: RunningRelay, good: FakeNextHop
) -> None:
    rules = """
[[customers]]
slug = "acme"
[[customers.tls_rules]]
recipient_domain = "held.example"
level = "encrypt"
on_failure = "hold"
[[customers.tls_rules]]
recipient_domain = "refused.example"
level = "encrypt"
on_failure = "reject"
"""
    await aside(relay.apply, rules)
    await asyncio.sleep(1.2)
    assert await aside(relay.send, "web@acme.example", ["x@held.example", "x@refused.example"], mail()) == ""
    await aside(relay.wait_for, "SELECT count(*) FROM gateway_recipient WHERE state = 'bounced'", 1)
    await aside(relay.wait_for, "SELECT count(*) FROM gateway_recipient WHERE state = 'held'", 1)
    assert [item.rcpts for item in good.messages if not item.mail.startswith("<>")] == []
    held = relay.query("SELECT domain, reason, enhanced FROM gateway_recipient WHERE state = 'held'")
    assert held == [("held.example", "tls_required", "4.7.10")]


async def test_engines_are_heard_while_they_run_and_missed_without_harm(
    relays: Relays, dns: DnsServer, good: FakeNextHop, bad: FakeNextHop, services: Services
) -> None:
    engines = [start_rspamd(services), start_spamd(services)]
    relay = await aside(
        relays.start, dns.endpoint, good.port, bad.port,
        SMG_RSPAMD=engines[0].extra["url"], SMG_SPAMD=engines[1].endpoint,
    )  # fmt: skip
    assert await aside(relay.send, "web@acme.example", "someone@partner.example", mail()) == ""
    await aside(relay.wait_for, DELIVERED, 1)
    assert spam_entry(relay)["degraded"] == []
    assert {"rspamd", "spamassassin"} <= set(
        spam_entry(relay)["engine"].replace("(", ",").replace(")", "").split(",")
    )
    for engine in engines:
        engine.stop()
    assert await aside(relay.send, "web@acme.example", "someone@partner.example", mail(GTUBE)) == ""
    await aside(relay.wait_for, DELIVERED, 2)
    assert sorted(spam_entry(relay)["degraded"]) == ["rspamd", "spamassassin"]
    assert (len(good.messages), len(bad.messages)) == (1, 1)


def spam_entry(relay: RunningRelay) -> dict[str, Any]:
    """What the trace of the last message says about spam."""
    (trace,) = relay.query("SELECT trace FROM gateway_message ORDER BY id DESC LIMIT 1")[0]
    detail: dict[str, Any] = next(entry["detail"] for entry in decoded(trace) if entry["step"] == "spam")
    return detail
