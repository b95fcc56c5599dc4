"""The listeners of one relay process, and their orderly end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.accept import Gatekeeper, Reception, Timeouts
from gateway.config import Config, ConfigError, Endpoint
from gateway.rules.ids import IdMaker
from gateway.rules.limits import ConnectionCount
from gateway.smtp.authentication import Authentication
from gateway.smtp.connection import House
from gateway.smtp.greeting import Greeting
from gateway.smtp.tls import server_context
from gateway.smtp.transfer import Transfer

BACKLOG = 1024
LAST_GRACE_S = 1.0  # for commits that are under way when all others have been cut off


class RelayProtocol(Greeting, Authentication, Transfer):
    """All commands together."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where to listen: an endpoint, or a socket that is bound already."""

    where: Endpoint | socket.socket
    implicit_tls: bool = False


class Servers:
    """The open listeners of a process and the connections that came by them."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._servers: list[asyncio.Server] = []

    @property
    def reception(self) -> Reception:
        return self._house.reception

    @property
    def tls_context(self) -> ssl.SSLContext:
        return self._house.tls_context

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._house.connections)

    def counters(self) -> dict[str, dict[str, int]]:
        """Connections by listener ('smtp', 'smtps'): accepted and refused since the start, and open now."""
        house = self._house
        return {
            name: {
                "accepted": house.accepted_total[implicit_tls],
                "refused": house.refused_total[implicit_tls],
                "open": sum(item.implicit_tls is implicit_tls for item in house.connections),
            }
            for name, implicit_tls in (("smtp", False), ("smtps", True))
        }

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """(host, port) of every listening socket, in the order of the listeners."""
        return [item.getsockname()[:2] for server in self._servers for item in server.sockets]

    async def listen(self, listener: Listener, *, reuse_port: bool) -> None:
        """Raises ConfigError when the place cannot be used."""
        loop = asyncio.get_running_loop()

        def protocol() -> RelayProtocol:
            return RelayProtocol(self._house, implicit_tls=listener.implicit_tls, loop=loop)

        where = listener.where
        if isinstance(where, socket.socket):
            self._servers.append(await loop.create_server(protocol, sock=where, backlog=BACKLOG))
            return
        if where.path:
            raise ConfigError(f"{where}: SMTP listens on host:port, not on a Unix socket")
        try:
            server = await loop.create_server(
                protocol, where.host, where.port, backlog=BACKLOG, reuse_address=True, reuse_port=reuse_port
            )
        except OSError as error:
            raise ConfigError(f"cannot listen on {where}: {error.strerror or error}") from error
        self._servers.append(server)

    def close_listeners(self) -> None:
        """Refuse new connections; those that are open go on."""
        for server in self._servers:
            server.close()

    async def drain(self, timeout_s: float) -> int:
        """Let current transactions finish, then 421; returns how many connections had to be cut off.

        A message being committed is not cancelled even then: it is answered or not, but not half queued.
        """
        self.close_listeners()
        self._house.closing = True
        for connection in list(self._house.connections):
            connection.wind_down()
        await self._until_empty(timeout_s)
        left = list(self._house.connections)
        for connection in left:
            connection.abort()
        await self._until_empty(LAST_GRACE_S)
        return len(left)

    async def _until_empty(self, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while self._house.connections and loop.time() < end:
            conversations = [item.conversation for item in self._house.connections if item.conversation]
            await asyncio.wait(conversations, timeout=end - loop.time())


async def serve(
    config: Config,
    gatekeeper: Gatekeeper,
    *,
    ids: IdMaker,
    listeners: Sequence[Listener] | None = None,
    reuse_port: bool = True,
    timeouts: Timeouts | None = None,
    reception: Reception | None = None,
) -> Servers:
    """Listen and answer until `drain`. Without `listeners`: those of the configuration. Raises ConfigError.

    Limits on connections are kept per process: the one on all of them is divided by the number of processes, the one
    per address is not, since the kernel spreads an address unevenly.
    """
    shared = reception or Reception(config, gatekeeper, ids, timeouts or Timeouts())
    max_all = -(-config.max_connections // config.relay_processes)
    count = ConnectionCount(max_all, config.max_connections_per_address)
    servers = Servers(House(shared, server_context(config), count))
    try:
        for listener in configured_listeners(config) if listeners is None else listeners:
            await servers.listen(listener, reuse_port=reuse_port)
    except BaseException:
        servers.close_listeners()
        raise
    return servers


def configured_listeners(config: Config) -> list[Listener]:
    return [
        *(Listener(endpoint) for endpoint in config.smtp_listen),
        *(Listener(endpoint, implicit_tls=True) for endpoint in config.smtps_listen),
    ]
