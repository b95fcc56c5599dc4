"""The queue in SQL: what a commit writes, what an attempt settles, who may take what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gateway import store
from gateway.models import Attempt, Body, HourlyCount, Message, RateWindow, Recipient
from gateway.rules.route_types import TlsDemand, TlsObservation
from gateway.rules.types import Outcome, Reply, Stage, State, TlsLevel
from gateway.store import leases
from tests.factories import make_customer, make_gateway, make_message

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 10, 30, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def new_message(
    customer_id: int, number: int = 1, category: str = "clean", recipients: int = 1
) -> store.NewMessage:
    message_id = number << 22
    return store.NewMessage(
        message={
            "id": message_id, "kind": "customer", "customer_id": customer_id, "credential_id": None, "received_at": NOW,
            "sender": "web@acme.example", "sender_domain": "acme.example", "size_bytes": 2048, "client_ip": None,
            "recipient_count": recipients, "category": category,
        },
        recipients=[
            {
                "id": message_id + place, "message_id": message_id, "customer_id": customer_id, "pool": "good",
                "address": f"r{place}@partner.example", "domain": "partner.example", "next_attempt_at": NOW,
                "expires_at": NOW + timedelta(days=5),
            }
            for place in range(recipients)
        ],
        content=b"Subject: x\r\n\r\nx\r\n",
    )  # fmt: skip


def outcome(recipient_id: int, state: State, reason: str = "") -> Outcome:
    replies = {State.DELIVERED: Reply(250, "2.0.0", "ok"), State.BOUNCED: Reply(550, "5.1.1", "unknown")}
    return Outcome(
        recipient_id, state, replies.get(state, Reply(450, "4.2.0", "later")), Stage.DOT, NOW, reason=reason
    )


def settle(
    message_id: int, customer_id: int, *outcomes: Outcome, next_attempts: dict[int, datetime] | None = None
) -> None:
    item = store.Settlement(message_id, customer_id, "acme.example", list(outcomes), next_attempts or {})
    store.settle([item])


def test_rows_are_those_the_models_would_write() -> None:
    """The hot path's plain SQL and the ORM agree on every column."""
    customer = make_customer()
    new = new_message(customer.id)
    store.insert_messages([new])
    written = Message.objects.get()
    by_model = Message(**new.message)
    assert {f.attname: getattr(written, f.attname) for f in Message._meta.concrete_fields} == {
        f.attname: getattr(by_model, f.attname) for f in Message._meta.concrete_fields
    }
    recipient = Recipient.objects.get()
    assert (recipient.state, recipient.notify, recipient.attempts, recipient.tls) == ("queued", "", 0, None)
    assert bytes(Body.objects.get().content) == new.content


def test_accepting_and_settling_are_counted_by_hour_and_domain() -> None:
    customer = make_customer()
    store.insert_messages(
        [new_message(customer.id, 1), new_message(customer.id, 2, category="spam", recipients=2)]
    )
    first, second = 1 << 22, 2 << 22
    settle(first, customer.id, outcome(first, State.DELIVERED))
    settle(
        second, customer.id, outcome(second, State.BOUNCED, "unknown_user"), outcome(second + 1, State.QUEUED)
    )
    count = HourlyCount.objects.get()
    assert (count.hour, count.domain) == (NOW.replace(minute=0), "acme.example")
    told = {name: getattr(count, name) for name in store.counters.COUNTERS if getattr(count, name)}
    assert told == {
        "accepted": 2, "spam": 1, "recipients": 3, "delivered": 1, "bounced": 1, "deferred": 1, "unknown_user": 1,
        "size_kib": 6,
    }  # fmt: skip


def test_a_body_stays_until_its_last_recipient_is_settled() -> None:
    customer = make_customer()
    store.insert_messages([new_message(customer.id, recipients=2)])
    settle(1 << 22, customer.id, outcome(1 << 22, State.DELIVERED))
    assert Body.objects.count() == 1
    settle(1 << 22, customer.id, outcome((1 << 22) + 1, State.HELD))
    assert Body.objects.count() == 1
    Recipient.objects.filter(state="held").update(state="queued")
    settle(1 << 22, customer.id, outcome((1 << 22) + 1, State.BOUNCED))
    assert Body.objects.count() == 0
    assert Attempt.objects.count() == 3


