"""Connections counted, guessing slowed down, retries recognised; the clock is a number."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from gateway.rules.limits import ConnectionCount, LoginGuard, LoginLimits, network_key
from gateway.rules.types import Address, Envelope, EnvelopeRecipient, Reply
from gateway.rules.unacknowledged import Unacknowledged

LIMITS = LoginLimits(
    free_per_account=3,
    free_per_address=5,
    lock_address_after=8,
    first_wait_s=2,
    max_wait_s=60,
    forget_after_s=600,
)


@pytest.mark.parametrize(
    ("ip", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("not an address", "not an address"),
    ],
)
def test_what_counts_as_one_client(ip: str, key: str) -> None:
    assert network_key(ip) == key


def test_connections_in_all() -> None:
    count = ConnectionCount(2, 10)
    assert [count.enter(), count.enter(), count.enter()] == [True, True, False]
    assert count.is_crowded
    count.leave()
    assert not count.is_crowded
    assert count.enter()


def test_connections_per_client() -> None:
    count = ConnectionCount(100, 2)
    answers = [count.enter_client(ip) for ip in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1")]
    assert answers == [True, True, True, False]
    count.leave_client("192.0.2.1")
    assert count.enter_client("192.0.2.1")
    for ip in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        count.leave_client(ip)
    assert not count._by_client  # nothing is kept for clients that have left


def waits(guard: LoginGuard, ip: str, account: str, times: int, now: float) -> list[float]:
    found = []
    for _ in range(times):
        found.append(guard.wait_s(ip, account, now))
        guard.failed(ip, account, now)
    return found


def test_an_account_is_guarded_against_many_addresses() -> None:
    guard = LoginGuard(LIMITS)
    addresses = (f"192.0.2.{number}" for number in itertools.count(1))
    found = []
    for ip in itertools.islice(addresses, 9):
        found.append(guard.wait_s(ip, "acme-web", 100))
        guard.failed(ip, "acme-web", 100)
    assert found == [0, 0, 0, 2, 4, 8, 16, 32, 60]
    assert guard.wait_s("198.51.100.1", "ACME-Web", 100) == 60  # names are compared without case
    assert guard.wait_s("198.51.100.1", "globex-app", 100) == 0


def test_an_address_is_guarded_against_on_many_accounts() -> None:
    guard = LoginGuard(LIMITS)
    found = []
    for number in range(8):
        found.append(guard.wait_s("192.0.2.1", f"user{number}", 100))
        guard.failed("192.0.2.1", f"user{number}", 100)
    assert found == [0, 0, 0, 0, 0, 2, 4, 8]
    assert guard.is_locked("192.0.2.1", 100)
    assert not guard.is_locked("192.0.2.2", 100)
    assert not guard.is_locked("192.0.2.1", 161)


def test_waiting_ends_and_is_forgotten() -> None:
    guard = LoginGuard(LIMITS)
    waits(guard, "192.0.2.1", "acme-web", 4, 100)
    assert guard.wait_s("192.0.2.1", "acme-web", 100) == 4
    assert guard.wait_s("192.0.2.1", "acme-web", 103) == 1
    assert guard.wait_s("192.0.2.1", "acme-web", 104) == 0
    guard.failed("192.0.2.1", "acme-web", 800)  # the first four are older than forget_after_s
    assert guard.wait_s("192.0.2.1", "acme-web", 800) == 0


def test_a_customer_is_not_locked_out_by_a_stranger() -> None:
    guard = LoginGuard(LIMITS)
    guard.succeeded("192.0.2.1", "acme-web")
    waits(guard, "203.0.113.9", "acme-web", 20, 100)
    assert guard.wait_s("203.0.113.9", "acme-web", 100) == 60
    assert guard.wait_s("192.0.2.1", "acme-web", 100) == 0


def test_one_good_account_is_no_licence_to_guess() -> None:
    guard = LoginGuard(LIMITS)
    for number in range(7):
        guard.succeeded("192.0.2.1", "own-account")
        guard.failed("192.0.2.1", f"user{number}", 100)
    assert guard.wait_s("192.0.2.1", "user99", 100) > 0


def test_trust_ends_with_a_failure() -> None:
    guard = LoginGuard(LIMITS)
    guard.succeeded("192.0.2.1", "acme-web")
    waits(guard, "192.0.2.1", "acme-web", 4, 100)
    assert guard.wait_s("192.0.2.1", "acme-web", 100) == 4


def test_the_tables_are_bounded() -> None:
    guard = LoginGuard(LoginLimits(max_entries=10))
    for number in range(100):
        guard.failed(f"192.0.2.{number}", f"user{number}", float(number))
        guard.succeeded(f"198.51.100.{number}", f"good{number}")
    assert len(guard._failures) == 10
    assert len(guard._trusted) == 10


def envelope(body: bytes = b"hello\r\n", to: str = "bob", customer_id: int = 1) -> Envelope:
    recipient = EnvelopeRecipient(Address(to, "globex.example"))
    return Envelope(
        7,
        customer_id,
        11,
        Address("alice", "acme.example"),
        [recipient],
        body,
        datetime(2026, 1, 1, tzinfo=UTC),
    )


QUEUED = Reply(250, "2.0.0", "Ok: queued as m1")


def test_a_retry_gets_the_reply_nobody_read_once() -> None:
    memory = Unacknowledged()
    assert not memory
    memory.remember(envelope(), QUEUED, 0)
    assert memory.recall(envelope(), 10) == QUEUED
    assert memory.recall(envelope(), 11) is None


@pytest.mark.parametrize(
    "other", [envelope(body=b"hallo\r\n"), envelope(to="carol"), envelope(customer_id=2)]
)
def test_another_message_is_not_a_retry(other: Envelope) -> None:
    memory = Unacknowledged()
    memory.remember(envelope(), QUEUED, 0)
    assert memory.recall(other, 10) is None


def test_replies_are_kept_for_a_day_and_not_without_bound() -> None:
    memory = Unacknowledged(keep_s=100, max_entries=3)
    for number in range(5):
        memory.remember(envelope(body=b"%d\r\n" % number), QUEUED, number)
    assert memory.recall(envelope(body=b"1\r\n"), 5) is None  # pushed out
    assert memory.recall(envelope(body=b"2\r\n"), 5) == QUEUED
    assert memory.recall(envelope(body=b"3\r\n"), 103) is None  # too old
    assert memory.recall(envelope(body=b"4\r\n"), 103) == QUEUED
