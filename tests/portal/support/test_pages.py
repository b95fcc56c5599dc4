"""Support's pages: who gets in, what they do, and what nobody sees without leave."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gateway.control import customers, gateways
from gateway.models import AuditEntry, Body, Credential, DkimKey, Gateway, HourlyCount, Message, Recipient
from gateway.rules.ids import from_text
from portal import consent, support_requests
from portal.access import OPENED_AS
from portal.demo.doings import feedback
from portal.models import ContentGrant, ContentLook, Invitation, SupportRequest, User
from portal.support.urls import urlpatterns
from tests.factories import make_message
from tests.portal.api.conftest import World, make_world

pytestmark = pytest.mark.django_db
SAM = "sam@smg.example"
PLAIN = [
    "support",
    "support_customers",
    "support_messages",
    "support_queue",
    "support_gateways",
    "support_ndr",
    "support_complaints",
    "support_backtest",
    "support_requests_open",
    "support_system",
]


@pytest.fixture
def acme(db: None) -> World:
    return make_world("acme", "alice", 1)


@pytest.fixture
def sam(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_user(SAM, is_staff=True))
    return client


@pytest.fixture
def mta01(db: None) -> Gateway:
    return gateways.create(
        actor=SAM, name="mta01", pool="good", hostname="mta01.smg.example", source_ip="198.51.100.9"
    )


def url(name: str, world: World) -> str:
    by_name: dict[str, list[Any]] = {
        "support_message": [world.ids["messages"]],
        "support_message_look": [world.ids["messages"]],
        "support_break_glass": [world.ids["messages"]],
        "support_queue_verb": ["hold"],
        "support_answer": [world.ids["support-requests"]],
        "support_answer_close": [world.ids["support-requests"]],
    }
    if name in by_name:
        return reverse(name, args=by_name[name])
    needs_pk = any(pattern.name == name and "<int:pk>" in str(pattern.pattern) for pattern in urlpatterns)
    pk = Gateway.objects.first().pk if "gateway_" in name else world.customer.pk  # type: ignore[union-attr]
    return reverse(name, args=[pk] if needs_pk else [])


ALL = [pattern.name for pattern in urlpatterns]
GETS = [
    name
    for name in ALL
    if name
    not in {
        "support_customer_limit",
        "support_customer_invite",
        "open_customer",
        "support_message_look",
        "support_gateway_check",
        "support_answer_close",
        "support_backtest_save",
    }
]


@pytest.mark.parametrize("name", ALL)
def test_only_support_gets_in(name: str, acme: World, mta01: Gateway) -> None:
    alice = Client()
    alice.force_login(acme.owner)
    answers = {alice.get(url(name, acme)).status_code, alice.post(url(name, acme)).status_code}
    assert 403 in answers
    assert answers <= {403, 405}
    strangers = {Client().get(url(name, acme)).status_code, Client().post(url(name, acme)).status_code}
    assert 302 in strangers
    assert strangers <= {302, 405}


@pytest.mark.parametrize("name", GETS)
def test_pages_open_without_content_and_with_few_queries(
    name: str, acme: World, mta01: Gateway, sam: Client
) -> None:
    consent.revoke(acme.customer.content_grants.get(), actor="test")
    address = url(name, acme) + (
        "?destination=friend-of-acme.example" if name == "support_queue_verb" else ""
    )
    sam.get(address)
    with CaptureQueriesContext(connection) as queries:
        page = sam.get(address)
    assert page.status_code == 200, page
    assert "subject of acme" not in page.content.decode()
    assert len(queries) <= 20, [one["sql"][:80] for one in queries]


def test_bad_ids_are_404(sam: Client) -> None:
    for path in (
        "customers/999/",
        f"customers/{10**30}/",
        "messages/0000000000000/",
        "messages/rubbish/",
        "requests/999/",
    ):
        assert sam.get(f"/support/{path}").status_code == 404, path


# ---- the desk --------------------------------------------------------------------------------------------------


def test_the_desk_shows_everything_that_waits_by_deadline(acme: World, mta01: Gateway, sam: Client) -> None:
    SupportRequest.objects.update(deadline_at=timezone.now() - timedelta(hours=1))
    Credential.objects.update(block="fuse", block_reason="300 unknown users", blocked_at=timezone.now())
    gateways.drain(mta01, actor=SAM, reason="new disk")
    page = sam.get(reverse("support")).content.decode()
    for words in (
        "request of acme",
        "acme.example",
        "198.51.100.1",
        "300 unknown users",
        "mta01: new disk",
        "No relay process",
    ):
        assert words in page, words
    assert "1 deadline has passed" in page
    assert page.index("request of acme") < page.index("300 unknown users")


def test_an_empty_desk_says_so(sam: Client) -> None:
    assert "Nothing needs you" in sam.get(reverse("support")).content.decode()


# ---- customers -------------------------------------------------------------------------------------------------


def test_rates_come_from_the_hourly_counts(acme: World, sam: Client) -> None:
    HourlyCount.objects.update(accepted=200, suspect=10, spam=10, delivered=90, bounced=8, expired=2)
    page = sam.get(reverse("support_customers") + "?order=spam").content.decode()
    assert page.count("10.0 %") == 2
    assert "No customer fits" in sam.get(reverse("support_customers") + "?q=nobody").content.decode()
    assert "ACME" in sam.get(reverse("support_customers") + "?q=acme.example").content.decode()


def test_suspend_needs_a_reason_and_resume_does_not(acme: World, sam: Client) -> None:
    address = url("support_customer_suspend", acme)
    assert sam.post(address, {"reason": ""}).status_code == 400
    sam.post(address, {"reason": "spam wave"})
    acme.customer.refresh_from_db()
    assert acme.customer.suspended_reason == "spam wave"
    sam.post(address)
    acme.customer.refresh_from_db()
    assert acme.customer.suspended_at is None


def test_the_limit(acme: World, sam: Client) -> None:
    sam.post(url("support_customer_limit", acme), {"rate_limit": 100})
    acme.customer.refresh_from_db()
    assert acme.customer.rate_limit == 100
    assert sam.post(url("support_customer_limit", acme), {"rate_limit": "many"}).status_code == 400


def test_the_registration_mail_is_a_one_time_link(acme: World, sam: Client) -> None:
    sam.post(url("support_customer_invite", acme), {"email": "new@acme.example", "role": "owner"})
    assert [one.to for one in mail.outbox] == [["new@acme.example"]]
    assert Invitation.objects.get().role == "owner"


def test_open_as_customer_is_read_only_audited_and_without_subjects(acme: World, sam: Client) -> None:
    sam.post(url("open_customer", acme))
    assert AuditEntry.objects.filter(action="support.open", actor=SAM, customer=acme.customer).exists()
    page = sam.get("/messages/").content.decode()
    assert acme.ids["messages"] in page or "friend-of-acme" in page
    assert "subject of acme" not in page
    assert sam.post(reverse("token_add"), {"name": "x", "scopes": ["read"]}).status_code == 403
    sam.post(reverse("close_customer"))
    assert OPENED_AS not in sam.session
    assert sam.get("/messages/").status_code == 403


# ---- messages and consent --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "term",
    [
        "{messages}",
        "acme@acme.example",
        "to@friend-of-acme.example",
        "acme.example",
        "friend-of-acme.example",
        "192.0.2.77",
        "<m1@acme.example>",
        "mailbox is full",
    ],
)
def test_search_understands_what_people_have(term: str, acme: World, sam: Client) -> None:
    acme.customer.messages.update(client_ip="192.0.2.77", message_id="<m1@acme.example>")
    Recipient.objects.update(text="452 4.2.2 The mailbox is full")
    page = sam.get(reverse("support_messages"), {"q": term.format(**acme.ids)}).content.decode()
    assert acme.ids["messages"] in page
    other = sam.get(reverse("support_messages"), {"q": "nothing-like-it.example"}).content.decode()
    assert acme.ids["messages"] not in other


def test_the_queue_says_in_words_why_mail_waits(acme: World, sam: Client) -> None:
    for reason in ("quota", "not-in-the-dictionary"):
        recipient = make_message(acme.customer, to=("a@slow.example",), state="queued").recipients.get()
        Recipient.objects.filter(pk=recipient.pk).update(reason=reason)
    page = unescape(sam.get(reverse("support_queue")).content.decode())
    rows = dict(re.findall(r'href="\?reason=([\w-]+)">[^<]+</a>(?:<br><span class="muted">([^<]+))?', page))
    assert rows == {"quota": "The recipient's mailbox is full", "not-in-the-dictionary": ""}


def test_the_queue_lists_the_oldest_first(acme: World, sam: Client) -> None:
    for name in ("first", "second"):
        make_message(acme.customer, to=(f"{name}@slow.example",), state="queued")
    page = sam.get(reverse("support_queue"), {"destination": "slow.example"}).content.decode()
    assert page.index("first@slow.example") < page.index("second@slow.example")


def test_a_look_needs_leave(acme: World, sam: Client) -> None:
    consent.revoke(acme.customer.content_grants.get(), actor="test")
    before = ContentLook.objects.count()
    for what in ("subject", "body"):
        assert sam.post(url("support_message_look", acme), {what: ""}).status_code == 403
    assert ContentLook.objects.count() == before


def test_with_leave_each_look_is_one_entry(acme: World, sam: Client) -> None:
    message = acme.customer.messages.get()
    Body.objects.create(message=message, content=b"Subject: x\r\n\r\n<script>alert(1)</script>")
    before = ContentLook.objects.count()
    page = sam.post(url("support_message_look", acme), {"subject": ""}).content.decode()
    assert "subject of acme" in page
    body = sam.post(url("support_message_look", acme), {"body": ""}).content.decode()
    assert "&lt;script&gt;alert(1)" in body
    assert "<script>alert(1)" not in body
    assert list(ContentLook.objects.order_by("id").values_list("who", "what")[before:]) == [
        (SAM, "subject"),
        (SAM, "body"),
    ]
    assert consent.broken_link(acme.customer) is None
    assert "subject of acme" not in sam.get(url("support_message", acme)).content.decode()


def test_a_deleted_body_is_said_to_be_gone(acme: World, sam: Client) -> None:
    assert "was deleted" in sam.post(url("support_message_look", acme), {"body": ""}).content.decode()


@pytest.mark.parametrize("ending", ["over", "taken back", "for another message"])
def test_leave_ends(ending: str, acme: World, sam: Client) -> None:
    given = acme.customer.content_grants.get()
    changes: dict[str, dict[str, Any]] = {
        "over": {"expires_at": timezone.now() - timedelta(seconds=1)},
        "taken back": {"revoked_at": timezone.now()},
        "for another message": {"message_id": 1},
    }
    ContentGrant.objects.filter(pk=given.pk).update(**changes[ending])
    assert sam.post(url("support_message_look", acme), {"subject": ""}).status_code == 403


def test_breaking_the_glass_needs_a_reason_and_tells_the_customer(
    acme: World, sam: Client, django_capture_on_commit_callbacks: Any
) -> None:
    ContentGrant.objects.update(revoked_at=timezone.now())
    assert sam.post(url("support_break_glass", acme), {"reason": "x"}).status_code == 400
    with django_capture_on_commit_callbacks(execute=True):
        sam.post(url("support_break_glass", acme), {"reason": "phishing wave is running right now"})
    taken = ContentGrant.objects.latest("id")
    assert (taken.kind, taken.granted_to, taken.message_id) == (
        "break_glass",
        SAM,
        acme.customer.messages.get().pk,
    )
    assert taken.expires_at <= timezone.now() + timedelta(hours=1)
    assert [one.to for one in mail.outbox] == [["ops@acme.example"]]
    assert "phishing wave" in mail.outbox[0].body
    assert sam.post(url("support_message_look", acme), {"subject": ""}).status_code == 200
    other = Client()
    other.force_login(User.objects.create_user("pat@smg.example", is_staff=True))
    assert other.post(url("support_message_look", acme), {"subject": ""}).status_code == 403


def test_without_an_address_for_alerts_the_owners_are_told(
    acme: World, sam: Client, django_capture_on_commit_callbacks: Any
) -> None:
    type(acme.customer).objects.update(alert_email="")
    with django_capture_on_commit_callbacks(execute=True):
        sam.post(url("support_break_glass", acme), {"reason": "phishing wave is running right now"})
    assert [one.to for one in mail.outbox] == [["alice@acme.example"]]


def test_the_log_of_looks_cannot_be_changed_unnoticed(acme: World) -> None:
    look = ContentLook.objects.get()
    with pytest.raises(TypeError):
        look.save()
    with pytest.raises(TypeError):
        look.delete()
    assert consent.broken_link(acme.customer) is None
    ContentLook.objects.filter(pk=look.pk).update(who="somebody else")
    assert consent.broken_link(acme.customer) == look


# ---- queue -----------------------------------------------------------------------------------------------------


def test_a_verb_is_previewed_then_done(acme: World, sam: Client) -> None:
    address = reverse("support_queue_verb", args=["hold"]) + "?destination=friend-of-acme.example"
    asked = sam.get(address).content.decode()
    assert "1 recipient is in a state" in asked
    make_message(acme.customer, to=("x@friend-of-acme.example",), state="held")
    assert "friend-of-acme.example: 1" in sam.get(address).content.decode()  # what it changes, not what waits
    assert Recipient.objects.filter(state="queued").count() == 1
    sam.post(address, {"reason": "storm"})
    row = Recipient.objects.get(address="to@friend-of-acme.example")
    assert (row.state, row.reason) == ("held", "storm")
    assert AuditEntry.objects.filter(action="queue.hold", actor=SAM, customer=acme.customer).exists()
    assert "Nothing that fits" in sam.get(address).content.decode()


@pytest.mark.parametrize("query", ["", "?destination=", "?older_than_h=soon", "?customer=999"])
def test_nothing_is_done_to_the_whole_queue(query: str, acme: World, sam: Client) -> None:
    for verb in ("cancel", "hold", "explode"):
        answer = sam.post(reverse("support_queue_verb", args=[verb]) + query)
        assert answer.status_code == 302
    assert Recipient.objects.get().state == "queued"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("destination=friend-of-acme.example", 1),
        ("destination=other.example", 0),
        ("state=held", 0),
        ("pool=bad", 1),
        ("pool=good", 0),
        ("sender_domain=acme.example", 1),
        ("older_than_h=1", 0),
        ("reason=greylisted", 0),
    ],
)
def test_filters(query: str, found: int, acme: World, sam: Client) -> None:
    page = sam.get(f"{reverse('support_queue')}?{query}").content.decode()
    assert f"{found} recipient{'s wait' if found != 1 else ' waits'}" in page


# ---- gateways, reports, requests -------------------------------------------------------------------------------


def test_draining_the_last_one_warns(mta01: Gateway, sam: Client) -> None:
    address = reverse("support_gateway_drain", args=[mta01.pk])
    assert "will wait in the queue" in sam.get(address).content.decode()
    assert sam.post(address, {"reason": ""}).status_code == 400
    sam.post(address, {"reason": "new disk"})
    mta01.refresh_from_db()
    assert mta01.drained_reason == "new disk"
    sam.post(address)
    mta01.refresh_from_db()
    assert mta01.drained_at is None


def test_a_gateway_is_looked_at_from_outside(
    mta01: Gateway, sam: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.control import gateway_checks

    checks = [gateway_checks.Check("ptr", "198.51.100.9", "wrong", "mta01.smg.example", "host.isp.example")]
    monkeypatch.setattr(gateway_checks, "check", lambda _gateway: checks)
    page = sam.post(reverse("support_gateway_check", args=[mta01.pk])).content.decode()
    assert "host.isp.example" in page


def test_unknown_answers_are_listed(acme: World, sam: Client) -> None:
    acme.customer.ndr_reports.update(cause="5xx", code=571, text="The fnord is <b>missing</b>")
    page = sam.get(reverse("support_ndr")).content.decode()
    assert "The fnord is &lt;b&gt;missing" in page


def hand_in(sam: Client, raw: bytes) -> str:
    file = SimpleUploadedFile("report.eml", raw, "message/rfc822")
    return sam.post(reverse("support_complaints"), {"report": file}, follow=True).content.decode()


def test_a_report_is_handed_in_and_shown_everywhere(acme: World, sam: Client) -> None:
    message = Message.objects.get(pk=from_text(str(acme.ids["messages"])))
    Message.objects.update(credential=Credential.objects.get(customer=acme.customer))
    raw = feedback(message.text_id, "dora@partner.example", message.sender)
    page = hand_in(sam, raw)
    assert "Kept and counted for" in page
    assert reverse("support_message", args=[message.text_id]) in page
    assert "counts once" in hand_in(sam, raw)
    assert "1 recipient complained" in sam.get(reverse("support")).content.decode()
    alice = Client()
    alice.force_login(acme.owner)
    for client, name in ((alice, "message"), (sam, "support_message")):
        shown = client.get(reverse(name, args=[message.text_id])).content.decode()
        assert "Reported as spam" in shown
        assert "dora@partner.example" in shown


def test_a_report_about_nothing_of_ours_and_what_is_none(sam: Client) -> None:
    page = hand_in(sam, feedback("0000000000000", "x@partner.example", "<b>y</b>@elsewhere.example"))
    assert "not attributed: no such message" in page
    assert "<b>y" not in page
    assert "This is no feedback report" in hand_in(sam, b"Hello")
    assert (
        "This is no feedback report" in sam.post(reverse("support_complaints"), follow=True).content.decode()
    )


def test_a_request_is_answered_and_a_note_stays_inside(acme: World, sam: Client) -> None:
    request = SupportRequest.objects.get()
    support_requests.reply(request, text="still broken", actor="alice@acme.example")
    address = reverse("support_answer", args=[request.pk])
    sam.post(address, {"text": "customer seems nervous", "internal": "on"})
    request.refresh_from_db()
    assert (request.state, request.deadline_at is not None) == ("open", True)
    sam.post(address, {"text": "It works now."})
    request.refresh_from_db()
    assert (request.state, request.deadline_at) == ("answered", None)
    alice = Client()
    alice.force_login(acme.owner)
    page = alice.get(reverse("support_request", args=[request.pk])).content.decode()
    assert "It works now." in page
    assert "nervous" not in page


def test_a_suspended_customer_is_marked(acme: World, sam: Client) -> None:
    customers.suspend(acme.customer, actor=SAM, reason="spam wave")
    assert "Suspended" in sam.get(reverse("support_customers")).content.decode()
    assert DkimKey.objects.exists()


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="statement time-outs are PostgreSQL's")
def test_a_search_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from portal.support import base

    monkeypatch.setattr(base, "LONGEST_QUERY_MS", 50)
    with pytest.raises(base.TooSlowError), base.bounded(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(5)")
    assert User.objects.count() == 0  # the connection works on


def test_what_took_too_long_is_said(sam: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from portal.support import base, messages

    def give_up(*args: Any) -> None:
        raise base.TooSlowError

    monkeypatch.setattr(messages, "search", give_up)
    page = sam.get(reverse("support_messages"), {"q": "nothing"}).content.decode()
    assert "This takes too long" in page
    assert "Nothing fits" not in page