def test_a_deferral_does_not_undo_what_a_person_cancelled_meanwhile() -> None:
    customer = make_customer()
    store.insert_messages([new_message(customer.id)])
    Recipient.objects.update(state="cancelled")
    settle(1 << 22, customer.id, outcome(1 << 22, State.QUEUED), next_attempts={1 << 22: LATER})
    assert Recipient.objects.get().state == "cancelled"
    settle(1 << 22, customer.id, outcome(1 << 22, State.DELIVERED))
    assert Recipient.objects.get().state == "delivered"


def test_what_was_delivered_stays_delivered_when_nothing_more_can_be_written() -> None:
    customer = make_customer()
    new = new_message(customer.id, recipients=2)
    store.insert_messages([new])
    first, second = (row["id"] for row in new.recipients)
    Recipient.objects.filter(id=second).update(state=State.HELD)
    store.mark_delivered([([first, second], NOW)])
    assert list(Recipient.objects.order_by("id").values_list("state", "settled_at", "lease_owner")) == [
        ("delivered", NOW, ""), ("held", None, ""),
    ]  # fmt: skip


def claim(owner: str, now: datetime, limit: int = 10, pools: tuple[str, ...] = ("good", "bad")) -> list[int]:
    return store.claim([store.ClaimRequest(owner, pools, now, limit)])[0].ids


def test_a_lease_belongs_to_one_owner_until_it_ends() -> None:
    customer = make_customer()
    store.insert_messages([new_message(customer.id)])
    assert claim("one", NOW) == [1 << 22]
    assert claim("two", NOW + timedelta(seconds=1)) == []
    assert claim("two", NOW + store.LEASE) == [1 << 22]
    assert Recipient.objects.get().lease_owner == "two"


@pytest.mark.parametrize(("pools", "number"), [(("good",), 1), (("bad",), 0), (("bad", "good"), 1)])
def test_claims_take_only_what_this_node_can_send(pools: tuple[str, ...], number: int) -> None:
    store.insert_messages([new_message(make_customer().id)])
    assert len(claim("one", NOW, pools=pools)) == number


def test_a_customer_with_enough_in_memory_is_passed_over() -> None:
    flooding, other = make_customer(), make_customer()
    store.insert_messages([new_message(flooding.id, 1), new_message(other.id, 2)])
    own = make_message(None, state="queued", recipient={"next_attempt_at": NOW}).recipients.get()
    request = store.ClaimRequest("one", ("good",), NOW, 10, (flooding.id,))
    assert sorted(store.claim([request])[0].ids) == sorted([2 << 22, own.id])


