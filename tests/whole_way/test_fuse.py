"""The abuse fuse in a real relay: one login floods, is stopped in its running session, and nobody else notices."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Callable

import pytest

from tests.fake_next_hop import FakeNextHop
from tests.relay_harness import RunningRelay, mail

pytestmark = pytest.mark.slow

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
MOST = 400  # messages an attacker may get in before the fuse must have blown
ERP = """
[[customers]]
slug = "acme"
  [[customers.credentials]]
  username = "acme-erp"
  secret = "only for tests"
"""


async def aside(function: Callable[..., object], *args: object, **kwargs: object) -> object:
    return await asyncio.to_thread(function, *args, **kwargs)


def flood(relay: RunningRelay) -> tuple[int, str]:
    """Spam in one session until it is refused: (accepted, the refusal)."""
    with relay.client("acme-web") as smtp:
        for number in range(MOST):
            try:
                smtp.sendmail("web@acme.example", f"victim{number}@partner.example", mail(GTUBE))
            except smtplib.SMTPSenderRefused as refused:
                return number, f"{refused.smtp_code} {refused.smtp_error.decode()}"
    return MOST, ""


async def test_a_flood_of_spam_stops_that_login_only(
    relay: RunningRelay, good: FakeNextHop, bad: FakeNextHop
) -> None:
    bad.say("MAIL", "451 4.7.0 come back later")
    await aside(relay.apply, ERP)
    await asyncio.sleep(1.2)  # the relay polls its policy once a second
    accepted, reply = await aside(flood, relay)  # type: ignore[misc]
    assert reply == "451 4.7.1 This login was stopped because of unusual traffic, see the portal"
    assert 40 <= accepted < MOST
    await aside(
        relay.wait_for,
        "SELECT count(*) FROM gateway_recipient WHERE state = 'held' AND reason = 'abuse'",
        accepted,
    )
    assert bad.messages == []
    assert await aside(relay.send, "web@acme.example", "a@partner.example", mail(), "acme-erp") == ""
    assert (
        await aside(
            relay.send,
            "web@globex.example",
            "a@partner.example",
            mail(author="web@globex.example"),
            "globex-web",
        )
        == ""
    )
    await aside(relay.wait_for, "SELECT count(*) FROM gateway_recipient WHERE state = 'delivered'", 2)
    assert len(good.messages) == 2
    told = relay.query("SELECT sender, subject FROM gateway_message WHERE kind = 'own'")
    assert {subject for _, subject in told} == {"SMTP login acme-web was stopped"}
    actions = relay.query(
        "SELECT DISTINCT action FROM gateway_auditentry WHERE actor = 'system' ORDER BY action"
    )
    assert actions == [("credential.fuse",), ("queue.hold",)]
