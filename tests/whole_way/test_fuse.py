"""The abuse fuse in a real relay: one login floods, is stopped in its running session, and nobody else notices."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Callable

import pytest

from tests.fake_next_hop import FakeNextHop
from tests.relay_harness import RunningRelay, mail
from tests.whole_way.test_way import DELIVERED

pytestmark = pytest.mark.slow

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
MOST = 1500  # messages after which the fuse must have blown, however fast the machine
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
    await aside(relay.wait_for, DELIVERED, 2)  # the letters about the fuse may have left by now, too
    senders = {item.mail.split()[0] for item in good.messages}
    assert {"<web@acme.example>", "<web@globex.example>"} <= senders
    told = relay.query("SELECT sender, subject FROM gateway_message WHERE kind = 'own'")
    assert {subject for _, subject in told} == {"SMTP login acme-web was stopped"}
    actions = relay.query(
        "SELECT DISTINCT action FROM gateway_auditentry WHERE actor = 'system' ORDER BY action"
    )
    assert actions == [("credential.fuse",), ("queue.hold",)]


HISTORY = """
from datetime import timedelta
from django.utils import timezone
from gateway.models import Credential, Message, Recipient
from gateway.rules.ids import IdMaker
login, ids = Credential.objects.get(username="acme-web"), IdMaker(900)
for hours in range(24 * 8, 23, -6):
    for number in range(5):
        at = timezone.now() - timedelta(hours=hours, seconds=5 - number)
        key = ids.next(int(at.timestamp() * 1000))
        Message.objects.create(
            id=key, customer=login.customer, credential=login, received_at=at, sender="web@acme.example",
            sender_domain="acme.example", size_bytes=1000, recipient_count=1, client_ip="192.0.2.10",
        )
        Recipient.objects.create(
            id=key, message_id=key, customer=login.customer, address=f"reader{number}@partner.example",
            domain="partner.example", state="delivered", pool="good", expires_at=at, settled_at=at,
        )
"""


def steal(relay: RunningRelay) -> tuple[int, str]:
    """Letters that look ordinary one by one, to people nobody here ever wrote to, by two connections in turns."""
    sessions = [relay.client("acme-web") for _ in range(2)]
    try:
        for number in range(MOST):
            try:
                sessions[number % 2].sendmail("web@acme.example", f"v{number}@partner.example", mail())
            except smtplib.SMTPSenderRefused as refused:
                return number, f"{refused.smtp_code} {refused.smtp_error.decode()}"
        return MOST, ""
    finally:
        for session in sessions:
            session.close()


async def test_a_stolen_login_is_known_by_what_it_never_did_before(
    relay: RunningRelay, good: FakeNextHop
) -> None:
    await aside(relay.manage, "shell", "-c", HISTORY)
    accepted, reply = await aside(steal, relay)  # type: ignore[misc]
    assert reply.startswith("451 4.7.1 This login was stopped")
    assert 200 <= accepted < MOST
    ((reason,),) = relay.query("SELECT block_reason FROM gateway_credential WHERE username = 'acme-web'")
    assert "never used before" in reason
    assert "never written to before" in reason
