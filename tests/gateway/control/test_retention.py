"""The clean-up: what is too old is nowhere any more, what somebody waits for is never touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control import retention
from gateway.control.audit import record
from gateway.control.retention import Sweep, clean_up, sweep_all
from gateway.models import (
    Appeal,
    AuditEntry,
    Body,
    FeatureVector,
    Message,
    Recipient,
    Refusal,
    SetupEvent,
    TlsShadow,
)
from tests.factories import (
    make_attempt,
    make_customer,
    make_message,
    make_ndr,
    make_recipient,
    make_refusal,
)

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 6, 1, 3, 15, tzinfo=UTC)
MARKER = "find-me"
ADDRESS = f"{MARKER}@marked.example"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAUSE_S", 0)
    monkeypatch.setattr(retention, "REST", 0)


def tables_with(text: str) -> set[str]:
    """Every table of the database in which a text stands in any column."""
    with connection.cursor() as cursor:
        return {name for name in connection.introspection.table_names(cursor) if text in _dump(cursor, name)}


def _dump(cursor: Any, table: str) -> str:
    cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608
    cells = (
        bytes(cell) if isinstance(cell, memoryview) else cell for row in cursor.fetchall() for cell in row
    )
    return "\n".join(cell.decode("latin-1") if isinstance(cell, bytes) else str(cell) for cell in cells)


def marked_message(at: datetime, state: str = "bounced", **values: Any) -> Message:
    """A message whose every table says the marker."""
    message = make_message(
        values.pop("customer", None) or make_customer(), at=at, sender=ADDRESS, header_from=ADDRESS, subject=MARKER,
        to=(ADDRESS,), state=state, recipient={"text": f"no {ADDRESS}"}, **values,
    )  # fmt: skip
    recipient = message.recipients.get()
    make_attempt(recipient, text=f"550 {ADDRESS}", at=at)
    make_ndr(message, sender=ADDRESS, address=ADDRESS, text=ADDRESS, at=at)
    TlsShadow.objects.create(
        message=message, at=at, destination="marked.example", host=MARKER, problem=MARKER
    )
    FeatureVector.objects.create(
        message=message, customer=message.customer, at=at, score=1, vector=MARKER.encode()
    )
    if state in ("queued", "held"):
        Body.objects.create(message=message, content=MARKER.encode())
    return message


def test_a_marked_address_is_nowhere_after_its_time() -> None:
    with time_machine.travel(NOW - timedelta(days=31), tick=False):
        message = marked_message(timezone.now())
        assert message.customer is not None
        make_refusal(message.customer, sender=ADDRESS, recipient=ADDRESS, text=ADDRESS, at=timezone.now())
        record("sam@smg.example", "queue.cancel", ADDRESS, customer=message.customer)
        record("system", "mail.own", ADDRESS)
        SetupEvent.objects.create(customer=message.customer, at=timezone.now(), stage="sender", reply=ADDRESS)
        Appeal.objects.create(customer=message.customer, message=message, created_by="alice@acme.example")
    before = tables_with(MARKER)
    assert before == {
        "gateway_message", "gateway_recipient", "gateway_attempt", "gateway_ndrreport", "gateway_tlsshadow",
        "gateway_featurevector", "gateway_refusal", "gateway_auditentry", "gateway_setupevent",
    }  # fmt: skip
    gone = clean_up(NOW)
    assert tables_with(MARKER) == set()
    assert gone == {
        "attempt": 1, "auditentry": 2, "featurevector": 1, "message": 1, "ndrreport": 1, "recipient": 1, "refusal": 1,
        "setupevent": 1, "tlsshadow": 1,
    }  # fmt: skip
    assert Appeal.objects.get().message is None


def test_what_is_young_enough_stays() -> None:
    message = marked_message(NOW - timedelta(days=29, hours=23))
    make_refusal(message.customer, at=NOW - timedelta(days=29))
    assert clean_up(NOW) == {}


@pytest.mark.parametrize("state", ["queued", "held"])
def test_mail_that_waits_stays_whole_however_old(state: str) -> None:
    message = marked_message(NOW - timedelta(days=400), state)
    assert clean_up(NOW) == {}
    assert Body.objects.get().message_id == message.pk
    Recipient.objects.update(state="cancelled")
    assert clean_up(NOW)["message"] == 1


def test_customers_have_their_own_time() -> None:
    week, year, default = (
        make_customer(slug, retention_days=days) for slug, days in (("week", 7), ("year", 365), ("def", None))
    )
    for customer in (week, year, default, None):
        for days in (3, 10, 40, 400):
            make_message(customer, at=NOW - timedelta(days=days))
            make_refusal(customer, at=NOW - timedelta(days=days))
    clean_up(NOW)
    for model in (Message, Refusal):
        left = {
            customer: model.objects.filter(customer=customer).count()
            for customer in (week, year, default, None)
        }
        assert left == {week: 1, year: 3, default: 2, None: 2}


def test_set_up_events_go_after_a_day() -> None:
    customer = make_customer()
    for hours in (1, 25):
        SetupEvent.objects.create(customer=customer, at=NOW - timedelta(hours=hours), stage="login")
    assert clean_up(NOW) == {"setupevent": 1}


def test_a_run_that_was_killed_is_finished_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BATCH", "SHARED_BATCH"):
        monkeypatch.setattr(retention, name, 3)
    customer = make_customer()
    for number in range(10):
        make_message(customer, at=NOW - timedelta(days=40, seconds=number))
    pauses: Iterator[int] = iter(range(2))

    def killed(_took_s: float) -> None:
        if next(pauses, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep_all(Sweep(pause=killed), NOW)
    assert Message.objects.count() == 1
    assert clean_up(NOW)["message"] == 1


@pytest.mark.parametrize(("took_s", "pause_s"), [(0.01, 0.05), (0.2, 0.4)])
def test_a_long_transaction_is_followed_by_a_longer_pause(
    monkeypatch: pytest.MonkeyPatch, took_s: float, pause_s: float
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(retention, "PAUSE_S", 0.05)
    monkeypatch.setattr(retention, "REST", 2.0)
    monkeypatch.setattr("time.sleep", pauses.append)
    retention.rest(took_s)
    assert pauses == [pause_s]


def test_a_message_that_is_opened_again_in_between_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between choosing and deleting, the condition is checked once more."""
    message = marked_message(NOW - timedelta(days=40))

    def open_it(*_: object) -> Any:
        Recipient.objects.update(state="held")
        return transaction.atomic()

    monkeypatch.setattr(retention, "exclusive", open_it)
    assert clean_up(NOW) == {}
    assert Message.objects.get() == message


