"""The abuse fuse on real rows: a stolen login is stopped soon, held, told of; everybody else goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any, TypeVar

import pytest
from django.core import mail
from django.core.management import call_command

from gateway.control import credentials, queue, queue_filter
from gateway.control.fuse import Stop, contain, hold_late, hold_rest
from gateway.fuse import Fuse
from gateway.models import AuditEntry, Complaint, Credential, Customer, Message, Recipient
from gateway.rules.behaviour import Breach, Limits, Signal, from_numbers, sentences
from gateway.store import behaviour
from tests.factories import make_credential, make_customer, make_message

pytestmark = pytest.mark.django_db

T = TypeVar("T")
NOW = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)
LIMITS = Limits()
BREACH = Breach((Signal("burst", 400, 20), Signal("recipients", 1.0, None)))


class Direct:
    """The database, without its threads."""

    async def read(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    async def write(self, handler: Callable[[Sequence[Any]], Sequence[Any]], payload: Any) -> Any:
        return handler([payload])[0]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Without an event loop: nothing waits with such a database, and Django's connection is the test's own."""
    try:
        work.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits for something")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def acme() -> Customer:
    return make_customer("acme", name="ACME", language="de")


@pytest.fixture
def web(acme: Customer) -> Credential:
    return make_credential(acme, "acme-web", last_used_at=NOW)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fuse(clock: Clock) -> Fuse:
    return Fuse(Direct(), utc_now=lambda: NOW, monotonic=clock)  # type: ignore[arg-type]


def send(login: Credential, number: int, at: datetime, **values: Any) -> list[Message]:
    """`number` messages of one recipient each, a second apart, the last one at `at`."""
    to = values.pop("to", "reader{number}@partner.example")
    return [
        make_message(
            login.customer,
            credential=login,
            at=at - timedelta(seconds=place),
            to=(to.format(number=place),),
            **values,
        )
        for place in range(number)
    ]


def usual(login: Credential) -> None:
    """A month in small: three busy hours on three days, to the same readers."""
    for days in (3, 2, 1):
        send(login, 20, NOW - timedelta(days=days))


def attack(login: Credential, number: int = 220) -> list[Message]:
    to = "victim{number}@d{number}.example"
    return send(login, number, NOW, to=to, client_ip="203.0.113.9", state="queued")


# ---- counting


def test_the_last_hour_is_counted(web: Credential) -> None:
    send(web, 3, NOW - timedelta(hours=2))
    send(web, 4, NOW, category="spam", client_ip="203.0.113.9")
    send(web, 2, NOW - timedelta(minutes=5), state="bounced", recipient={"reason": "unknown_user"})
    send(make_credential(web.customer, "other"), 9, NOW)
    login = behaviour.login(web.id, NOW, LIMITS)
    assert login is not None
    now = behaviour.traffic(login)
    assert (now.messages, now.recipients, now.sampled, now.bad) == (6, 6, 6, 4)
    assert dict(now.networks) == {"203.0.113.0/24": 4, "192.0.2.0/24": 2}
    assert (now.addresses, now.new, now.domains, now.settled, now.unknown) == (4, 1, 1, 6, 2)


def test_what_was_before_is_the_baseline(web: Credential) -> None:
    usual(web)
    send(web, 50, NOW)
    login = behaviour.login(web.id, NOW, LIMITS)
    assert login is not None
    before = behaviour.baseline(login, LIMITS)
    assert (before.usual.messages, before.usual.recipients, before.busiest) == (60, 60, 20)
    assert before.span_h == pytest.approx(71, abs=0.1)
    assert before.is_history(LIMITS)


def test_busy_logins_are_judged_by_an_even_sample(web: Credential, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour, "MAX_MESSAGES", 10)
    for place, message in enumerate(send(web, 60, NOW)):
        Message.objects.filter(id=message.id).update(
            recipient_count=1 + place % 2, category="spam" if place < 30 else "clean"
        )
    login = behaviour.login(web.id, NOW, LIMITS)
    assert login is not None
    now = behaviour.traffic(login)
    assert now.messages == 60
    assert now.sampled <= 10
    assert now.bad_share == pytest.approx(0.5, abs=0.15)
    assert now.recipients == pytest.approx(90, abs=30)


def complain(messages: Sequence[Message], kind: str = "abuse") -> None:
    for message in messages:
        complain_once(message, str(message.id), kind)


def complain_once(message: Message, digest: str, kind: str = "abuse") -> None:
    Complaint.objects.create(
        at=NOW,
        kind=kind,
        customer=message.customer,
        credential=message.credential,
        message=message,
        digest=digest,
    )


def test_complaints_about_the_last_day_are_counted(web: Credential) -> None:
    complain(send(web, 40, NOW - timedelta(days=2))[:2])
    yesterday = send(web, 50, NOW - timedelta(hours=20), to="reader{number}@many.example")
    complain(yesterday[:6])
    complain(yesterday[6:9], kind="not-spam")
    send(web, 50, NOW)
    login = behaviour.login(web.id, NOW, LIMITS)
    assert login is not None
    now = behaviour.traffic(login)
    assert (now.complaints, now.complainable) == (6, 100)
    usual = behaviour.baseline(login, LIMITS).usual
    assert (usual.complaints, usual.complainable) == (2, 40)


