"""The message log: what each filter finds, pages, exports, one message's story, and what may be done with it."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gateway.control import customers
from gateway.models import Appeal, Body, Message, Recipient, TlsShadow
from portal.access import OPENED_AS
from portal.csv_export import safe_cell
from portal.customer.message_search import Page, search
from tests import factories
from tests.factories import Cast

Browser = Any


def subjects(page: Page) -> list[str]:
    return [row.message.subject for row in page.rows]


@pytest.fixture
def log(cast: Cast) -> Cast:
    now = timezone.now()
    bad = factories.make_gateway("mta03", "bad")
    make = factories.make_message
    make(cast.acme, subject="old", at=now - timedelta(days=3))
    make(
        cast.acme,
        subject="invoice",
        sender="invoices@acme.example",
        to=("dora@customer.example", "erik@customer.example"),
    )
    make(cast.acme, subject="spam", category="spam", score=90, recipient={"gateway": bad})
    make(
        cast.acme,
        subject="waiting",
        state="queued",
        recipient={"code": 450, "enhanced": "4.2.0", "text": "Greylisted"},
    )
    make(
        cast.acme,
        subject="bounced",
        state="bounced",
        recipient={"code": 550, "enhanced": "5.1.1", "text": "User unknown"},
    )
    make(cast.globex, subject="theirs", sender="x@globex.example", sender_domain="globex.example")
    return cast


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["bounced", "waiting", "spam", "invoice"]),
        ({"range": "7d"}, ["bounced", "waiting", "spam", "invoice", "old"]),
        ({"q": "INVO"}, ["invoice"]),
        ({"sender": "invoices@acme.example"}, ["invoice"]),
        ({"sender": "invoices@ACME.example"}, ["invoice"]),
        ({"sender": "acme.example"}, ["bounced", "waiting", "spam", "invoice"]),
        ({"sender": "@acme.example"}, ["bounced", "waiting", "spam", "invoice"]),
        ({"sender": "invoices@"}, ["invoice"]),
        ({"sender": "globex.example"}, []),
        ({"recipient": "erik@customer.example"}, ["invoice"]),
        ({"recipient": "customer.example"}, ["invoice"]),
        ({"status": "open"}, ["waiting"]),
        ({"status": "bounced"}, ["bounced"]),
        ({"status": "bounced", "q": "waiting"}, []),
        ({"category": "bad"}, ["spam"]),
        ({"category": "clean", "status": "delivered"}, ["invoice"]),
        ({"reply": "unknown"}, ["bounced"]),
        ({"reply": "550"}, ["bounced"]),
        ({"reply": "4.2.0"}, ["waiting"]),
        ({"id": "nothing"}, []),
    ],
)
def test_filters(wanted: dict[str, Any], expected: list[str], log: Cast) -> None:
    assert subjects(search(log.acme, wanted)) == expected


def test_ids_are_found_at_any_time(log: Cast) -> None:
    old = Message.objects.get(subject="old")
    assert subjects(search(log.acme, {"id": old.text_id})) == ["old"]
    assert subjects(search(log.acme, {"id": old.message_id.strip("<>")})) == ["old"]
    assert subjects(search(log.globex, {"id": old.text_id})) == []
    assert subjects(search(log.globex, {"id": old.text_id, "status": "delivered"})) == []


def test_a_gateway_filter(log: Cast) -> None:
    gateway = Recipient.objects.get(gateway__isnull=False).gateway
    assert subjects(search(log.acme, {"gateway": gateway})) == ["spam"]


@pytest.mark.parametrize("wanted", [{}, {"status": "delivered"}, {"recipient": "example.org"}])
def test_pages_follow_without_gaps_or_doubles(wanted: dict[str, Any], cast: Cast) -> None:
    for number in range(7):
        factories.make_message(cast.acme, subject=str(number), to=("a@example.org", "b@example.org"))
    seen: list[str] = []
    cursor = ""
    for _ in range(10):
        page = search(cast.acme, wanted, cursor=cursor, size=3)
        seen += subjects(page)
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 40, "1e9", "²"])
def test_a_cursor_that_makes_no_sense_counts_as_none(cursor: str, log: Cast) -> None:
    assert len(search(log.acme, {}, cursor=cursor).rows) == 4


@pytest.mark.parametrize(
    "query",
    ["status=nonsense", "range=custom&start=2026-13-40", "range=custom&start=2026-11-02&end=2026-11-01",
     "gateway=99", "sender=" + "x" * 400],
)  # fmt: skip
def test_a_filter_that_makes_no_sense_is_said_and_not_applied(query: str, log: Cast, alice: Client) -> None:
    response = alice.get(f"{reverse('messages')}?{query}")
    assert (response.status_code, b"errorlist" in response.content) == (200, True)


@pytest.mark.parametrize(
    ("name", "parameter"),
    [("messages", "before"), ("message_news", "after"), ("messages", "reply"), ("blacklists", "page"),
     ("activity", "before")],
)  # fmt: skip
def test_digits_that_are_no_number_break_no_page(name: str, parameter: str, log: Cast, alice: Client) -> None:
    assert alice.get(reverse(name), {parameter: "²" * 3}).status_code == 200


def test_news_count_only_what_is_newer(log: Cast, alice: Client) -> None:
    newest = search(log.acme, {}).rows[0].message.id
    assert alice.get(reverse("message_news"), {"after": newest}).content.strip() == b""
    factories.make_message(log.acme)
    assert b"1 new message" in alice.get(reverse("message_news"), {"after": newest}).content


def rows_of(response: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(response.streaming_content).decode("utf-8-sig"))))


def test_the_export_has_a_line_per_recipient_of_the_filtered_list(log: Cast, alice: Client) -> None:
    rows = rows_of(alice.get(reverse("message_csv"), {"sender": "invoices@acme.example"}))
    assert [row[5] for row in rows] == ["recipient", "dora@customer.example", "erik@customer.example"]


@pytest.mark.parametrize("subject", ["=HYPERLINK(1)", "+1", "-1", "@x", "\t=1", " =1"])
def test_formulas_are_disarmed(subject: str, cast: Cast, alice: Client) -> None:
    factories.make_message(cast.acme, subject=subject)
    assert rows_of(alice.get(reverse("message_csv")))[1][4].startswith("'")


def test_ordinary_cells_stay_as_they_are() -> None:
    assert [safe_cell(value) for value in ("Hello", 5, "a=b", "")] == ["Hello", "5", "a=b", ""]


# ------------------------------------------------------------------------------------------------ one message


def page_of(browser: Client, message: Message) -> str:
    return browser.get(reverse("message", args=[message.text_id])).content.decode()


def test_the_story_of_a_delivery(cast: Cast, alice: Client) -> None:
    gateway = factories.make_gateway("mta01")
    message = factories.make_message(cast.acme)
    recipient = message.recipients.get()
    greylisted = {"state": "queued", "code": 450, "enhanced": "4.2.0", "text": "Greylisted, come back"}
    factories.make_attempt(recipient, gateway=gateway, **greylisted)
    factories.make_attempt(recipient, gateway=gateway)
    text = page_of(alice, message)
    for expected in (
        "acme.example has a public MX or address record.", "Greylisted, come back", "mta01 talked to mx.example.org",
        "Encrypted with TLSv1.3, TLS_AES_256_GCM_SHA384.", "250 2.0.0 Ok: queued as 4711",
    ):  # fmt: skip
        assert expected in text


def test_a_bounce_is_explained(cast: Cast, alice: Client) -> None:
    message = factories.make_message(cast.acme, state="bounced")
    recipient = message.recipients.get()
    factories.make_attempt(recipient, code=550, enhanced="5.1.1", text="User unknown")
    assert "The recipient does not exist" in page_of(alice, message)


def test_a_message_whose_attempts_are_gone_keeps_its_last_reply(cast: Cast, alice: Client) -> None:
    message = factories.make_message(cast.acme)
    assert "Ok: queued as 4711" in page_of(alice, message)


def test_why_it_left_by_bad(cast: Cast, alice: Client) -> None:
    symbols = [["WORDING", 50], ["SUBJECT", 20]]
    text = page_of(alice, factories.make_message(cast.acme, category="suspect", score=70, symbols=symbols))
    assert "Bad gateway" in text
    assert "What would have made it Good" in text
    assert "This is not spam" in text


def test_a_message_with_very_many_recipients_stays_a_page(cast: Cast, alice: Client) -> None:
    many = tuple(f"r{number}@example.org" for number in range(60))
    message = factories.make_message(cast.acme, to=many)
    text = page_of(alice, message)
    assert "and 35 more recipients" in text
    assert "r59@example.org" not in text


# ------------------------------------------------------------------------------------------------ acting


def post(browser: Client, name: str, message: Message, **data: Any) -> Any:
    return browser.post(reverse(name, args=[message.text_id]), data, follow=True)


def test_retry_now(cast: Cast, alice: Client) -> None:
    message = factories.make_message(cast.acme, state="queued")
    assert "Done for 1 recipient." in post(alice, "message_retry", message).content.decode()
    next_attempt = message.recipients.get().next_attempt_at
    assert next_attempt is not None
    assert next_attempt <= timezone.now()


def test_release_and_cancel(cast: Cast, alice: Client) -> None:
    message = factories.make_message(cast.acme, state="held")
    Body.objects.create(message=message, content=b"x")
    post(alice, "message_release", message)
    assert message.recipients.get().state == "queued"
    assert (
        "still open for 1 recipient"
        in alice.get(reverse("message_cancel", args=[message.text_id])).content.decode()
    )
    post(alice, "message_cancel", message)
    assert message.recipients.get().state == "cancelled"


def test_acting_too_late_is_said(cast: Cast, alice: Client) -> None:
    message = factories.make_message(cast.acme)
    assert "nothing left to do" in post(alice, "message_retry", message).content.decode()


def test_acting_on_one_of_several_recipients(cast: Cast, alice: Client) -> None:
    message = factories.make_message(cast.acme, to=("a@example.org", "b@example.org"), state="held")
    first = message.recipients.order_by("id")[0]
    post(alice, "message_release", message, recipient=first.pk)
    assert list(message.recipients.order_by("id").values_list("state", flat=True)) == ["queued", "held"]


def test_a_recipient_of_another_message_is_not_touched(cast: Cast, alice: Client) -> None:
    mine, theirs = (
        factories.make_message(cast.acme, state="held"),
        factories.make_message(cast.globex, state="held"),
    )
    post(alice, "message_release", mine, recipient=theirs.recipients.get().pk)
    assert set(Recipient.objects.values_list("state", flat=True)) == {"held"}


def test_an_appeal_goes_to_support_once(cast: Cast, alice: Client) -> None:
    message = factories.make_message(cast.acme, category="spam", score=90)
    post(alice, "message_appeal", message, comment="Our newsletter")
    text = post(alice, "message_appeal", message).content.decode()
    assert Appeal.objects.count() == 1
    assert "Waiting for support" in text


def test_support_sees_no_subjects(cast: Cast, browser_of: Browser) -> None:
    sam = browser_of(cast.sam)
    session = sam.session
    session[OPENED_AS] = cast.acme.pk
    session.save()
    message = factories.make_message(cast.acme, subject="Dismissal of Mr X")
    pages = [
        reverse("overview"),
        reverse("messages"),
        f"{reverse('messages')}?q=Dismissal",
        reverse("message", args=[message.text_id]),
    ]
    texts = [sam.get(url).content.decode() for url in pages]
    assert all("(hidden from support)" in text for text in texts)
    assert not any("Dismissal of" in text for text in texts)
    assert "Dismissal" not in str(rows_of(sam.get(reverse("message_csv"))))
    assert sam.post(reverse("message_cancel", args=[message.text_id])).status_code == 403


def test_support_that_opened_nobody_goes_to_its_desk(cast: Cast, browser_of: Browser) -> None:
    response = browser_of(cast.sam).get("/")
    assert (response.status_code, response["Location"]) == (302, reverse("support"))


def test_a_suspended_customer_is_told(cast: Cast, alice: Client) -> None:
    customers.suspend(cast.acme, actor="sam", reason="Stolen login")
    assert "Stolen login" in alice.get("/").content.decode()


def test_what_a_recorded_rule_would_have_done(cast: Cast, alice: Client) -> None:
    message = factories.make_message(cast.acme, to=("a@bank.example",))
    shadow = {
        "message": message,
        "at": timezone.now(),
        "destination": "bank.example",
        "host": "mx.bank.example",
    }
    TlsShadow.objects.create(**shadow, problem="certificate has expired")
    TlsShadow.objects.create(**shadow | {"destination": "other.example"}, problem="not about this recipient")
    factories.make_tls_rule(cast.acme, "bank.example", shadow=True)
    text = page_of(alice, message)
    assert "would have stopped this" in text
    assert "certificate has expired" in text
    assert "not about this recipient" not in text
    assert "would have stopped 1 of the latest 1" in alice.get(reverse("tls")).content.decode()


def test_unusual_behaviour_is_told_in_words(cast: Cast, alice: Client) -> None:
    trace = [{"step": "behaviour", "outcome": "info", "detail": {"volume": [400, 20]}, "ms": 0}]
    assert "Unusual for this login" in page_of(alice, factories.make_message(cast.acme, trace=trace))


def test_an_unsigned_message_says_so_and_leads_to_the_request(alice: Client, cast: Cast) -> None:
    factories.make_domain(cast.acme, "acme.example")
    message = factories.make_message(cast.acme, header_from="alice@acme.example", state="delivered")
    factories.make_attempt(message.recipients.get(), remote_host="mx.example.org")
    text = alice.get(reverse("message", args=[message.text_id])).content.decode()
    assert "Not signed: no active key for acme.example." in text
    assert reverse("domain", args=["acme.example"]) + "#dkim" in text


def test_a_signed_message_names_its_key(alice: Client, cast: Cast) -> None:
    message = factories.make_message(cast.acme, state="delivered")
    signed_by = "smg1._domainkey.acme.example"
    factories.make_attempt(message.recipients.get(), remote_host="mx.example.org", signed_by=signed_by)
    text = alice.get(reverse("message", args=[message.text_id])).content.decode()
    assert f"Signed as {signed_by}." in text
    assert "Not signed" not in text