def test_a_claimer_goes_on_behind_what_it_does_not_want(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much of it there is: a claim looks at a bounded number of recipients."""
    monkeypatch.setattr(leases, "LOOK", 3)
    flooding, other = make_customer(), make_customer()
    store.insert_messages([new_message(flooding.id, number) for number in range(1, 9)])
    store.insert_messages([new_message(other.id, 9)])
    request = store.ClaimRequest("one", ("good", "bad"), NOW + timedelta(minutes=1), 10, (flooding.id,))
    found, after = [], []
    for _ in range(4):
        claimed = store.claim([request])[0]
        found.append(claimed.ids)
        after.append(claimed.passed[1] >> 22 if claimed.passed else None)
        request = replace(request, after=claimed.passed)
    assert (found, after) == ([[], [], [9 << 22], []], [4, 8, 8, 8])
    rest = claim("two", NOW + timedelta(minutes=1), pools=("good", "bad"))
    assert sorted(rest) == [n << 22 for n in range(1, 9)]


def test_a_destination_that_has_enough_is_passed_over() -> None:
    customer = make_customer()
    store.insert_messages([new_message(customer.id, 1), new_message(customer.id, 2)])
    Recipient.objects.filter(id=2 << 22).update(domain="other.example")
    request = store.ClaimRequest("one", ("good",), NOW, 10, not_domains=("partner.example",))
    assert store.claim([request])[0].ids == [2 << 22]


def test_what_became_due_just_now_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that began earlier may still put something in front of it."""
    monkeypatch.setattr(leases, "LOOK", 1)
    customer = make_customer()
    store.insert_messages([new_message(customer.id, number) for number in range(1, 4)])
    request = store.ClaimRequest("one", ("good",), NOW + timedelta(seconds=1), 10, (customer.id,))
    assert store.claim([request])[0].passed is None


def test_held_and_settled_mail_is_never_claimed() -> None:
    customer = make_customer()
    for state in ("held", "delivered", "bounced", "cancelled", "expired"):
        make_message(customer, state=state, recipient={"next_attempt_at": NOW})
    assert claim("one", NOW + timedelta(days=1)) == []


def worker(owner: str, slot: int, at: datetime = NOW) -> dict[str, Any]:
    return {"owner": owner, "node": "n", "pid": 1, "slot": slot, "started_at": NOW, "seen_at": at}


def test_a_dead_owner_is_taken_over() -> None:
    store.insert_messages([new_message(make_customer().id)])
    store.take_slot([worker("dead", 0), worker("alive", 1)])
    assert claim("dead", NOW) == [1 << 22]
    assert store.beat([(worker("alive", 1, NOW + timedelta(seconds=2)), ["dead"])]) == [True]
    assert claim("alive", NOW + timedelta(seconds=3)) == [1 << 22]
    assert [(beat.owner, beat.seen_at) for beat in store.beats()] == [("alive", NOW + timedelta(seconds=2))]


def test_who_was_buried_is_told_so() -> None:
    store.take_slot([worker("one", 0)])
    store.bury([(["one"], NOW)])
    assert store.beat([(worker("one", 0), [])]) == [False]
    assert store.beats() == []


def test_a_slot_is_given_once() -> None:
    assert store.take_slot([worker("one", 0), worker("two", 0)]) == [True, False]


def take(customer_id: int, number: int, at: datetime, limit: int = 100) -> int:
    return store.take_tokens([store.RateRequest(customer_id, number, limit, at)])[0]


def test_the_minute_begins_with_its_first_message_and_is_exact() -> None:
    customer = make_customer()
    granted = [take(customer.id, 1, NOW + timedelta(milliseconds=300 * number)) for number in range(150)]
    assert sum(granted) == 100
    assert take(customer.id, 1, NOW + timedelta(seconds=59.9)) == 0
    assert take(customer.id, 1, NOW + timedelta(seconds=60)) == 1


def test_tokens_come_back_and_never_become_credit() -> None:
    customer = make_customer()
    assert take(customer.id, 1, NOW, limit=1) == 1
    take(customer.id, -1, NOW, limit=1)
    take(customer.id, -1, NOW, limit=1)
    assert (take(customer.id, 1, NOW, limit=1), take(customer.id, 1, NOW, limit=1)) == (1, 0)
    assert RateWindow.objects.get().used == 1


def test_a_dead_destination_waits_without_outliving_its_mail() -> None:
    customer = make_customer()
    store.insert_messages([new_message(customer.id, 1), new_message(customer.id, 2)])
    Recipient.objects.filter(id=2 << 22).update(expires_at=NOW + timedelta(minutes=1))
    assert store.postpone_domain([("good", "partner.example", NOW, LATER)]) == [2]
    times = dict(Recipient.objects.values_list("id", "next_attempt_at"))
    assert times == {1 << 22: LATER, 2 << 22: NOW + timedelta(minutes=1)}
    assert store.postpone_domain([("good", "other.example", NOW, LATER)]) == [0]


def test_held_mail_comes_back_only_when_it_has_a_time() -> None:
    customer = make_customer()
    by_rule = make_message(customer, state="held", recipient={"next_attempt_at": NOW}).recipients.get()
    by_person = make_message(customer, state="held").recipients.get()
    assert store.resume_held([NOW]) == [1]
    by_rule.refresh_from_db()
    by_person.refresh_from_db()
    assert (by_rule.state, by_person.state) == ("queued", "held")


@pytest.mark.skipif(
    connection.vendor != "sqlite", reason="on an empty table PostgreSQL scans whatever the index"
)
@pytest.mark.parametrize(
    ("work", "indexes"),
    [
        (lambda: claim("one", NOW), {"recipient_due", "recipient_leased"}),
        (lambda: claim("one", NOW, pools=("good",)), {"recipient_due", "recipient_leased"}),
        (lambda: store.release_leases([("one", NOW)]), {"recipient_leased"}),
        (lambda: store.postpone_domain([("good", "partner.example", NOW, LATER)]), {"recipient_open"}),
        (lambda: store.resume_held([NOW]), {"recipient_held"}),
        (lambda: store.due_held(NOW, 10), {"recipient_held_until"}),
        (lambda: store.read_gauges(NOW), {"recipient_open"}),
    ],
)
def test_the_queue_costs_the_same_however_long_the_log_is(
    work: Callable[[], object], indexes: set[str]
) -> None:
    """Each statement goes along an index of open rows, or looks one up by its key."""
    with CaptureQueriesContext(connection) as captured:
        work()
    with connection.cursor() as cursor:
        plans = [
            row[-1]
            for query in captured
            if "gateway_recipient" in query["sql"]
            for row in cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}").fetchall()
        ]
    used = {plan.rpartition("INDEX ")[2].split()[0] for plan in plans if " INDEX " in plan}
    assert used == indexes
    assert not [plan for plan in plans if plan == "SCAN gateway_recipient"]


