"""A recipient's complaint finds its message and login, counts once, and reaches the customer; a forged one does not."""

from __future__ import annotations

import io
import json
import os
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.utils import timezone

from gateway.control import complaints
from gateway.models import Complaint, Customer, Message
from gateway.rules.arf import NotAReportError
from tests.factories import make_credential, make_customer, make_message
from tests.gateway.rules.test_arf import FEEDBACK, MESSAGE, report

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Customer:
    return make_customer("acme", name="ACME")


@pytest.fixture
def sent(acme: Customer) -> Message:
    return make_message(acme, credential=make_credential(acme, "acme-web"))


def about(
    message: Message | None, *, number: int = 1, author: str = "alice@acme.example", kind: str = "abuse"
) -> bytes:
    """A report that shows our Received field of this message, and no Message-ID that we know."""
    reported = MESSAGE.replace(b"alice@acme.example", author.encode()).replace(
        b"<1@acme.example>", b"<other@x.example>"
    )
    if message is not None:
        reported = reported.replace(b"0amq7j7wr0000", message.text_id.encode())
    feedback = FEEDBACK.replace(b"abuse", kind.encode()).replace(b"bounce@acme.example", author.encode())
    return report(feedback, reported).replace(b"<r1@", f"<r{number}@".encode())


def test_by_our_own_id(sent: Message, acme: Customer) -> None:
    found, is_new = complaints.record(about(sent))
    assert is_new
    assert (found.message, found.customer, found.credential) == (sent, acme, sent.credential)
    assert (found.kind, found.obstacle, found.reporter) == ("abuse", "", "fbl@provider.example")


def test_by_message_id(sent: Message) -> None:
    raw = about(None).replace(b"<other@x.example>", sent.message_id.encode())
    assert complaints.record(raw)[0].message == sent


def test_the_same_report_counts_once(sent: Message) -> None:
    first, _ = complaints.record(about(sent))
    again, is_new = complaints.record(b"Received: by another.example; now\n" + about(sent))
    assert (again, is_new) == (first, False)
    assert Complaint.objects.count() == 1
    assert len(mail.outbox) == 1


def test_a_report_about_nothing_of_ours_is_kept_apart(sent: Message) -> None:
    found, _ = complaints.record(about(None))
    assert (found.message, found.customer, found.obstacle) == (None, None, "unknown")
    assert mail.outbox == []


def test_a_guessed_id_does_not_accuse_another_customer(sent: Message) -> None:
    found, _ = complaints.record(about(sent, author="mallory@globex.example"))
    assert (found.message, found.customer, found.obstacle) == (None, None, "sender")
    assert mail.outbox == []


def test_our_own_mail_has_nobody_to_accuse(acme: Customer) -> None:
    report_of_ours = make_message(acme, kind=Message.Kind.NDR)
    assert complaints.record(about(report_of_ours))[0].obstacle == "unknown"


def test_the_customer_is_told_once_a_day(sent: Message) -> None:
    complaints.record(about(sent, number=1))
    complaints.record(about(sent, number=2))
    assert Complaint.objects.count() == 2
    (letter,) = mail.outbox
    assert letter.to == ["ops@acme.example"]
    assert sent.text_id in letter.body
    assert "acme-web" in letter.body
    Complaint.objects.update(told_at=timezone.now() - timedelta(days=2))
    complaints.record(about(sent, number=3))
    assert len(mail.outbox) == 2


def test_the_letter_is_in_the_customers_language(sent: Message, acme: Customer) -> None:
    Customer.objects.update(language="de")
    complaints.record(about(sent))
    assert "unerwünscht" in mail.outbox[0].subject


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure"])
def test_what_is_no_complaint_alarms_nobody(sent: Message, kind: str) -> None:
    assert complaints.record(about(sent, kind=kind))[0].message == sent
    assert mail.outbox == []


def test_a_letter_that_cannot_be_sent_does_not_lose_the_complaint(sent: Message, monkeypatch: Any) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("no address")

    monkeypatch.setattr("django.core.mail.EmailMessage.send", broken)
    assert complaints.record(about(sent))[0].told_at is None
    assert Complaint.objects.count() == 1


def test_what_is_no_report_leaves_nothing() -> None:
    with pytest.raises(NotAReportError):
        complaints.record(b"From: a@b.example\n\nStop writing to me!\n")
    assert Complaint.objects.count() == 0


# ---- the command


def pipe(raw: bytes, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))
    call_command("complaint", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_says_what_it_did(sent: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pipe(about(sent), monkeypatch) == f"abuse: message {sent.text_id} of acme\n"
    told = json.loads(pipe(about(sent), monkeypatch, "--json"))
    assert told == {
        "new": False, "kind": "abuse", "message": sent.text_id, "customer": "acme", "login": "acme-web", "obstacle": "",
    }  # fmt: skip
    assert "no such message" in pipe(about(None), monkeypatch)


def test_the_mail_server_learns_what_went_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError) as said:
        pipe(b"Hello", monkeypatch)
    assert said.value.returncode == os.EX_DATAERR

    def away(_: bytes) -> None:
        from django.db import OperationalError

        raise OperationalError("away")

    monkeypatch.setattr(complaints, "record", away)
    with pytest.raises(CommandError) as said:
        pipe(b"Hello", monkeypatch)
    assert said.value.returncode == os.EX_TEMPFAIL
