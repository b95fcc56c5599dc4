"""Remote replies that name a list or a reputation system."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from blacklist.control import ensure_schedules, on_event, report_reply, runs, schedules
from blacklist.control.providers import ensure_providers
from blacklist.models import Alert, DelistingTicket, Listing, Provider
from tests.blacklist.lab import add_list
from tests.factories import make_attempt, make_gateway, make_message

pytestmark = pytest.mark.django_db


@pytest.fixture
def gateway(db):
    return make_gateway("mta01", source_ip="192.0.2.10")


def say(text, gateway="mta01"):
    return report_reply(gateway, "mx.example.org", text, timezone.now())


def test_systems_without_dns_are_believed(gateway):
    listing = say("554 5.7.0 blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.10")
    assert (listing.provider.slug, listing.severity, listing.source) == ("proofpoint-pdr", "major", "reply")
    assert listing.ticket.state == "open"
    assert [alert.kind for alert in Alert.objects.all()] == ["listed"]
    assert say("554 5.7.0 blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.10").pk == listing.pk
    assert Alert.objects.count() == 1


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("550 5.7.606 Access denied, banned sending IP [192.0.2.10]", "microsoft"),
        ("554 IP=192.0.2.10 - A problem occurred. Ask your postmaster for help (NOWL)", "t-online"),
        (
            "554 Transaction failed, see https://postmaster.gmx.net/en/error-messages?ip=192.0.2.10",
            "united-internet",
        ),
        ("550 5.7.1 192.0.2.10 http://csi.cloudmark.com/reset-request/", "cloudmark-csi"),
        ("550 rbl.securence.com 192.0.2.10", "securence"),
    ],
)
def test_all_of_them_open_the_same_listings(gateway, text, slug):
    assert say(text).provider.slug == slug


def test_a_list_that_can_be_asked_is_only_suspected(gateway, lab):
    add_list(lab, "zen", severity="critical")
    listing = say("550 192.0.2.10 blocked using zen.lab")
    assert (listing.is_confirmed, listing.ticket.state) == (False, "detected")
    assert not Alert.objects.exists()
    lab.put("zen.lab", "192.0.2.10")
    schedules.recheck_open(lab.options())
    listing.refresh_from_db()
    assert listing.is_confirmed
    assert DelistingTicket.objects.get().state == "open"
    assert Alert.objects.get().kind == "listed"


def test_a_false_claim_is_dropped_without_a_word(gateway, lab):
    add_list(lab, "zen", severity="critical")
    say("550 192.0.2.10 blocked using zen.lab")
    schedules.recheck_open(lab.options())
    assert DelistingTicket.objects.get().state == "dropped"
    assert not Alert.objects.exists()
    assert not Listing.objects.filter(delisted_at__isnull=True).exists()


@pytest.mark.parametrize(
    "text",
    [
        "550 192.0.2.10 listed at dnsbl.sorbs.net",  # dead: the receiver is outdated
        "554 203.0.113.9 blocked - see https://ipcheck.proofpoint.com/",  # somebody else's address
        "550 5.1.1 no such user",
        "",
    ],
)
def test_what_opens_nothing(gateway, text):
    assert say(text) is None
    assert not Listing.objects.exists()


def test_systems_without_dns_are_known_whatever_lists_are_loaded(gateway, lab):
    add_list(lab, "zen")
    assert (
        say("554 IP=192.0.2.10 - A problem occurred. Ask your postmaster for help (NOWL)").provider.slug
        == "t-online"
    )


def test_unknown_gateways_are_ignored(gateway):
    assert say("blocked by ipcheck.proofpoint.com", gateway="nobody") is None


def test_deliveries_are_read_once_and_the_clock_asks_at_once(gateway, lab, acme, monkeypatch):
    add_list(lab, "zen", severity="critical")
    lab.put("zen.lab", "192.0.2.10")
    monkeypatch.setattr(runs, "manual_options", lab.options)
    recipient = make_message(acme).recipients.get()
    make_attempt(
        recipient, gateway=gateway, code=550, text="192.0.2.10 blocked using zen.lab", state="queued"
    )
    make_attempt(recipient, gateway=gateway, code=250, text="ok zen.lab")
    schedules.read_replies()
    assert Listing.objects.get().is_confirmed
    asked = len(lab.questions)
    schedules.read_replies()
    assert len(lab.questions) == asked


def test_an_old_reply_does_not_open_what_was_found_clean_since(gateway, lab, acme, monkeypatch):
    add_list(lab, "zen")
    monkeypatch.setattr(runs, "manual_options", lab.options)
    make_attempt(
        make_message(acme).recipients.get(),
        gateway=gateway,
        code=550,
        text="192.0.2.10 blocked using zen.lab",
    )
    schedules.read_replies()
    assert DelistingTicket.objects.get().state == "dropped"
    schedules.read_replies()  # reads the last two minutes again
    assert DelistingTicket.objects.count() == 1
    assert DelistingTicket.objects.get().state == "dropped"


def test_a_long_log_is_read_on_from_where_it_was(gateway, acme, monkeypatch):
    from blacklist.control.replies import scan_attempts
    from blacklist.models import BlacklistSettings

    monkeypatch.setattr("blacklist.control.replies.BATCH", 2)
    recipient = make_message(acme).recipients.get()
    long_ago = timezone.now() - timedelta(hours=1)
    texts = ["busy", "busy", "busy", "see https://ipcheck.proofpoint.com/?ip=192.0.2.10"]
    last = [make_attempt(recipient, gateway=gateway, code=450, text=text, at=long_ago) for text in texts][-1]
    assert [scan_attempts() for _ in range(3)] == [0, 1, 0]
    assert BlacklistSettings.load().last_attempt == last.pk


def test_a_listing_from_replies_ends_when_nobody_names_it_any_more(gateway):
    with time_machine.travel("2026-03-01 05:00+00:00", tick=False) as clock:
        say("554 blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.10")
        clock.shift(timedelta(days=2))
        say("554 blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.10")
        clock.shift(timedelta(days=2))
        schedules.housekeeping()
        assert Listing.objects.get().is_open
        clock.shift(timedelta(days=2))
        schedules.housekeeping()
        assert not Listing.objects.get().is_open
    assert [alert.kind for alert in Alert.objects.order_by("id")] == ["listed", "delisted"]


def test_listeners_hear_of_alerts_after_the_commit(gateway, django_capture_on_commit_callbacks):
    heard = []

    @on_event
    def listener(kind, payload):
        heard.append(
            (kind, payload["target"], payload["provider"], payload["alert"])
            if "alert" in payload
            else (kind,)
        )

    @on_event
    def broken(kind, payload):
        raise RuntimeError("somebody else's fault")

    with django_capture_on_commit_callbacks(execute=True):
        say("554 blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.10")
    from blacklist.control import events

    events._listeners.remove(listener)
    events._listeners.remove(broken)
    assert ("ip_listed", "192.0.2.10", "proofpoint-pdr", "listed") in heard


def test_the_shipped_set_is_loaded_once():
    assert ensure_providers() == 87
    assert ensure_providers() == 0
    assert not Provider.objects.filter(enabled=True, needs_key=True).exists()
    assert not Provider.objects.filter(enabled=True).exclude(known="active").exists()
    assert Provider.objects.get(slug="spamhaus-zen").enabled


def test_the_clock_is_set_once_and_corrected():
    from django_q.models import Schedule

    ensure_schedules()
    ensure_schedules()
    daily = Schedule.objects.get(name="blacklist: daily check")
    assert (daily.cron, daily.func) == ("0 5 * * *", "blacklist.control.schedules.daily")
    assert Schedule.objects.filter(name__startswith="blacklist:").count() == 4
    assert timezone.localtime(daily.next_run).hour == 5
    Schedule.objects.filter(pk=daily.pk).update(cron="0 6 * * *")
    ensure_schedules()
    daily.refresh_from_db()
    assert daily.cron == "0 5 * * *"


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-03-29 00:30+00:00", "2026-03-29 03:00+00:00"),
        ("2026-10-25 00:30+00:00", "2026-10-25 04:00+00:00"),
    ],
)
def test_five_o_clock_survives_both_clock_changes(now, expected):
    from datetime import datetime

    from django_q.models import Schedule

    with time_machine.travel(now, tick=False):
        ensure_schedules()
        assert Schedule.objects.get(name="blacklist: daily check").next_run == datetime.fromisoformat(
            expected
        )
