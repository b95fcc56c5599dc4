"""The PROXY protocol: believed from listed networks only, required there, before TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accept import Timeouts
from gateway.rules.policy import Snapshot
from gateway.smtp.inbox import EndOfStream, Inbox
from gateway.smtp.proxy import ProxyHeaderError, plain_ip, read_client
from tests.gateway.accept.house import Dialogue, FakeGatekeeper, House, client_context, open_house, run

V2 = b"\r\n\r\n\x00\r\nQUIT\n"
LOOPBACK = (ip_network("127.0.0.0/8"),)
CLIENT = "203.0.113.9"


def v2(command: int, family: int, payload: bytes) -> bytes:
    return V2 + bytes([0x20 | command, family]) + struct.pack("!H", len(payload)) + payload


V2_TCP4 = v2(1, 0x11, socket.inet_aton(CLIENT) + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 4444, 25))
V2_TCP6 = v2(
    1,
    0x21,
    socket.inet_pton(socket.AF_INET6, "2001:db8::9") + socket.inet_pton(socket.AF_INET6, "::1")
    + struct.pack("!HH", 4444, 25),
)  # fmt: skip


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("header", "client"),
    [
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 4444 25\r\n", CLIENT),
        (b"PROXY TCP6 2001:db8::9 ::1 4444 25\r\n", "2001:db8::9"),
        (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 4444 25\r\n", CLIENT),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (b"PROXY UNKNOWN ffff:f...f:ffff 1 2\r\n", "127.0.0.1"),
        (V2_TCP4, CLIENT),
        (V2_TCP6, "2001:db8::9"),
        (v2(1, 0x11, V2_TCP4[16:] + b"\x03\x00\x04abcd"), CLIENT),  # with a TLV behind
        (v2(0, 0x00, b""), "127.0.0.1"),  # LOCAL: a health check
        (v2(0, 0x11, V2_TCP4[16:]), "127.0.0.1"),  # LOCAL, whatever else it says
        (v2(1, 0x00, b""), "127.0.0.1"),  # UNSPEC
    ],
)
@pytest.mark.parametrize("implicit_tls", [False, True])
def test_the_client_is_who_the_proxy_says(
    tmp_path: Path, loop: str, header: bytes, client: str, implicit_tls: bool
) -> None:
    """The message of a client known by its network proves whom we took it for."""
    keeper = FakeGatekeeper()
    keeper.policy = Snapshot(networks=((ip_network("0.0.0.0/0"), 1), (ip_network("::/0"), 1)))

    async def main() -> None:
        async with open_house(tmp_path, keeper, proxy_protocol_from=LOOPBACK) as house:
            dialogue = await through_proxy(house, header, implicit_tls=implicit_tls)
            await dialogue.play(
                r"""
                S: 220 relay.test ESMTP
                C: EHLO x
                S> ehlo
                C: MAIL FROM:<a@acme.example>
                S: 250 2.1.0 Ok
                C: RCPT TO:<b@globex.example>
                S: 250 2.1.5 Ok
                C: DATA
                S: 354 End data with <CR><LF>.<CR><LF>
                C! x\r\n.\r\n
                S: 250 2.0.0 Ok: queued as m1
                """
            )
            await dialogue.close()

    run(main(), loop)
    assert keeper.envelopes[0].client_ip == client


async def through_proxy(house: House, header: bytes, *, implicit_tls: bool) -> Dialogue:
    """As a proxy does it: its header, then the client's octets, in one segment when it is fast."""
    sock = socket.create_connection(("127.0.0.1", house.tls_port if implicit_tls else house.port))
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    if not implicit_tls:
        await loop.sock_sendall(sock, header)
        return Dialogue(*await asyncio.open_connection(sock=sock))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    await loop.sock_sendall(sock, header + outgoing.read())  # header and hello together
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            data = await loop.sock_recv(sock, 65536)
            assert data, "closed in the handshake"
            incoming.write(data)
    await loop.sock_sendall(sock, outgoing.read())
    return await _pumped(sock, tls, incoming, outgoing)


