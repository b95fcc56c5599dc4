"""Who may connect and who may try to log in, decided on counters with the time as a parameter.

All of it is in memory and per process. The tables are bounded: when one is full, the entry that was touched longest ago
goes.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass


def network_key(ip: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that an IPv6 customer is given whole."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    if address.version == 4:
        return ip
    return str(ipaddress.ip_network((address, 64), strict=False).network_address)


class ConnectionCount:
    """How many connections are open, in all and per client."""

    def __init__(self, max_all: int, max_per_address: int) -> None:
        self.total = 0
        self._max_all = max_all
        self._max_per_address = max_per_address
        self._by_client: dict[str, int] = {}

    @property
    def is_crowded(self) -> bool:
        """Nine tenths are in use: time to be impatient with the idle."""
        return self.total * 10 >= self._max_all * 9

    def enter(self) -> bool:
        """Count one connection whose client is not known yet; False (and nothing counted) at the limit."""
        if self.total >= self._max_all:
            return False
        self.total += 1
        return True

    def leave(self) -> None:
        self.total -= 1

    def enter_client(self, ip: str) -> bool:
        """Count it for its client; False (and nothing counted) at the limit."""
        key = network_key(ip)
        count = self._by_client.get(key, 0)
        if count >= self._max_per_address:
            return False
        self._by_client[key] = count + 1
        return True

    def leave_client(self, ip: str) -> None:
        key = network_key(ip)
        count = self._by_client.get(key, 0) - 1
        if count > 0:
            self._by_client[key] = count
        else:
            self._by_client.pop(key, None)


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """How many failed log-ins are free, and how long it takes after that."""

    free_per_account: int = 5
    free_per_address: int = 10
    lock_address_after: int = (
        30  # failures; then the address is shown the door instead of being asked to wait
    )
    first_wait_s: float = 2.0  # doubles with each failure beyond the free ones
    max_wait_s: float = 900.0
    forget_after_s: float = 3600.0  # without another failure
    max_entries: int = 50_000


@dataclass(slots=True)
class _Failures:
    count: int
    last_at: float


class LoginGuard:
    """Slows down guessing, per account and per address (CWE-307).

    An address that has logged in to an account is not held up by what others do to that account: else anybody could
    lock a customer out. `now` is any monotonic number of seconds.
    """

    def __init__(self, limits: LoginLimits | None = None) -> None:
        self.limits = limits or LoginLimits()
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._trusted: OrderedDict[tuple[str, str], None] = OrderedDict()

    def wait_s(self, ip: str, username: str, now: float) -> float:
        """Seconds until this address may try this account again; 0 = now."""
        address, account = network_key(ip), username.casefold()
        wait = self._wait_s(("address", address), self.limits.free_per_address, now)
        if (address, account) in self._trusted:
            return wait
        return max(wait, self._wait_s(("account", account), self.limits.free_per_account, now))

    def is_locked(self, ip: str, now: float) -> bool:
        """Whether the address has failed so often, on whatever accounts, that talking to it is no use."""
        failures = self._failures.get(("address", network_key(ip)))
        if failures is None or failures.count < self.limits.lock_address_after:
            return False
        return failures.last_at + self.limits.max_wait_s > now

    def failed(self, ip: str, username: str, now: float) -> None:
        self._trusted.pop((network_key(ip), username.casefold()), None)
        self._count(("address", network_key(ip)), now)
        self._count(("account", username.casefold()), now)

    def succeeded(self, ip: str, username: str) -> None:
        """Trust the address with this account. Its failures on other accounts stay counted: one good account must not
        be a licence to guess."""
        pair = (network_key(ip), username.casefold())
        self._trusted[pair] = None
        self._trusted.move_to_end(pair)
        self._failures.pop(("account", pair[1]), None)
        if len(self._trusted) > self.limits.max_entries:
            self._trusted.popitem(last=False)

    def _count(self, key: tuple[str, str], now: float) -> None:
        failures = self._failures.get(key)
        if failures is None or failures.last_at + self.limits.forget_after_s <= now:
            failures = self._failures[key] = _Failures(0, now)
        failures.count += 1
        failures.last_at = now
        self._failures.move_to_end(key)
        if len(self._failures) > self.limits.max_entries:
            self._failures.popitem(last=False)

    def _wait_s(self, key: tuple[str, str], free: int, now: float) -> float:
        failures = self._failures.get(key)
        if failures is None or failures.count < free or failures.last_at + self.limits.forget_after_s <= now:
            return 0.0
        step = min(failures.count - free, 30)  # 2 ** 30 s is beyond any maximum
        wait = min(self.limits.first_wait_s * (1 << step), self.limits.max_wait_s)
        return max(0.0, failures.last_at + wait - now)
