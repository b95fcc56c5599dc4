"""Thirty days of three lists and four targets, hour by hour, with restarts: exactly the expected alerts, none twice.

Time is moved, not slept. What happens is in STORY; what people must hear of is in EXPECTED.
"""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core import mail

from blacklist.control import desk, schedules
from blacklist.models import Alert, DelistingTicket, Incident, Listing
from blacklist.rules.tickets import State
from gateway.models import Gateway
from tests.blacklist.lab import add_list
from tests.factories import make_gateway

pytestmark = pytest.mark.django_db
BEGIN = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)  # 05:00 in Berlin; the clocks go forward on 2026-03-29
HOURS = {0, 1, 3, 7, 13, 21, 23}  # of the day; in summer time 05:00 in Berlin is hour 23
G1, IP, NAME = "192.0.2.10", "198.51.100.20", "acme.example"

# day, hour after 05:00, what happens
STORY = [
    (2, 1, lambda lab: lab.put("major.lab", IP)),
    (
        2,
        2,
        lambda lab: lab.ways.update({"minor.lab": "wild"}),
    ),  # a list dies for two days: nobody hears of it
    (4, 2, lambda lab: lab.ways.pop("minor.lab")),
    (6, 1, lambda lab: lab.put("major.lab", IP, "127.0.0.2", "127.0.0.4")),  # a second reason
    (8, 1, lambda lab: lab.take("major.lab", IP)),
    (9, 1, lambda lab: lab.put("zen.lab", G1)),
    (10, 2, lambda lab: lab.ways.update({"zen.lab": "public"})),  # unknown: nothing closes
    (10, 20, lambda lab: lab.ways.pop("zen.lab")),
    (11, 1, lambda lab: lab.take("zen.lab", G1)),
    (12, 1, lambda lab: lab.put("major.lab", IP)),  # back within 14 days
    (13, 1, lambda lab: lab.put("minor.lab", NAME, "127.0.1.2")),
    (13, 12, lambda lab: lab.take("major.lab", IP)),
    (22, 1, lambda lab: lab.take("minor.lab", NAME)),
    (27, 1, lambda lab: lab.put("whole.lab", G1)),  # a list of whole providers: nobody hears of it
    (28, 1, lambda lab: lab.put("major.lab", IP)),  # back after 15 days: a new story
]
EXPECTED = [
    # seen at the next 05:00 (day, hour 0) or by the two-hourly look at open tickets
    (3, IP, "major", "listed"),
    (6, IP, "major", "still_listed"),  # three days
    (6, IP, "major", "new_code"),
    (8, IP, "major", "delisted"),
    (10, G1, "zen", "listed"),
    (11, G1, "zen", "delisted"),
    (13, IP, "major", "relisted"),
    (13, IP, "major", "delisted"),
    (14, NAME, "minor", "listed"),
    (21, NAME, "minor", "still_listed"),  # seven days
    (22, NAME, "minor", "delisted"),
    (28, IP, "major", "listed"),  # since the clocks went forward, 05:00 in Berlin is 23 hours after "hour 0"
]


@pytest.fixture
def world(lab, acme):
    acme.alert_email = "ops@acme.example"
    acme.save()
    make_gateway("mta01", source_ip=G1, hostname="mta01")
    make_gateway("mta02", source_ip="192.0.2.11", hostname="mta02")
    add_list(lab, "zen", severity="critical")
    add_list(lab, "major")
    add_list(lab, "minor", severity="minor", kind="domain")
    add_list(
        lab, "whole", severity="informational", removal_method="contact-isp", request_policy="provider-only"
    )
    from blacklist.control.targets import apply_targets

    apply_targets([{"value": IP, "customer": "acme"}, {"value": NAME, "role": "domain", "customer": "acme"}])
    return lab


def live(lab, clock, days=30, kill_at=frozenset()):
    """As the scheduler would: the daily check at 05:00 Berlin, open tickets in odd hours, housekeeping; every hour in
    which something is due or happens, and some of the others."""
    story = sorted(STORY, key=lambda event: event[:2])
    told = -1
    eventful = {day * 24 + hour for day, hour, _ in STORY} | kill_at
    for hour in range(days * 24):
        if hour % 24 not in HOURS and hour not in eventful:
            continue
        clock.move_to(BEGIN + timedelta(hours=hour, seconds=10))
        while story and timedelta(days=story[0][0], hours=story[0][1]) <= timedelta(hours=hour):
            story.pop(0)[2](lab)
        if hour in kill_at:
            killed(lab, hour)
        slot = schedules.slot_of(datetime.now(UTC))
        if slot.timestamp() != told and schedules.daily(lab.options()) is not None:
            told = slot.timestamp()
        if hour % 2:
            schedules.recheck_open(lab.options())
        schedules.housekeeping(lab.options())


