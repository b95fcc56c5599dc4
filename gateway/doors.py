"""The sockets that a node's relay processes accept from. They belong to the master and outlive each process.

A connection that nobody has accepted yet waits in the kernel while a process is started anew, instead of being reset.
Sockets come from whoever started us (systemd's socket unit, or our own predecessor at a reload: LISTEN_FDS and
LISTEN_PID, sd_listen_fds(3)); what is missing is opened here, one for each process, so that the kernel spreads
connections over them (SO_REUSEPORT).
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from gateway.config import Config, ConfigError, Endpoint
from gateway.smtp.server import Listener, configured_listeners

FIRST_FD = 3  # SD_LISTEN_FDS_START
OUT_OF_THE_WAY = 1000
PREDECESSORS = "SMG_RELAY_PREDECESSORS"  # 'index:pid,...' of the processes that a reload replaces


@dataclass(frozen=True, slots=True)
class Door:
    """One address, with at most one socket for each process."""

    sockets: list[socket.socket]
    implicit_tls: bool


class Doors:
    """Bound, not yet listening: connections are refused until the first process is ready for them."""

    def __init__(self, doors: Sequence[Door]) -> None:
        self._doors = doors

    @classmethod
    def open(cls, config: Config) -> Self:
        """Raises ConfigError when a place cannot be used. Sockets that were handed to us and fit no listener are
        closed."""
        given = inherited()
        doors = [
            Door(_sockets(listener.where, address, given, config.relay_processes), listener.implicit_tls)
            for listener in configured_listeners(config)
            if isinstance(listener.where, Endpoint)
            for address in _addresses(listener.where)
        ]
        for unused in given:
            unused.close()
        return cls(doors)

    def for_process(self, index: int) -> list[Listener]:
        """Called in the process itself: its own sockets; it closes the others."""
        listeners = []
        for door in self._doors:
            own = door.sockets[index % len(door.sockets)]
            listeners.append(Listener(own, implicit_tls=door.implicit_tls))
            for other in door.sockets:
                if other is not own:
                    other.close()
        return listeners

    def close(self) -> None:
        for door in self._doors:
            for one in door.sockets:
                one.close()

    def hand_over(self) -> None:
        """Right before exec: leave the sockets where the successor looks for them."""
        ours = [one for door in self._doors for one in door.sockets]
        aside = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY) for one in ours]
        for place, descriptor in enumerate(aside):
            os.dup2(descriptor, FIRST_FD + place, inheritable=True)
        os.environ |= {"LISTEN_FDS": str(len(ours)), "LISTEN_PID": str(os.getpid())}


def inherited() -> list[socket.socket]:
    """What was handed to this process, if anything; to be called once, at the start."""
    meant_for, number = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "0")
    os.environ.pop("LISTEN_FDNAMES", None)
    if meant_for != str(os.getpid()) or not number.isdigit():
        return []
    found = [socket.socket(fileno=FIRST_FD + place) for place in range(int(number))]
    for one in found:
        one.set_inheritable(False)
    return found


Address = tuple[socket.AddressFamily, tuple[str, int]]


def _addresses(where: Endpoint) -> list[Address]:
    if where.path:
        raise ConfigError(f"{where}: SMTP listens on host:port, not on a Unix socket")
    try:
        found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(f"cannot listen on {where}: {error.strerror or error}") from error
    return [(family, (str(address[0]), int(address[1]))) for family, _, _, _, address in found]


def _sockets(
    where: Endpoint, address: Address, given: list[socket.socket], processes: int
) -> list[socket.socket]:
    """Those of `given` that fit, taken out of it, which the processes share; else a fresh one for each process."""
    fitting = [one for one in given if one.family == address[0] and one.getsockname()[:2] == address[1]][
        :processes
    ]
    for one in fitting:
        given.remove(one)
    try:
        return fitting or [_bound(address) for _ in range(processes)]
    except OSError as error:
        raise ConfigError(f"cannot listen on {where}: {error.strerror or error}") from error


def _bound(address: Address) -> socket.socket:
    family, place = address
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(place)
    except OSError:
        one.close()
        raise
    return one
