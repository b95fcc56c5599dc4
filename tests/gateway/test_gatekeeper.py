"""Who may log in and go on: secrets, networks, expiry, and what is in force at once also for open sessions."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.accept import Login, Session
from gateway.check import Checker
from gateway.crypto import hash_secret
from gateway.gatekeeper import RelayGatekeeper
from gateway.metrics import Meters
from gateway.rules.policy import CredentialPolicy, CustomerPolicy, Snapshot, TlsRulePolicy
from gateway.rules.reasons import refuse
from gateway.rules.types import Address, EnvelopeRecipient, OnFailure, Refused, TlsLevel

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
KEY = b"k" * 32
ACME = CustomerPolicy(1, "acme", "ACME")
WEB = CredentialPolicy(7, 1, "Web", hash_secret("right", KEY))


class FakeDatabase:
    def __init__(self) -> None:
        self.written: list[tuple[str, Any]] = []

    async def write(self, handler: Callable[..., Any], payload: Any) -> None:
        self.written.append((handler.__name__, payload))


class FakeSource:
    def __init__(self, snapshot: Snapshot) -> None:
        self.current = snapshot
        self.loaded_at: datetime | None = NOW


class FakeWay:
    """As much of the pipeline as the gatekeeper touches before a message."""

    def __init__(self) -> None:
        self.checker = Checker(None, None, None, None)  # type: ignore[arg-type]
        self.limiter = None
        self.meters = Meters()


def policy(customer: CustomerPolicy = ACME, credential: CredentialPolicy = WEB) -> Snapshot:
    return Snapshot(
        version=1,
        customers={1: customer},
        credentials={"web": credential},
        suppressed=frozenset({(1, "x@gone.example")}),
    )


def gatekeeper(snapshot: Snapshot) -> tuple[RelayGatekeeper, FakeSource, FakeDatabase]:
    source, database = FakeSource(snapshot), FakeDatabase()
    keeper = RelayGatekeeper(FakeWay(), database, source, KEY, lambda: NOW)  # type: ignore[arg-type]
    return keeper, source, database


def session(snapshot: Snapshot, ip: str = "192.0.2.7") -> Session:
    return Session("s1", ip, 4711, snapshot, NOW)


@pytest.mark.parametrize(
    ("credential", "username", "secret", "code"),
    [
        (WEB, "web", "right", 0),
        (WEB, "WEB", "right", 0),
        (WEB, "web", "wrong", 535),
        (WEB, "nobody", "right", 535),
        (WEB, "web", "", 535),
        (replace(WEB, secret_hash=""), "web", "", 535),
        (replace(WEB, blocked="revoked"), "web", "right", 535),
        (replace(WEB, expires_at=NOW), "web", "right", 535),
        (replace(WEB, expires_at=NOW + timedelta(seconds=1)), "web", "right", 0),
        (replace(WEB, networks=(ipaddress.ip_network("192.0.2.0/24"),)), "web", "right", 0),
        (replace(WEB, networks=(ipaddress.ip_network("198.51.100.0/24"),)), "web", "right", 535),
        (
            replace(WEB, previous_secret_hash=hash_secret("old", KEY), previous_until=NOW + timedelta(1)),
            "web",
            "old",
            0,
        ),
        (replace(WEB, previous_secret_hash=hash_secret("old", KEY), previous_until=NOW), "web", "old", 535),
        (replace(WEB, previous_secret_hash=hash_secret("old", KEY)), "web", "old", 535),
    ],
)
async def test_logins(credential: CredentialPolicy, username: str, secret: str, code: int) -> None:
    snapshot = policy(credential=credential)
    keeper, _, _ = gatekeeper(snapshot)
    outcome = await keeper.authenticate(session(snapshot), username, secret)
    assert (outcome.reply.code if isinstance(outcome, Refused) else 0) == code
    if isinstance(outcome, Login):
        assert (outcome.customer_id, outcome.credential_id, outcome.username) == (1, 7, "Web")


async def test_the_last_use_of_a_login_is_written_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, now = policy(), [NOW]
    keeper, _, database = gatekeeper(snapshot)
    monkeypatch.setattr(keeper, "_utc_now", lambda: now[0])
    for passed_s, ip in ((0, "192.0.2.7"), (1, "192.0.2.7"), (2, "192.0.2.8"), (10, "192.0.2.7")):
        now[0] = NOW + timedelta(seconds=passed_s)
        await keeper.authenticate(session(snapshot, ip), "web", "right")
        await asyncio.sleep(0)
    assert database.written == [
        ("note_logins", (7, ip, NOW + timedelta(seconds=passed_s)))
        for passed_s, ip in ((0, "192.0.2.7"), (2, "192.0.2.8"), (10, "192.0.2.7"))
    ]


async def test_without_a_policy_nobody_is_refused_for_good() -> None:
    keeper, source, _ = gatekeeper(policy())
    source.loaded_at = None
    outcome = await keeper.authenticate(session(policy()), "web", "right")
    assert isinstance(outcome, Refused)
    assert outcome.reply.code == 454


async def test_a_suspension_is_in_force_for_sessions_that_began_before() -> None:
    snapshot = policy()
    keeper, source, _ = gatekeeper(snapshot)
    open_session = session(snapshot)
    open_session.login = Login(1, 7, "Web")
    assert await keeper.check_sender(open_session, None, 0) is None
    source.current = policy(replace(ACME, suspended=True))
    refused = await keeper.check_sender(open_session, None, 0)
    assert (refused and refused.reason) == "suspended"
    source.current = Snapshot(version=3)
    refused = await keeper.check_sender(open_session, None, 0)
    assert (refused and refused.reason) == "suspended"


async def test_a_revoked_login_is_stopped_at_once() -> None:
    snapshot = policy()
    keeper, source, _ = gatekeeper(snapshot)
    open_session = session(snapshot)
    open_session.login = Login(1, 7, "Web")
    source.current = policy(credential=replace(WEB, blocked="fuse"))
    refused = await keeper.check_sender(open_session, None, 0)
    assert (refused and str(refused.reply)[:9]) == "451 4.7.1"


@pytest.mark.parametrize(("address", "reason"), [("X@gone.example", "suppressed"), ("y@gone.example", None)])
async def test_suppressed_recipients(address: str, reason: str | None) -> None:
    snapshot = policy()
    keeper, _, _ = gatekeeper(snapshot)
    open_session = session(snapshot)
    open_session.login = Login(1, 7, "Web")
    local, _, domain = address.partition("@")
    refused = await keeper.check_recipient(open_session, None, EnvelopeRecipient(Address(local, domain)))
    assert (refused and refused.reason) == reason


async def test_the_set_up_page_is_told_each_stage_once_and_where_it_stopped() -> None:
    snapshot = policy(replace(ACME, watched_until=NOW + timedelta(minutes=30)))
    keeper, _, database = gatekeeper(snapshot)
    watched = session(snapshot)
    keeper.observe(watched, "connected")
    keeper.observe(watched, "tls")
    watched.login = Login(1, 7, "Web")
    keeper.observe(watched, "login")
    keeper.observe(watched, "login")
    refused = refuse("not_owner")
    keeper.record_refusal(watched, "mail", refused, "a@globex.example", "")
    await keeper.drain()
    await asyncio.sleep(0)
    told = [
        (row[2], row[4]) for name, payload in database.written if name == "note_setup" for row in payload[1]
    ]
    assert told == [("connected", ""), ("tls", ""), ("login", ""), ("sender", str(refused.reply))]


async def test_the_set_up_page_is_told_which_message_was_accepted() -> None:
    keeper, _, database = gatekeeper(policy(replace(ACME, watched_until=NOW + timedelta(minutes=30))))
    watched = session(keeper.snapshot())
    watched.login = Login(1, 7, "Web")
    keeper.observe(watched, "login")
    watched.notes["accepted"] = 4711
    keeper.observe(watched, "accepted")
    await keeper.drain()
    await asyncio.sleep(0)
    told = [
        (row[2], row[5]) for name, payload in database.written if name == "note_setup" for row in payload[1]
    ]
    assert told == [("login", None), ("accepted", 4711)]


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ({"on_failure": OnFailure.REJECT, "failing_until": NOW + timedelta(hours=1)}, True),
        ({"on_failure": OnFailure.REJECT, "failing_until": NOW}, False),
        ({"on_failure": OnFailure.REJECT}, False),
        ({"on_failure": OnFailure.HOLD, "failing_until": NOW + timedelta(hours=1)}, False),
        ({"on_failure": OnFailure.REJECT, "failing_until": NOW + timedelta(hours=1), "shadow": True}, False),
    ],
)
async def test_what_is_known_to_fail_is_refused_at_rcpt(values: dict[str, Any], refused: bool) -> None:
    rule = TlsRulePolicy(1, 1, "", "bank.example", level=TlsLevel.VERIFY, **values)
    snapshot = replace(policy(), tls_rules={1: (rule,)})
    keeper, _, _ = gatekeeper(snapshot)
    open_session = session(snapshot)
    open_session.login = Login(1, 7, "Web")
    sender = Address("web", "acme.example")
    found = await keeper.check_recipient(
        open_session, sender, EnvelopeRecipient(Address("x", "bank.example"))
    )
    assert (str(found.reply)[:10] if found else "") == ("550 5.7.10" if refused else "")
