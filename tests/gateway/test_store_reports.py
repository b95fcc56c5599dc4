"""Reports that wait for each other: what is found, held and replaced, and what is on its way already."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction

from gateway import store
from gateway.config import Config
from gateway.models import Body, Message, NdrReport, Recipient
from gateway.ndr_mail import NdrMail
from gateway.queue import mail_from_row
from gateway.report import Reporter
from gateway.rules.ids import IdMaker
from gateway.rules.policy import CustomerPolicy, Snapshot
from gateway.rules.types import Outcome, Reply, Stage, State
from gateway.store.reports import replace_report
from gateway.work import Mail, Parcel, recipient_from_row
from tests.factories import make_attempt, make_customer, make_message, make_ndr

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)


@pytest.fixture
def message() -> Message:
    """Two recipients: bob has failed and is in a report that waits, carol is still queued."""
    made = make_message(make_customer("acme"), at=NOW, to=("bob@one.example",), state="bounced")
    bob = made.recipients.get()
    make_attempt(bob, stage="rcpt", at=NOW)
    waiting = report(made, due=LATER)
    make_ndr(made, kind="failed", recipient=bob.pk, report=waiting.pk)
    Recipient.objects.filter(pk=bob.pk).update(ndr=waiting.pk)
    return made


def report(about: Message, *, due: datetime) -> Message:
    made = make_message(
        about.customer, at=due, kind="ndr", to=("web@acme.example",), state="queued", related=about.pk
    )
    made.recipients.update(attempts=0, next_attempt_at=due)
    Body.objects.create(message=made, content=b"report")
    return made


def found(message: Message, kind: str = "failed", now: datetime = NOW) -> store.WaitingReport | None:
    return store.waiting_report(message.pk, kind, now)


def test_a_waiting_report_is_found_with_those_it_lists(message: Message) -> None:
    waiting = found(message)
    assert waiting is not None
    assert waiting.due == LATER
    assert [(one.address, one.stage, one.tried_at) for one in waiting.told] == [
        ("bob@one.example", "rcpt", NOW)
    ]
    assert found(message, kind="relayed") is None
    assert found(message, now=LATER) is None  # due: it may leave at any moment


@pytest.mark.parametrize(
    "changed", [{"lease_owner": "other"}, {"attempts": 1}, {"state": "delivered"}, {"state": "cancelled"}]
)
def test_a_report_on_its_way_is_left_alone(message: Message, changed: dict[str, object]) -> None:
    waiting = found(message)
    assert waiting is not None
    Recipient.objects.filter(message_id=waiting.id).update(**changed)
    assert found(message) is None
    assert store.hold_reports([(waiting.id, LATER)]) == [False]
    replace_report(message.pk, waiting.id, 4711)
    assert Message.objects.filter(pk=waiting.id).exists()
    assert Body.objects.filter(message_id=waiting.id).exists()
    assert NdrReport.objects.get().report == waiting.id


def test_a_replaced_report_leaves_nothing_behind(message: Message) -> None:
    waiting = found(message)
    assert waiting is not None
    assert store.hold_reports([(waiting.id, LATER)]) == [True]
    new = report(message, due=NOW)
    replace_report(message.pk, waiting.id, new.pk)
    assert list(Message.objects.filter(kind="ndr")) == [new]
    assert list(Body.objects.values_list("message_id", flat=True)) == [new.pk]
    assert NdrReport.objects.get().report == new.pk
    assert Recipient.objects.get(address="bob@one.example").ndr == new.pk


@pytest.mark.parametrize(
    ("changed", "in_work"),
    [
        ({"next_attempt_at": NOW}, True),
        ({"next_attempt_at": NOW + timedelta(hours=1)}, False),
        ({"next_attempt_at": NOW + timedelta(hours=1), "lease_owner": "somebody"}, True),
        ({"next_attempt_at": NOW + timedelta(hours=1), "expires_at": NOW}, True),
        ({"next_attempt_at": NOW, "state": "bounced"}, False),
        ({"next_attempt_at": None, "state": "held"}, False),
        ({"next_attempt_at": None, "state": "held", "expires_at": NOW}, True),
    ],
)
def test_who_is_in_work(changed: dict[str, object], in_work: bool) -> None:
    made = make_message(
        make_customer("acme"), at=NOW, to=("bob@a.example", "carol@b.example"), state="queued"
    )
    bob, carol = made.recipients.order_by("id")
    Recipient.objects.filter(pk=carol.pk).update(**changed)
    assert store.others_in_work(made.pk, [bob.pk], LATER) is in_work


def test_a_delay_warning_lists_all_that_were_tried(message: Message) -> None:
    made = make_message(
        message.customer, at=NOW, to=("a@a.example", "b@b.example", "c@c.example"), state="queued"
    )
    first, second, third = made.recipients.order_by("id")
    for one in (first, second):
        make_attempt(one, stage="dot", at=NOW)
    Recipient.objects.filter(pk=third.pk).update(attempts=0)
    assert [(one.address, one.stage, one.tried_at) for one in store.still_deferred(made.pk, [first.pk])] == [
        ("b@b.example", "dot", NOW)
    ]


async def load_body(mail: Mail) -> bytes:
    return b"From: web@acme.example\r\nSubject: Hello\r\n\r\nHello\r\n"


async def no_race() -> None:
    """Nobody else settles meanwhile."""


class Process:
    """What one relay process settles with. `before_settling` comes between its look at the database and its writing."""

    def __init__(self, node: int, customer: CustomerPolicy, directory: Path) -> None:
        config = Config.from_env({"SMG_VAR_DIR": str(directory)}, directory)
        writer = NdrMail(config, load_body, IdMaker(node))
        self.before_settling: Callable[[], Awaitable[None]] = no_race
        self._snapshot = Snapshot(customers={customer.id: customer})
        self._reporter = Reporter(self, config, writer, lambda names: None, utc_now=lambda: NOW)  # type: ignore[arg-type]

    async def write(self, handler: Callable[..., Any], payload: Any, *, patient: bool = False) -> Any:
        if handler is store.settle:
            await self.before_settling()
        return await sync_to_async(self._commit)(handler, payload)

    @staticmethod
    def _commit(handler: Callable[..., Any], payload: Any) -> Any:
        with transaction.atomic():
            return handler([payload])[0]

    async def read(self, function: Callable[..., Any], *args: Any) -> Any:
        return await sync_to_async(function)(*args)

    async def bounces(self, message: Message, recipient: Recipient) -> None:
        parcel = Parcel(mail_from_row(message), recipient.domain, [recipient_from_row(recipient)])
        outcome = Outcome(
            recipient.pk,
            State.BOUNCED,
            Reply(550, "5.1.1", "User unknown"),
            Stage.RCPT,
            NOW,
            reason="unknown_user",
        )
        await self._reporter.report(self._snapshot, parcel, [outcome])


def test_two_processes_that_fail_at_once_make_one_report(tmp_path: Path) -> None:
    """Each has seen that no report waits when the other one writes its own."""
    customer = make_customer("acme")
    message = make_message(
        customer, at=NOW, to=("bob@one.example", "carol@two.example"), state="queued",
        recipient={"lease_owner": "somebody", "next_attempt_at": LATER},
    )  # fmt: skip
    bob, carol = message.recipients.order_by("id")
    policy = CustomerPolicy(customer.pk, "acme", "ACME")
    one, other = Process(1, policy, tmp_path), Process(2, policy, tmp_path)
    raced = []

    async def race() -> None:
        if not raced:
            raced.append(True)
            await other.bounces(message, carol)

    one.before_settling = race
    async_to_sync(one.bounces)(message, bob)
    (report,) = Message.objects.filter(kind="ndr")
    text = bytes(Body.objects.get(message=report).content or b"")
    assert b"bob@one.example" in text
    assert b"carol@two.example" in text
    assert set(Recipient.objects.filter(message=message).values_list("state", "ndr")) == {
        ("bounced", report.pk)
    }
    assert set(NdrReport.objects.values_list("address", "report")) == {
        ("bob@one.example", report.pk), ("carol@two.example", report.pk),
    }  # fmt: skip