def test_a_message_is_complained_about_by_its_recipients_at_most(web: Credential) -> None:
    (single, many) = send(web, 2, NOW)
    Message.objects.filter(pk=many.pk).update(recipient_count=3)
    for place in range(9):
        complain_once(single, str(place))
    for place in range(2):
        complain_once(many, f"many{place}")
    login = behaviour.login(web.id, NOW, LIMITS)
    assert login is not None
    assert behaviour.traffic(login).complaints == 1 + 2


def test_complaints_from_before_a_release_are_settled(web: Credential) -> None:
    complain(send(web, 60, NOW - timedelta(hours=5))[:20])
    at = NOW - timedelta(hours=4)
    AuditEntry.objects.create(
        actor="a", action="credential.release", customer=web.customer, target="acme-web"
    )
    AuditEntry.objects.update(at=at)
    login = behaviour.login(web.id, NOW, LIMITS)
    assert login is not None
    assert login.complaints_since == at
    assert login.since == NOW - timedelta(hours=1)
    assert behaviour.traffic(login).complaints == 0


def test_active_logins(web: Credential) -> None:
    quiet = make_credential(web.customer, "quiet", last_used_at=NOW)
    gone = make_credential(web.customer, "gone", last_used_at=NOW - timedelta(days=1))
    blocked = make_credential(web.customer, "blocked", last_used_at=NOW, block="fuse")
    few = make_credential(web.customer, "few-big", last_used_at=NOW)
    for login, number in ((web, 60), (quiet, 10), (gone, 60), (blocked, 60)):
        send(login, number, NOW)
    make_message(web.customer, credential=few, at=NOW, recipient_count=500)
    assert sorted(behaviour.active_logins(NOW - timedelta(hours=1), NOW, 50)) == [web.id, few.id]


# ---- looking


def test_a_stolen_login_is_stopped_within_the_first_messages(
    fuse: Fuse, web: Credential, clock: Clock
) -> None:
    usual(web)
    other = make_credential(web.customer, "acme-erp")
    invoices = make_message(web.customer, credential=other, at=NOW, state="queued")
    sent = 0
    while sent < 1000:
        batch = send(
            web,
            25,
            NOW,
            to=f"v{sent}-{{number}}@d{sent}-{{number}}.example",
            client_ip="203.0.113.9",
            state="queued",
        )
        sent += len(batch)
        for _ in batch:
            fuse.note(web.id, 1, is_bad=False)
        clock.now += 3
        run(fuse.look())
        web.refresh_from_db()
        if web.block:
            break
    assert (web.block, sent) == ("fuse", 250)  # more than 200, found at the next 50
    other.refresh_from_db()
    assert other.block == ""
    held = Recipient.objects.filter(state="held", reason="abuse")
    assert held.count() == sent
    assert invoices.recipients.get().state == "queued"
    actions = set(AuditEntry.objects.filter(customer=web.customer).values_list("action", flat=True))
    assert actions == {"credential.fuse", "queue.hold"}
    # The audit keeps the numbers: the portal's pages say them in the reader's language.
    signals = from_numbers(AuditEntry.objects.get(action="credential.fuse").detail["signals"])
    assert set(sentences(signals, "de")) == set(web.block_reason.split("; "))  # PostgreSQL sorts the keys
    assert "250 recipients within an hour (usual: 20)" in sentences(signals, "en")


def test_ordinary_traffic_is_looked_at_and_left_alone(fuse: Fuse, web: Credential, clock: Clock) -> None:
    usual(web)
    send(web, 80, NOW, to="reader3@partner.example")
    for _ in range(80):
        fuse.note(web.id, 1, is_bad=False)
    run(fuse.look())
    web.refresh_from_db()
    assert (web.block, fuse.notable(web.id), len(mail.outbox)) == ("", None, 0)


def test_few_messages_are_not_even_looked_at(fuse: Fuse, web: Credential) -> None:
    for _ in range(49):
        fuse.note(web.id, 1, is_bad=False)
    fuse.note(None, 1000, is_bad=True)
    fuse._database = None  # type: ignore[assignment]
    run(fuse.look())


def test_looks_at_one_login_keep_a_pause(fuse: Fuse, web: Credential, clock: Clock) -> None:
    looks: list[int] = []

    async def look_at(credential_id: int) -> None:
        looks.append(credential_id)
        fuse._watched[credential_id].recipients = 0
        fuse._watched[credential_id].next_look = clock.now + 2

    fuse.look_at = look_at  # type: ignore[method-assign, assignment]
    for _ in range(5):
        fuse.note(web.id, 100, is_bad=False)
        run(fuse.look())
        clock.now += 1
    assert len(looks) == 3


