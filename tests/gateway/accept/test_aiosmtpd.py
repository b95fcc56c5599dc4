"""What we rely on in aiosmtpd and in asyncio's protocols beyond their documentation: one test per name."""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
from pathlib import Path

from aiosmtpd import proxy_protocol, smtp

from gateway.reception import Reception
from gateway.rules.ids import IdMaker
from gateway.rules.limits import ConnectionCount
from gateway.smtp.connection import Connection, House
from gateway.smtp.server import RelayProtocol
from gateway.smtp.tls import server_context
from tests.gateway.accept.house import FakeGatekeeper, make_config, run

COMMANDS = "AUTH BDAT DATA EHLO EXPN HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY".split()


def protocol(tmp_path: Path) -> RelayProtocol:
    config = make_config(tmp_path)
    reception = Reception(config, FakeGatekeeper(), IdMaker(1))
    house = House(reception, server_context(config), ConnectionCount(10, 10))
    return RelayProtocol(house, implicit_tls=False, loop=asyncio.get_running_loop())


def test_the_version_is_the_one_this_was_written_for() -> None:
    assert importlib.metadata.version("aiosmtpd") == "1.4.6"


def test_smtp_methods_holds_every_command_and_each_is_ours(tmp_path: Path) -> None:
    """`_smtp_methods` is found through dir(), which our __dir__ shortens: nothing may be missing, nothing inherited."""

    async def main() -> None:
        relay = protocol(tmp_path)
        assert sorted(relay._smtp_methods) == COMMANDS
        for method in relay._smtp_methods.values():
            assert inspect.getmodule(method).__name__.startswith("gateway.smtp.")
        assert relay._handle_hooks == {}
        assert relay._auth_methods == {}

    run(main())


def test_the_constructor_does_not_touch_the_network(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """hostname=None would resolve our own name for each connection."""
    monkeypatch.setattr(smtp.socket, "getfqdn", lambda: 1 / 0)

    async def main() -> None:
        assert protocol(tmp_path).hostname == "relay.test"

    run(main())


def test_every_callback_of_the_transport_is_ours() -> None:
    """What aiosmtpd would do there: buffer without bound, cancel the handler, time out by itself."""
    callbacks = (
        "connection_made data_received eof_received connection_lost pause_writing resume_writing push".split()
    )
    for name in callbacks:
        assert getattr(Connection, name).__module__ == "gateway.smtp.connection", name


def test_the_proxy_parser_has_the_names_we_use() -> None:
    assert inspect.iscoroutinefunction(proxy_protocol.get_proxy)
    assert {proxy_protocol.AF.INET, proxy_protocol.AF.INET6, proxy_protocol.AF.UNSPEC} == {1, 2, 0}
    assert (proxy_protocol.PROTO.STREAM, proxy_protocol.PROTO.UNSPEC, proxy_protocol.V2_CMD.LOCAL) == (
        1,
        0,
        0,
    )
    data = proxy_protocol.ProxyData(version=1)
    for name in ("valid", "error", "command", "family", "protocol", "src_addr", "src_port"):
        assert hasattr(data, name)
