"""Support's decisions: learned once, undone without a trace, decided once however often it is clicked."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from gateway.control import appeals, customers, learning
from gateway.models import Appeal, AuditEntry, Customer, LocalWord, Message, PolicyVersion
from gateway.rules.ids import IdMaker
from gateway.spam.features import extract, pack, unpack
from gateway.spam.learn import TOTAL, add, counts_of
from gateway.spam.learn import LocalCounts as Counts

pytestmark = pytest.mark.django_db
SAM = "sam@smg.example"
MAIL = b"From: a@acme.example\r\nSubject: Rechnung und Lieferschein\r\n\r\nAnbei die Rechnung zu Ihrem Auftrag.\r\n"
IDS = IdMaker(11)


@pytest.fixture
def acme() -> Customer:
    return customers.create(actor=SAM, slug="acme", name="ACME")


@pytest.fixture
def appeal(acme: Customer) -> Appeal:
    now = timezone.now()
    message = Message.objects.create(
        id=IDS.next(int(now.timestamp() * 1000)),
        customer=acme,
        received_at=now,
        size_bytes=1,
        recipient_count=1,
        sender_domain="acme.example",
        category="spam",
        score=80,
    )
    vector = pack(extract(MAIL))
    return Appeal.objects.create(
        customer=acme, message=message, created_by="alice", flip=["LOTTERY", "URGENT"], vector=vector
    )


def counts() -> Counts:
    return counts_of(LocalWord.objects.values_list("feature", "ham", "spam"))


def test_what_is_stored_is_what_the_pure_rule_says(appeal: Appeal) -> None:
    appeals.accept(appeal, actor=SAM)
    assert counts() == add(Counts(), unpack(bytes(appeal.vector or b"")), is_spam=False)
    assert LocalWord.objects.get(feature=TOTAL).ham == 1


def test_an_acceptance_makes_a_scoped_expiring_exception_and_tells_the_relay(appeal: Appeal) -> None:
    before = PolicyVersion.objects.get().version
    assert appeals.accept(appeal, actor=SAM, answer="Sorry!", days=30)
    made = appeal.exceptions.get()
    assert (made.customer, made.sender_domain, made.symbols) == (
        appeal.customer,
        "acme.example",
        ["LOTTERY", "URGENT"],
    )
    assert 29 <= (made.expires_at - timezone.now()).days <= 30
    assert PolicyVersion.objects.get().version > before
    assert not appeals.accept(appeal, actor=SAM)
    assert LocalWord.objects.get(feature=TOTAL).ham == 1


def test_undoing_leaves_nothing_but_two_entries(appeal: Appeal) -> None:
    appeals.accept(appeal, actor=SAM)
    assert appeals.undo(appeal, actor=SAM)
    assert not appeals.undo(appeal, actor=SAM)
    assert (LocalWord.objects.count(), appeal.exceptions.count()) == (0, 0)
    actions = (
        AuditEntry.objects.filter(action__startswith="appeal.")
        .order_by("id")
        .values_list("action", flat=True)
    )
    assert list(actions) == ["appeal.accepted", "appeal.undone"]


def test_two_acceptances_and_one_undo_leave_one(appeal: Appeal) -> None:
    learning.learn(bytes(appeal.vector or b""), is_spam=False)
    appeals.accept(appeal, actor=SAM)
    appeals.undo(appeal, actor=SAM)
    assert LocalWord.objects.get(feature=TOTAL).ham == 1


def test_without_a_vector_there_is_only_the_exception(appeal: Appeal) -> None:
    Appeal.objects.update(vector=None)
    appeal.refresh_from_db()
    appeals.accept(appeal, actor=SAM)
    assert (LocalWord.objects.count(), appeal.exceptions.count()) == (0, 1)


@pytest.mark.parametrize("days", [0, -1, 367])
def test_impossible_times(appeal: Appeal, days: int) -> None:
    with pytest.raises(ValidationError):
        appeals.accept(appeal, actor=SAM, days=days)


def test_declining_needs_an_answer(appeal: Appeal) -> None:
    with pytest.raises(ValidationError):
        appeals.decline(appeal, actor=SAM, answer=" ")
    assert appeals.decline(appeal, actor=SAM, answer="It sells lottery tickets.")
    assert not appeals.accept(appeal, actor=SAM)


def test_ending_an_exception_once(appeal: Appeal) -> None:
    appeals.accept(appeal, actor=SAM)
    made = appeal.exceptions.get()
    assert appeals.end_exception(made, actor=SAM)
    assert not appeals.end_exception(made, actor=SAM)