def test_one_delay_warning_a_message() -> None:
    message = make_message(make_customer(), state="queued")
    assert store.mark_warned([(message.id, NOW), (message.id, NOW)]) == [True, False]


def test_refusals_of_strangers_are_recorded_but_counted_for_nobody() -> None:
    row = {
        "at": NOW, "stage": "auth", "customer_id": None, "credential_id": None, "username": "x",
        "client_ip": "192.0.2.1", "helo": "h", "sender": "", "recipient": "", "code": 535, "enhanced": "5.7.8",
        "text": "no", "reason": "login", "detail": {},
    }  # fmt: skip
    known = {**row, "customer_id": make_customer().id, "reason": "virus", "sender": "a@acme.example"}
    store.record_refusals([row, known])
    count = HourlyCount.objects.get()
    assert (count.domain, count.refused, count.infected) == ("acme.example", 1, 1)


def test_tls_sessions_are_summed_by_day_and_result() -> None:
    enforced = TlsDemand(TlsLevel.VERIFY, "mta-sts")
    seen = TlsObservation(NOW, "partner.example", "mx.partner.example", "192.0.2.1", enforced, None)
    ruled = TlsDemand(TlsLevel.VERIFY, "rule")
    shadow = TlsObservation(
        NOW, "partner.example", "mx", "192.0.2.1", ruled, None, "certificate-expired", "expired", True, 7
    )
    store.note_tls([[seen, seen], [seen, shadow]])
    store.note_tls([[seen]])
    from gateway.models import TlsCount, TlsShadow

    assert list(TlsCount.objects.values_list("policy_type", "sessions")) == [("sts", 4)]
    assert list(TlsShadow.objects.values_list("message_id", "problem")) == [(7, "expired")]


def test_bars_are_set_once_and_end() -> None:
    gateway = make_gateway()
    store.set_bars(
        [(gateway.id, "partner.example", LATER, "blocked"), (gateway.id, "partner.example", LATER, "again")]
    )
    assert store.end_bars([NOW]) == [0]
    assert store.end_bars([LATER]) == [1]
