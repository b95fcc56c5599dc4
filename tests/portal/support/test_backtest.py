"""Support tries thresholds: the numbers, the sample, and saving only what was looked at."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gateway.control import backtest, customers
from gateway.models import AuditEntry, Customer, FeatureVector, Message
from gateway.spam import score
from portal.models import User
from tests.factories import Cast, make_cast, make_message
from tests.gateway.spam.mails import SPAM

pytestmark = pytest.mark.django_db
PAGE, SAVE = "/support/backtest/", "/support/backtest/save/"
TICKET = re.compile(r'name="ticket" value="([^"]+)"')


def judged(customer: Customer, value: float, vector: bytes = b"") -> Message:
    message = make_message(customer, at=timezone.now() - timedelta(days=1), score=value)
    FeatureVector.objects.create(
        message=message, customer=customer, at=message.received_at, score=value, vector=vector
    )
    return message


@pytest.fixture
def cast(db: None) -> Cast:
    found = make_cast()
    for value in (5, 35, 38, 45):
        judged(found.acme, value)
    judged(found.globex, 36)
    return found


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def sam(cast: Cast) -> Client:
    return browser(cast.sam)


def text(client: Client, **query: Any) -> str:
    return re.sub(r"\s+", " ", client.get(PAGE, query).content.decode())


def number(page: str, label: str) -> int:
    found = re.search(rf"<dt>{label}</dt><dd>(\d+)</dd>", page)
    assert found, page
    return int(found[1])


def test_how_many_would_move_whose_and_which(sam: Client, cast: Cast) -> None:
    page = text(sam, suspect=36)
    assert (number(page, "Good → Bad"), number(page, "Bad → Good"), number(page, "Looked at")) == (2, 0, 5)
    assert "This is a sample" not in page
    assert page.count(reverse("support_customer", args=[cast.acme.pk])) == 1
    moved = Message.objects.get(score=38)
    assert reverse("support_message", args=[moved.text_id]) in page
    assert Message.objects.get(score=35).text_id not in page
    assert "Save these" not in page


def test_back_to_good(sam: Client, cast: Cast) -> None:
    page = text(sam, suspect=50, customer=cast.acme.pk)
    assert (number(page, "Good → Bad"), number(page, "Bad → Good"), number(page, "Looked at")) == (0, 1, 4)


def test_a_sample_is_called_one(sam: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.support.backtest.MAX_ROWS", 2)
    assert "This is a sample" in text(sam, suspect=36)


def test_symbols_are_left_out_and_cannot_be_saved(sam: Client, cast: Cast) -> None:
    found = score(SPAM["en-phishing-mailbox"])
    message = judged(cast.acme, found.value, found.features)
    heaviest = [one.name for one in found.symbols if one.share > 0 and one.name != "BASE"]
    page = text(sam, without=heaviest, customer=cast.acme.pk, suspect=40)
    assert message.text_id in page
    assert number(page, "Bad → Good") == 1
    assert TICKET.search(page) is None


def test_saving_what_was_shown(sam: Client, cast: Cast) -> None:
    ticket = TICKET.search(text(sam, suspect=36, spam=80, customer=cast.acme.pk))
    assert ticket
    assert sam.post(SAVE, {"ticket": ticket[1]})["Location"] == reverse(
        "support_customer", args=[cast.acme.pk]
    )
    cast.acme.refresh_from_db()
    assert (cast.acme.suspect_threshold, cast.acme.spam_threshold) == (36, 80)
    entry = AuditEntry.objects.get(action="customer.change")
    assert (entry.actor, entry.customer, entry.detail["suspect_threshold"]) == (
        cast.sam.email, cast.acme, ["None", "36.0"],
    )  # fmt: skip


def test_an_empty_threshold_stays_as_it_is(sam: Client, cast: Cast) -> None:
    customers.change(cast.acme, actor="x", spam_threshold=90.0)
    ticket = TICKET.search(text(sam, suspect=36, customer=cast.acme.pk))
    assert ticket
    sam.post(SAVE, {"ticket": ticket[1]})
    cast.acme.refresh_from_db()
    assert (cast.acme.suspect_threshold, cast.acme.spam_threshold) == (36, 90)


@pytest.mark.parametrize("ticket", ["", "nonsense", "eyJhIjoxfQ:1:x"])
def test_nothing_is_saved_without_a_look(ticket: str, sam: Client, cast: Cast) -> None:
    data = {"ticket": ticket, "customer": cast.acme.pk, "suspect": 36}
    assert sam.post(SAVE, data)["Location"] == PAGE
    assert not AuditEntry.objects.filter(action="customer.change").exists()


def test_a_look_is_nobody_elses_and_not_for_ever(sam: Client, cast: Cast) -> None:
    ticket = TICKET.search(text(sam, suspect=36, customer=cast.acme.pk))
    assert ticket
    other = browser(User.objects.create_user("sue@smg.example", is_staff=True))
    assert other.post(SAVE, {"ticket": ticket[1]})["Location"] == PAGE
    customers.change(cast.acme, actor="x", suspect_threshold=50.0)  # what was shown is about other thresholds
    assert sam.post(SAVE, {"ticket": ticket[1]})["Location"] == PAGE
    cast.acme.refresh_from_db()
    assert cast.acme.suspect_threshold == 50


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"suspect": "nan"}, "Enter a number"),
        ({"suspect": "101"}, "less than or equal to 100"),
        ({"suspect": "60", "spam": "50"}, "at or above suspect"),
        ({"suspect": "36", "days": "0"}, "greater than or equal to 1"),
        ({"suspect": "36", "days": "9" * 30}, "less than or equal to 366"),
        ({"suspect": "36", "customer": "9" * 30}, "valid choice"),
        ({"without": "NO_SUCH"}, "NO_SUCH is not one of the available choices"),
        ({"suspect": "10", "customer": "ACME"}, "between 20 and 70"),
    ],
)
def test_what_makes_no_sense_is_said_at_the_field(
    query: dict[str, str], words: str, sam: Client, cast: Cast
) -> None:
    if query.get("customer") == "ACME":
        query = query | {"customer": str(cast.acme.pk)}
    answer = sam.get(PAGE, query)
    assert answer.status_code == 400
    assert words in answer.content.decode()


def test_the_customers_page_leads_here_with_its_thresholds(sam: Client, cast: Cast) -> None:
    customers.change(cast.acme, actor="x", suspect_threshold=55.0)
    link = f"{PAGE}?customer={cast.acme.pk}"
    assert link in sam.get(reverse("support_customer", args=[cast.acme.pk])).content.decode()
    page = text(sam, customer=cast.acme.pk)
    assert 'value="55.0"' in page
    assert "Good → Bad" not in page
    assert sam.get(f"{PAGE}?customer=9{'9' * 40}").status_code == 200


@pytest.mark.parametrize("name", ["alice", "bob", "charlie"])
def test_support_only(name: str, cast: Cast) -> None:
    person = browser(getattr(cast, name))
    assert [person.get(PAGE).status_code, person.post(SAVE).status_code] == [403, 403]


def test_the_limit_of_rows_is_the_callers(cast: Cast) -> None:
    assert backtest.run(backtest.Change(suspect=36, most=1)).is_sample
    assert not backtest.run(backtest.Change(suspect=36)).is_sample
