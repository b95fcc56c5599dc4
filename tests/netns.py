"""Machines of a test: network namespaces joined by one switch, each with addresses of its own.

    with Network() as network:
        relay = network.machine("192.0.2.11/24", "2001:db8::11/64")
        other = network.machine("192.0.2.99/24")
        with other.entered():
            hop = FakeNextHop("192.0.2.99", 25)      # a socket stays where it was made
        with relay.entered():
            running.start()                          # so do processes and threads that are started here

Namespaces belong to a thread. They have no name and leave nothing behind: the last process or descriptor takes
them with it. Making them takes root (CAP_SYS_ADMIN): `need_namespaces()` skips a test without it.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import subprocess
import threading
from collections.abc import Iterator
from typing import Self

import pytest

from tests import services

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def need_namespaces() -> None:
    """Skip the running test where namespaces must not be made: a right that no package brings."""
    services.need("ip")
    try:
        os.close(_new_namespace())
    except PermissionError:
        pytest.skip("network namespaces take root (CAP_SYS_ADMIN)")


class Machine:
    """One namespace; its interface to the switch is `net0`."""

    def __init__(self, namespace: int) -> None:
        self._namespace = namespace

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is on this machine until the block ends, with what it starts in the meantime."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _enter(self._namespace)
            yield
        finally:
            _enter(home)
            os.close(home)

    def ip(self, *arguments: str) -> None:
        """Run `ip` on this machine, for example `ip("link", "set", "net0", "down")`: it is cut off."""
        with self.entered():
            done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def add_address(self, network: str) -> None:
        """'192.0.2.11/24'; usable at once (no duplicate address detection)."""
        self.ip("address", "add", network, "dev", "net0", *(["nodad"] if ":" in network else []))

    def remove_address(self, network: str) -> None:
        self.ip("address", "del", network, "dev", "net0")

    def close(self) -> None:
        os.close(self._namespace)


class Network:
    """A switch, and the machines on it."""

    def __init__(self) -> None:
        self._switch = Machine(_new_namespace())
        self._machines: list[Machine] = []
        self._ports = itertools.count(1)
        self._switch.ip("link", "add", "switch", "type", "bridge")
        self._switch.ip("link", "set", "switch", "up")

    def machine(self, *addresses: str) -> Machine:
        """A new machine with these addresses, the first of each family being what it takes by itself."""
        namespace = _new_namespace()
        made = Machine(namespace)
        self._machines.append(made)
        port, where = f"port{next(self._ports)}", f"/proc/{os.getpid()}/fd/{namespace}"
        self._switch.ip("link", "add", port, "type", "veth", "peer", "name", "net0", "netns", where)
        self._switch.ip("link", "set", port, "master", "switch", "up")
        made.ip("link", "set", "lo", "up")
        made.ip("link", "set", "net0", "up")
        for address in addresses:
            made.add_address(address)
        return made

    def close(self) -> None:
        for machine in (*self._machines, self._switch):
            machine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET):
        raise _error("setns")


def _new_namespace() -> int:
    """A descriptor of a fresh namespace: made by a thread that ends at once, so that ours stays where it is."""
    made: list[int | OSError] = []

    def work() -> None:
        if _libc.unshare(CLONE_NEWNET):
            made.append(_error("unshare"))
        else:
            made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    (result,) = made
    if isinstance(result, OSError):
        raise result
    return result


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), call)