def test_the_command_counts_first_and_deletes_then() -> None:
    marked_message(timezone.now() - timedelta(days=31))
    output = StringIO()
    call_command("clean_up", "--dry-run", "--json", stdout=output)
    assert json.loads(output.getvalue()) == {"message": 1}
    assert Message.objects.count() == 1
    call_command("clean_up", stdout=output)
    assert "deleted         1  message" in output.getvalue()
    assert Message.objects.count() == 0
    call_command("clean_up", stdout=output)
    assert output.getvalue().endswith("nothing is old enough\n")


STATES = st.sampled_from(["queued", "held", "delivered", "bounced", "expired", "cancelled"])
MESSAGES = st.lists(
    st.tuples(st.integers(0, 60), st.lists(STATES, min_size=1, max_size=3), st.booleans()), max_size=8
)


@given(MESSAGES)
@settings(max_examples=40)
def test_open_recipients_keep_their_message_and_nothing_is_left_behind(
    plan: list[tuple[int, list[str], bool]],
) -> None:
    with transaction.atomic():
        customer = make_customer(retention_days=30)
        kept = set()
        for days, states, own in plan:
            message = make_message(None if own else customer, at=NOW - timedelta(days=days), to=())
            for state in states:
                recipient = make_recipient(message, state=state)
                make_attempt(recipient)
            if days <= 30 or {"queued", "held"} & set(states):
                kept.add(message.pk)
        clean_up(NOW)
        assert set(Message.objects.values_list("pk", flat=True)) == kept
        assert set(Recipient.objects.values_list("message_id", flat=True)) == kept
        assert AuditEntry.objects.count() == 0
        transaction.set_rollback(True)