def test_what_is_unusual_but_no_breach_goes_into_the_trace(fuse: Fuse, web: Credential, clock: Clock) -> None:
    usual(web)
    send(web, 60, NOW, client_ip="203.0.113.9")
    assert run(fuse.look_at(web.id)) is None
    assert fuse.notable(web.id) == {"networks": [1.0, 0.0]}
    clock.now += 4000
    assert fuse.notable(web.id) is None


def test_the_patrol_finds_what_other_processes_accepted(fuse: Fuse, web: Credential) -> None:
    usual(web)
    attack(web)
    run(fuse.patrol())
    web.refresh_from_db()
    assert web.block == "fuse"
    assert "220 Empfänger" in web.block_reason


def test_released_means_released(fuse: Fuse, web: Credential, clock: Clock) -> None:
    usual(web)
    attack(web)
    run(fuse.look_at(web.id))
    web.refresh_from_db()
    credentials.release_fuse(web, actor="sam@smg.example")
    AuditEntry.objects.filter(action="credential.release").update(at=NOW)
    clock.now += 60
    assert run(fuse.look_at(web.id)) is None
    web.refresh_from_db()
    assert web.block == ""


# ---- stopping


def test_owner_and_support_are_told_in_their_language(web: Credential) -> None:
    attack(web, 3)
    assert contain([Stop(web.id, BREACH)]) == [True]
    support, owner = mail.outbox
    assert (support.to, support.subject) == (["support@smtp.smg.example"], "SMTP login acme-web was stopped")
    assert (owner.to, owner.subject) == (["ops@acme.example"], "SMTP-Zugang acme-web wurde angehalten")
    assert "400 Empfänger innerhalb einer Stunde (sonst: 20)" in owner.body
    assert "Empfänger: 3)" in owner.body


def test_stopping_twice_tells_once(web: Credential) -> None:
    assert contain([Stop(web.id, BREACH), Stop(web.id, BREACH), Stop(4711, BREACH)]) == [True, False, False]
    assert len(mail.outbox) == 2


def test_a_mail_that_cannot_be_made_does_not_keep_the_login_going(web: Credential, settings: Any) -> None:
    settings.EMAIL_BACKEND = "portal.mail.RelayBackend"
    Customer.objects.update(alert_email="not an address")
    assert contain([Stop(web.id, BREACH)]) == [True]
    web.refresh_from_db()
    assert web.block == "fuse"
    assert Message.objects.filter(kind="own").count() == 1


def test_a_long_queue_is_held_in_chunks(web: Credential, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.control.fuse.HOLD_CHUNK", 4)
    attack(web, 10)
    contain([Stop(web.id, BREACH)])
    assert Recipient.objects.filter(state="held").count() == 4
    assert [hold_rest([web.id])[0] for _ in range(3)] == [4, 2, 0]
    assert "Empfänger: 10)" in mail.outbox[1].body


def test_late_arrivals_are_held_but_released_mail_stays_released(web: Credential) -> None:
    early = attack(web, 2)
    contain([Stop(web.id, BREACH)])
    Credential.objects.update(blocked_at=NOW + timedelta(seconds=1))
    queue.release(Recipient.objects.filter(message=early[0]), actor="alice@acme.example")
    (late,) = send(web, 1, NOW + timedelta(seconds=2), state="queued")
    assert hold_late([NOW + timedelta(seconds=3)]) == [1]
    assert late.recipients.get().state == "held"
    assert early[0].recipients.get().state == "queued"
    assert hold_late([NOW + timedelta(hours=1)]) == [0]


def test_held_mail_is_released_and_deleted_by_filter(web: Credential) -> None:
    attack(web, 6)
    contain([Stop(web.id, BREACH)])
    chosen = queue_filter.QueueFilter(credential=web.id, reason="abuse", destination="d1.example")
    assert queue_filter.touched("release", chosen.rows()).count() == 1
    assert queue_filter.apply("release", chosen.rows(), actor="alice@acme.example") == 1
    rest = queue_filter.QueueFilter(credential=web.id, reason="abuse", state="held")
    assert queue_filter.apply("cancel", rest.rows(), actor="alice@acme.example") == 5


def test_the_command_line_knows_logins(web: Credential) -> None:
    attack(web, 3)
    make_message(web.customer, credential=make_credential(web.customer, "other"), at=NOW, state="queued")
    contain([Stop(web.id, BREACH)])
    output = StringIO()
    call_command("queue", "cancel", "--login", "ACME-web", "--reason", "abuse", "--json", stdout=output)
    assert json.loads(output.getvalue()) == {"changed": 3}


def test_a_busy_login_in_order_is_looked_at_as_its_hour_grows(fuse: Fuse, web: Credential) -> None:
    usual(web)
    send(web, 1000, NOW - timedelta(hours=20), to="reader3@partner.example")
    send(web, 900, NOW, to="reader3@partner.example")
    run(fuse.look_at(web.id))
    fuse.note(web.id, 89, is_bad=False)
    assert not fuse._due
    fuse.note(web.id, 1, is_bad=False)
    assert fuse._due == {web.id}
