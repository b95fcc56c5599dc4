"""The admin: every page opens under the strict CSP for support, writes by verbs, shows no secret, counts no log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gateway import crypto
from gateway.control import appeals as appeal_verbs
from gateway.control import credentials, customers, domains, gateways, queue_filter
from gateway.models import (
    Appeal,
    Attempt,
    AuditEntry,
    Bar,
    Complaint,
    Credential,
    Customer,
    DkimKey,
    Domain,
    Gateway,
    Message,
    NdrReport,
    Recipient,
    Refusal,
    Shaping,
    SourceNetwork,
    SpamException,
    Suppression,
    TlsRule,
    Worker,
)
from gateway.rules.ids import IdMaker
from portal.models import User

pytestmark = pytest.mark.django_db
SAM = "sam@smg.example"
NOW_MS = int(timezone.now().timestamp() * 1000)
IDS = IdMaker(7)


@pytest.fixture
def sam(client: Client) -> Client:
    client.force_login(User.objects.create_user(SAM, "pw", is_staff=True))
    return client


@pytest.fixture
def acme() -> Customer:
    return customers.create(actor=SAM, slug="acme", name="ACME")


def new_message(customer: Customer, **values: Any) -> Message:
    fields = {"received_at": timezone.now(), "sender": "alice@acme.example", "sender_domain": "acme.example"}
    fields |= {"size_bytes": 10, "recipient_count": 1, "subject": "TOP SECRET SUBJECT"}
    return Message.objects.create(id=IDS.next(NOW_MS), customer=customer, **(fields | values))


def new_recipient(message: Message, **values: Any) -> Recipient:
    now = timezone.now()
    fields = {
        "address": "bob@globex.example",
        "domain": "globex.example",
        "pool": "good",
        "next_attempt_at": now,
    }
    fields |= {"expires_at": now + timedelta(days=5), "customer": message.customer}
    return Recipient.objects.create(id=IDS.next(NOW_MS), message=message, **(fields | values))


@pytest.fixture
def everything(acme: Customer) -> dict[type, Any]:
    """One object of every model that has admin pages."""
    now = timezone.now()
    domain = domains.add(acme, "acme.example", actor=SAM)
    domains.verify(domain, actor=SAM)
    gateway = gateways.create(
        actor=SAM, name="mta01", pool="good", hostname="mta01.smg.example", next_hop_password="hop-pw"
    )
    message = new_message(acme, category="spam", score=88.0, symbols=[["LOTTERY", 12.0]])
    recipient = new_recipient(message)
    Attempt.objects.create(
        message=message,
        recipient=recipient.pk,
        at=now,
        state="queued",
        stage="rcpt",
        code=451,
        text="<b>later",
    )
    key = DkimKey.objects.create(
        domain=domain,
        state="publishing",
        selector="smg1",
        private_key=crypto.encrypt("PRIVATE PEM"),
        public_key="v=DKIM1; p=AB",
    )
    appeal = Appeal.objects.create(
        customer=acme, message=message, created_by="alice@acme.example", flip=["LOTTERY"]
    )
    return {
        Customer: acme,
        Domain: domain,
        Gateway: gateway,
        Message: message,
        Recipient: recipient,
        DkimKey: key,
        Appeal: appeal,
        Credential: credentials.create(acme, actor=SAM, username="acme-web")[0],
        SourceNetwork: customers.add_network(acme, actor=SAM, network="192.0.2.0/28"),
        TlsRule: TlsRule.objects.create(customer=acme, recipient_domain="bank.example"),
        Bar: Bar.objects.create(gateway=gateway, destination="gmx.example", until=now, reason="554 <script>"),
        Shaping: Shaping.objects.create(destination="gmx.example"),
        Worker: Worker.objects.create(
            owner="n:1", node="n", pid=1, slot=0, started_at=now, seen_at=now, degraded={"clamd": "off"}
        ),
        Refusal: Refusal.objects.create(at=now, customer=acme, stage="rcpt", code=550, text="no", reason="x"),
        NdrReport: NdrReport.objects.create(
            at=now, customer=acme, message=message, address="b@g.example", domain="g.example", cause="5.1.1"
        ),
        Complaint: Complaint.objects.create(at=now, kind="abuse", customer=acme, message=message, digest="0"),
        Suppression: Suppression.objects.create(
            customer=acme, address="gone@globex.example", reason="unknown_user"
        ),
        SpamException: SpamException.objects.create(
            customer=acme, symbols=["LOTTERY"], expires_at=now + timedelta(days=1), created_by=SAM
        ),
        AuditEntry: AuditEntry.objects.first(),
    }


def pages() -> Iterator[type]:
    admin.autodiscover()  # only web processes do it by themselves (portal/urls.py)
    yield from (model for model in admin.site._registry if model._meta.app_label == "gateway")


def url_of(model: type[Any], page: str = "changelist", *args: Any) -> str:
    return reverse(f"admin:gateway_{model._meta.model_name}_{page}", args=args)


def act(client: Client, model: type[Any], name: str, *objects: Any, **fields: Any) -> Any:
    data = {"action": name, "index": 0, "_selected_action": [obj.pk for obj in objects], **fields}
    return client.post(url_of(model), data, follow=True)


def test_all_models_have_pages_but_the_inner_ones(everything: dict[type, Any]) -> None:
    assert set(pages()) == set(everything)


def test_every_list_and_page_opens_and_keeps_the_secrets(sam: Client, everything: dict[type, Any]) -> None:
    secret = re.compile(
        rb"hop-pw|PRIVATE PEM|gAAAA|TOP SECRET SUBJECT|<script>alert|554 <script>|<b>later|"
        + everything[Credential].secret_hash.encode()
    )
    for model, obj in everything.items():
        for url in (url_of(model), url_of(model) + "?q=acme", url_of(model, "change", obj.pk)):
            answer = sam.get(url)
            assert answer.status_code == 200, url
            assert not secret.search(answer.content), url
            assert b" style=" not in answer.content, url
            assert not re.search(
                rb"<script(?![^>]*\bsrc=)(?![^>]*type=\"application/json\")", answer.content
            ), url
            assert "default-src 'self'" in answer["Content-Security-Policy"]


def test_no_list_counts_a_log(sam: Client, everything: dict[type, Any]) -> None:
    for model in (Message, Recipient, Refusal, NdrReport, AuditEntry):
        with CaptureQueriesContext(connection) as queries:
            sam.get(url_of(model))
        counted = [one["sql"] for one in queries if "COUNT(" in one["sql"].upper()]
        assert not counted, model
        assert len(queries) < 20, model


@pytest.mark.parametrize(
    "model", [Message, Recipient, Refusal, NdrReport, AuditEntry, Worker, DkimKey, Appeal]
)
def test_what_the_relay_writes_cannot_be_edited(
    sam: Client, everything: dict[type, Any], model: type[Any]
) -> None:
    assert sam.get(url_of(model, "add")).status_code == 403
    assert sam.post(url_of(model, "change", everything[model].pk), {}).status_code == 403
    assert sam.post(url_of(model, "delete", everything[model].pk), {"post": "yes"}).status_code == 403
    assert model._default_manager.filter(pk=everything[model].pk).exists()


@pytest.mark.parametrize("url", ["/admin/", "/admin/gateway/customer/"])
def test_only_support_gets_in(client: Client, url: str) -> None:
    assert client.get(url).status_code == 302
    client.force_login(User.objects.create_user("alice@acme.example"))
    assert client.get(url).status_code in (302, 403)


# ---- writing ---------------------------------------------------------------------------------------------------


def last_action() -> str:
    return AuditEntry.objects.latest("id").action


def test_a_customer_is_made_changed_suspended_and_resumed(sam: Client) -> None:
    form = {
        "slug": "acme",
        "name": "ACME",
        "language": "de",
        "time_zone": "Europe/Berlin",
        "delay_warning_h": 4,
    }
    sam.post(url_of(Customer, "add"), form)
    acme = Customer.objects.get()
    assert last_action() == "customer.create"
    sam.post(url_of(Customer, "change", acme.pk), form | {"rate_limit": 100})
    acme.refresh_from_db()
    assert (acme.rate_limit, last_action()) == (100, "customer.change")
    assert b"Suspend" in sam.get(url_of(Customer, "change", acme.pk)).content
    asked = act(sam, Customer, "suspend", acme)
    assert b'name="reason"' in asked.content
    assert b"This field is required" in act(sam, Customer, "suspend", acme, apply="1").content
    act(sam, Customer, "suspend", acme, apply="1", reason="spam wave")
    acme.refresh_from_db()
    assert (acme.suspended_reason, last_action()) == ("spam wave", "customer.suspend")
    act(sam, Customer, "resume", acme, apply="1")
    acme.refresh_from_db()
    assert acme.suspended_at is None


def test_a_refusal_of_a_verb_is_a_message_not_a_broken_page(sam: Client, everything: dict[type, Any]) -> None:
    answer = sam.post(url_of(Gateway, "delete", everything[Gateway].pk), {"post": "yes"}, follow=True)
    assert answer.status_code == 200
    assert b"Drain the gateway first." in answer.content
    assert Gateway.objects.exists()


def test_a_gateway_is_drained_with_a_reason_and_used_again(sam: Client, everything: dict[type, Any]) -> None:
    act(sam, Gateway, "drain", everything[Gateway], apply="1", reason="new disk")
    assert Gateway.objects.get().drained_reason == "new disk"
    act(sam, Gateway, "undrain", everything[Gateway])
    assert Gateway.objects.get().drained_at is None


def test_the_next_hops_password_is_set_but_never_shown(sam: Client, everything: dict[type, Any]) -> None:
    gateway = everything[Gateway]
    form = {
        "name": "mta01",
        "pool": "good",
        "hostname": "mta01.smg.example",
        "next_hop_tls": "verify",
        "weight": 1,
    }
    sam.post(url_of(Gateway, "change", gateway.pk), form)
    assert crypto.decrypt(Gateway.objects.get().next_hop_password) == "hop-pw"
    sam.post(url_of(Gateway, "change", gateway.pk), form | {"new_password": "better"})
    assert crypto.decrypt(Gateway.objects.get().next_hop_password) == "better"


def test_a_login_is_made_and_its_secret_shown_once(sam: Client, acme: Customer) -> None:
    form = {"customer": acme.pk, "username": "acme-web", "networks": "[]", "senders": "[]"}
    answer = sam.post(url_of(Credential, "add"), form)
    secret = re.search(rb"<code>([a-z0-9-]{20,})</code>", answer.content)
    assert answer.status_code == 200
    assert secret
    row = Credential.objects.get()
    assert crypto.secret_matches(secret[1].decode(), row.secret_hash, crypto.credential_key_from_settings())
    assert secret[1] not in sam.get(url_of(Credential, "change", row.pk)).content
    rotated = act(sam, Credential, "rotate", row, apply="1")
    assert b"<code>" in rotated.content
    assert secret[1] not in rotated.content
    act(sam, Credential, "revoke", row, apply="1", reason="leaked")
    assert Credential.objects.get().block == "revoked"


def test_a_dkim_request_is_approved_checked_and_switched_on(sam: Client, everything: dict[type, Any]) -> None:
    key = everything[DkimKey]
    assert b"does not show the record" in act(sam, DkimKey, "activate", key).content
    DkimKey.objects.update(checked_at=timezone.now(), problem="")
    act(sam, DkimKey, "activate", key)
    assert DkimKey.objects.get().state == "active"
    wish = DkimKey.objects.create(domain=key.domain, requested_by="alice@acme.example")
    act(sam, DkimKey, "approve", wish, apply="1", selector="")
    wish.refresh_from_db()
    assert wish.state == "publishing"
    assert wish.private_key
    page = sam.get(url_of(DkimKey, "change", wish.pk)).content
    assert wish.public_key[:40].encode() in page
    assert wish.private_key[:40].encode() not in page


def test_a_dkim_request_is_declined_with_words(sam: Client, everything: dict[type, Any]) -> None:
    wish = DkimKey.objects.create(domain=everything[Domain], requested_by="alice@acme.example")
    act(sam, DkimKey, "decline", wish, apply="1", reason="not yours")
    wish.refresh_from_db()
    assert (wish.state, wish.problem) == ("declined", "not yours")


@pytest.fixture
def lessons(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """What local learning was told."""
    told: list[tuple[str, bytes]] = []
    monkeypatch.setattr(
        appeal_verbs, "_learn", lambda appeal: told.append(("learn", bytes(appeal.vector or b"")))
    )
    monkeypatch.setattr(
        appeal_verbs, "_unlearn", lambda appeal: told.append(("unlearn", bytes(appeal.vector or b"")))
    )
    return told


def test_an_appeal_is_accepted_once_and_undone(
    sam: Client, everything: dict[type, Any], lessons: list[tuple[str, bytes]]
) -> None:
    appeal = everything[Appeal]
    for _twice in range(2):
        act(sam, Appeal, "accept", appeal, apply="1", answer="Sorry", days=30, with_exception="on")
    appeal.refresh_from_db()
    made = appeal.exceptions.get()
    assert (appeal.state, made.symbols, made.sender_domain, lessons) == (
        "accepted",
        ["LOTTERY"],
        "acme.example",
        [("learn", b"")],
    )
    act(sam, Appeal, "undo", appeal, apply="1")
    appeal.refresh_from_db()
    assert (appeal.state, appeal.exceptions.count(), lessons[1:]) == ("undone", 0, [("unlearn", b"")])


def test_a_declined_appeal_needs_an_answer(sam: Client, everything: dict[type, Any]) -> None:
    act(sam, Appeal, "decline", everything[Appeal], apply="1")
    assert Appeal.objects.get().state == "open"
    act(sam, Appeal, "decline", everything[Appeal], apply="1", answer="It sells lottery tickets.")
    assert Appeal.objects.get().state == "declined"


@pytest.mark.parametrize(
    ("state", "verb", "after"),
    [
        ("queued", "hold", "held"),
        ("held", "release", "queued"),
        ("queued", "cancel", "cancelled"),
        ("delivered", "cancel", "delivered"),
    ],
)
def test_the_queues_verbs(sam: Client, acme: Customer, state: str, verb: str, after: str) -> None:
    row = new_recipient(new_message(acme), state=state)
    act(sam, Recipient, verb, row, apply="1")
    row.refresh_from_db()
    assert row.state == after
    assert AuditEntry.objects.filter(action=f"queue.{verb}", customer=acme).exists() == (state != after)


def test_a_verb_on_many_customers_leaves_each_an_entry(acme: Customer) -> None:
    globex = customers.create(actor=SAM, slug="globex", name="Globex")
    for customer in (acme, acme, globex):
        new_recipient(new_message(customer))
    rows = queue_filter.QueueFilter(destination="globex.example").rows()
    assert queue_filter.touched("hold", rows).count() == 3
    assert queue_filter.apply("hold", rows, actor=SAM, reason="test") == 3
    entries = AuditEntry.objects.filter(action="queue.hold").values_list(
        "customer__slug", "detail__recipients"
    )
    assert set(entries) == {("acme", 2), ("globex", 1)}


def test_a_bar_is_lifted_and_a_suppression_removed(sam: Client, everything: dict[type, Any]) -> None:
    act(sam, Bar, "lift", everything[Bar])
    assert not Bar.objects.exists()
    sam.post(url_of(Suppression, "delete", everything[Suppression].pk), {"post": "yes"})
    assert not Suppression.objects.exists()
    assert last_action() == "suppression.remove"


def test_message_search_understands_what_people_have_at_hand(sam: Client, acme: Customer) -> None:
    message = new_message(acme, client_ip="192.0.2.9", message_id="<x1@acme.example>")
    new_recipient(message)
    other = new_message(acme, sender="else@other.example", sender_domain="other.example")
    for term in (
        message.text_id,
        "192.0.2.9",
        "<x1@acme.example>",
        "bob@globex.example",
        "alice@acme.example",
        "acme.example",
    ):
        found = sam.get(url_of(Message), {"q": term}).content
        assert message.text_id.encode() in found, term
        assert other.text_id.encode() not in found, term


def test_the_history_of_an_object_is_the_audit_log(sam: Client, acme: Customer) -> None:
    answer = sam.get(url_of(Customer, "history", acme.pk), follow=True)
    assert b"customer.create" in answer.content