async def _pumped(
    sock: socket.socket, tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> Dialogue:
    """A Dialogue over a TLS object of our own: a socket pair with the decrypted octets."""
    near, far = socket.socketpair()
    far.setblocking(False)
    loop = asyncio.get_running_loop()

    async def inward() -> None:
        data = b""
        while True:
            incoming.write(data)
            with contextlib.suppress(ssl.SSLWantReadError):
                while text := tls.read(65536):
                    await loop.sock_sendall(far, text)
            data = await loop.sock_recv(sock, 65536)
            if not data:
                far.shutdown(socket.SHUT_WR)
                return

    async def outward() -> None:
        while text := await loop.sock_recv(far, 65536):
            tls.write(text)
            await loop.sock_sendall(sock, outgoing.read())
        sock.shutdown(socket.SHUT_RDWR)

    dialogue = Dialogue(*await asyncio.open_connection(sock=near))
    dialogue.is_tls = True
    dialogue.pumps = [loop.create_task(inward()), loop.create_task(outward())]  # type: ignore[attr-defined]
    return dialogue


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO x\r\n",
        b"PROXY\r\n",
        b"PROXY TCP4 203.0.113.9\r\n",
        b"PROXY TCP4 999.0.113.9 192.0.2.1 4444 25\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 4444 99999\r\n",
        b"PROXY TCP4 2001:db8::9 ::1 4444 25\r\n",
        b"PROXY UDP4 203.0.113.9 192.0.2.1 4444 25\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 4444 25\n",
        b"PROXY TCP4 " + b"1" * 200 + b"\r\n",
        V2[:12] + b"\x31\x11\x00\x00",
        v2(1, 0x12, V2_TCP4[16:]),  # UDP
        v2(1, 0x31, b"\0" * 216),  # Unix socket
        v2(1, 0x11, b"\0" * 4),  # truncated
    ],
)
def test_a_listed_proxy_must_say_who_it_is_for(tmp_path: Path, header: bytes) -> None:
    async def main() -> None:
        async with open_house(tmp_path, proxy_protocol_from=LOOPBACK) as house:
            dialogue = await house.connect()
            await dialogue.send(header)
            assert await dialogue.rest() == b""
            await dialogue.close()
            assert house.gatekeeper.stages == []

    run(main())


def test_a_silent_proxy_is_left(tmp_path: Path) -> None:
    async def main() -> None:
        timeouts = Timeouts(proxy_header_s=0.05, close_s=0.1)
        async with open_house(tmp_path, timeouts=timeouts, proxy_protocol_from=LOOPBACK) as house:
            dialogue = await house.connect()
            assert await dialogue.line() == "421 4.4.2 Timeout, closing connection"
            assert await dialogue.rest() == b""
            await dialogue.close()

    run(main())


@pytest.mark.parametrize("header", [b"PROXY TCP4 203.0.113.9 192.0.2.1 4444 25\r\n", V2_TCP4])
def test_nobody_else_can_claim_another_address(tmp_path: Path, header: bytes) -> None:
    """A client that is no proxy claims a registered network's address: it stays who it is, and may not relay."""
    keeper = FakeGatekeeper()
    keeper.policy = Snapshot(networks=((ip_network(CLIENT), 1),))

    async def main() -> None:
        async with open_house(tmp_path, keeper, proxy_protocol_from=(ip_network("192.0.2.0/24"),)) as house:
            dialogue = await house.connect()
            await dialogue.send(header + b"EHLO x\r\nMAIL FROM:<a@acme.example>\r\nQUIT\r\n")
            answer = (await dialogue.rest()).decode()
            assert answer.startswith("220 relay.test ESMTP\r\n")
            assert "250 2.1.0" not in answer
            await dialogue.close()

    run(main())
    assert not keeper.envelopes
    assert "sender" not in keeper.stages


def test_the_limit_per_address_counts_clients_not_the_proxy(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_house(tmp_path, proxy_protocol_from=LOOPBACK, max_connections_per_address=1) as house:
            dialogues = []
            for last in (1, 2, 3):
                header = f"PROXY TCP4 203.0.113.{last} 192.0.2.1 4444 25\r\n".encode()
                dialogue = await through_proxy(house, header, implicit_tls=False)
                await dialogue.play("S: 220 relay.test ESMTP")
                dialogues.append(dialogue)
            dialogue = await through_proxy(
                house, b"PROXY TCP4 203.0.113.2 192.0.2.1 4445 25\r\n", implicit_tls=False
            )
            await dialogue.play("S: 421 4.7.0 Too many connections from your address, try again later\nEND")
            for opened in (*dialogues, dialogue):
                await opened.close()

    run(main())


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
    ],
)
def test_addresses_as_everybody_writes_them(text: str, plain: str) -> None:
    assert plain_ip(text) == plain


@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=120).map(lambda data: b"PROXY " + data + b"\r\n"),
        st.binary(max_size=60).map(lambda data: V2 + data),
        st.builds(v2, st.integers(0, 15), st.integers(0, 255), st.binary(max_size=60)),
    )
)
def test_any_header_is_read_or_refused(data: bytes) -> None:
    async def main() -> None:
        inbox = Inbox(asyncio.get_running_loop(), before_wait=lambda: None)
        inbox.feed(data)
        inbox.feed_eof()
        try:
            found = await read_client(inbox)
        except (ProxyHeaderError, EndOfStream):
            return
        assert found is None or plain_ip(found[0]) == found[0]

    run(main())
