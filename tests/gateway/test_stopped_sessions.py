"""A login or customer that is stopped is stopped in the sessions that are open already."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.check import Refusal, account
from gateway.gatekeeper import RelayGatekeeper
from gateway.reception import Login, Session
from gateway.rules.policy import CredentialPolicy, CustomerPolicy, Snapshot

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ACME = CustomerPolicy(1, "acme", "ACME")
WEB = CredentialPolicy(7, 1, "acme-web", "0" * 64)
THEN = Snapshot(version=1, customers={1: ACME}, credentials={"acme-web": WEB})


def policy(customer: CustomerPolicy | None = ACME, credential: CredentialPolicy | None = WEB) -> Snapshot:
    return Snapshot(
        version=2,
        customers={1: customer} if customer else {},
        credentials={"acme-web": credential} if credential else {},
    )


async def refusal(now: Snapshot, login: Login) -> str:
    """The reason why MAIL FROM is refused in a session that began with the policy THEN; '' when it is not."""
    source: Any = SimpleNamespace(current=now)
    nothing: Any = None
    gatekeeper = RelayGatekeeper(nothing, nothing, source, b"", lambda: NOW)
    session = Session("s1", "192.0.2.10", 4711, THEN, NOW, login=login)
    try:
        await account(gatekeeper._context(session))
    except Refusal as refused:
        return refused.refused.reason
    return ""


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        pytest.param(policy(), "", id="nothing happened"),
        pytest.param(
            policy(credential=replace(WEB, secret_hash="1" * 64)), "", id="a new secret ends no session"
        ),
        pytest.param(policy(credential=replace(WEB, blocked="fuse")), "fuse", id="the fuse blew"),
        pytest.param(policy(credential=replace(WEB, blocked="revoked")), "revoked", id="revoked"),
        pytest.param(policy(credential=None), "revoked", id="the login is gone"),
        pytest.param(policy(credential=replace(WEB, id=8)), "revoked", id="another login has its name now"),
        pytest.param(
            policy(customer=replace(ACME, suspended=True)), "suspended", id="the customer is suspended"
        ),
        pytest.param(policy(customer=None), "suspended", id="the customer is gone"),
    ],
)
async def test_an_open_session(now: Snapshot, reason: str) -> None:
    assert await refusal(now, Login(1, 7, "acme-web")) == reason


async def test_a_registered_network_has_no_login() -> None:
    assert await refusal(policy(credential=None), Login(1, None, "")) == ""


async def test_a_session_that_began_stopped_goes_on_when_it_is_released() -> None:
    """The client tries again in the same session: 451 was a 'not now'."""
    source: Any = SimpleNamespace(current=policy())
    nothing: Any = None
    gatekeeper = RelayGatekeeper(nothing, nothing, source, b"", lambda: NOW)
    then = replace(THEN, credentials={"acme-web": replace(WEB, blocked="fuse")})
    session = Session("s1", "192.0.2.10", 4711, then, NOW, login=Login(1, 7, "acme-web"))
    assert (await account(gatekeeper._context(session)))["login"] == "acme-web"