def killed(lab, hour):
    """The hour's check dies in mid-run; what it had written is all that stays."""
    original, budget = lab.address, [3 + hour % 5]

    async def dies(name):
        budget[0] -= 1
        if budget[0] < 0:
            raise SystemExit
        return await original(name)

    lab.address = dies
    for check in (schedules.daily, schedules.recheck_open):
        with contextlib.suppress(BaseException):
            check(lab.options())
    lab.address = original


def heard():
    rows = []
    for alert in Alert.objects.order_by("id").select_related("listing__target", "listing__provider"):
        day = (alert.at - BEGIN).days
        rows.append((day, alert.listing.target.value, alert.listing.provider.slug, alert.kind))
    return rows


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "kill_at",
    [frozenset(), frozenset({72, 75, 144, 145, 240, 265, 311, 312, 336, 531, 695})],
    ids=["calm", "killed"],
)
def test_exactly_the_expected_alerts(world, kill_at):
    with time_machine.travel(BEGIN, tick=False) as clock:
        live(world, clock, kill_at=kill_at)
    assert heard() == EXPECTED
    assert not Alert.objects.filter(mailed_at__isnull=True).exists()
    check_tickets()
    check_incidents()
    check_mails()
    assert not Gateway.objects.get(name="mta01").drained_at


def check_tickets():
    states = [
        (t.listing.target.value, t.listing.provider.slug, t.state)
        for t in DelistingTicket.objects.order_by("id")
    ]
    assert states == [
        (IP, "major", "closed"), (G1, "zen", "closed"), (NAME, "minor", "closed"), (IP, "major", "open"),
    ]  # fmt: skip
    first = DelistingTicket.objects.earliest("id")
    assert first.listing.times_listed == 2  # the return of day 12 continued it, the one of day 28 did not


def check_incidents():
    """IP: days 3, 13 and 28; the gateway: 10 and (the list of whole providers) 28; the domain: 14."""
    assert Incident.objects.count() == 6
    assert not Listing.objects.filter(incident__isnull=True).exists()
    assert Incident.objects.filter(closed_at__isnull=True).count() == 2


def check_mails():
    """The minor ones wait for the daily mail; everything of one run and target is one mail; the
    gateway's listing is not ACME's business, because none of its mail went that way."""
    to_customer = [one.subject for one in mail.outbox if one.to == ["ops@acme.example"]]
    to_support = [one.subject for one in mail.outbox if one.to != ["ops@acme.example"]]
    health = [subject for subject in to_support if "without a result" in subject]
    assert len(health) == 2  # each list that turned bad is told once
    assert len(to_support) - len(health) == len(EXPECTED)
    assert len(to_customer) == len(EXPECTED) - 2
    assert len([subject for subject in to_customer if NAME in subject]) == 3


def test_the_gateway_rests_exactly_while_it_is_listed(world):
    seen = []
    with time_machine.travel(BEGIN, tick=False) as clock:
        for day, event in enumerate(
            [lambda: None, lambda: world.put("zen.lab", G1), lambda: world.take("zen.lab", G1)]
        ):
            event()
            clock.move_to(BEGIN + timedelta(days=day, seconds=10))
            schedules.daily(world.options())
            seen.append(bool(Gateway.objects.get(name="mta01").drained_at))
    assert seen == [False, True, False]


def test_support_can_leave_a_listing_alone_until_a_date(world):
    with time_machine.travel(BEGIN, tick=False) as clock:
        world.put("major.lab", IP)
        schedules.daily(world.options())
        ticket = DelistingTicket.objects.get()
        until = datetime.now(UTC) + timedelta(days=5)
        desk.accept_risk(ticket, until=until, reason="the customer moves next week", actor="sam@smg.example")
        for day in range(1, 7):
            clock.move_to(BEGIN + timedelta(days=day, seconds=20))
            schedules.housekeeping(world.options())
            ticket.refresh_from_db()
            assert (ticket.state == State.ACCEPTED_RISK) is (day <= 5 and datetime.now(UTC) < until)
        assert ticket.state == State.INVESTIGATING
