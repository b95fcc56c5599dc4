"""A check from beginning to end: what counts, what is confirmed, what survives a kill."""

import threading
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from blacklist.control import runs, schedules
from blacklist.control.lease import RunBusy, hold_lease
from blacklist.models import Alert, CheckRun, DelistingTicket, Listing, Provider, Result, RunLease
from blacklist.rules.types import Answer, Outcome
from tests.blacklist.lab import add_list, records

pytestmark = pytest.mark.django_db


def check(lab, kind="manual", **changes):
    return runs.start(kind, actor="test", options=lab.options(**changes))


def statuses(run):
    return {
        (r.target.value, r.provider.slug): r.status
        for r in Result.objects.filter(run=run).select_related("target", "provider")
    }


def test_a_hit_opens_a_listing_a_ticket_and_an_alert(lab, watch):
    add_list(lab, "one")
    watch("192.0.2.10")
    lab.put("one.lab", "192.0.2.10", text="spam seen")
    run = check(lab)
    listing = Listing.objects.get()
    assert statuses(run) == {("192.0.2.10", "one"): "listed"}
    assert (listing.codes, listing.labels, listing.severity) == (["127.0.0.2"], ["spam"], "major")
    assert (listing.reason, listing.raw) == ("spam seen", ["127.0.0.2"])
    assert listing.ticket.state == "open"
    assert [alert.kind for alert in Alert.objects.all()] == ["listed"]
    assert run.phase == "finished"
    assert run.counts == {"listed": 1}


@pytest.mark.parametrize(
    ("way", "status"),
    [
        ("wild", "dead_list"), ("parked", "dead_list"), ("empty", "dead_list"), ("stripped", "dead_list"),
        ("public", "provider_error"), ("refused", "provider_error"), ("servfail", "provider_error"),
        ("silent", "timeout"),
    ],
)  # fmt: skip
def test_a_list_that_is_not_proven_says_nothing(lab, watch, way, status):
    """No false alarm, no false clean: one target really is listed, one is not, and neither is told."""
    add_list(lab, "one")
    lab.ways["one.lab"] = way
    for value in ("192.0.2.10", "198.51.100.10"):
        watch(value)
    lab.put("one.lab", "192.0.2.10")
    run = check(lab)
    assert set(statuses(run).values()) == {status}
    assert not Listing.objects.exists()
    assert all(result.reason for result in Result.objects.all())
    assert Provider.objects.get(slug="one").health == status


def test_unknown_never_closes_what_is_open(lab, watch):
    add_list(lab, "one")
    watch("192.0.2.10")
    lab.put("one.lab", "192.0.2.10")
    check(lab)
    lab.take("one.lab", "192.0.2.10")
    for way in ("wild", "parked", "empty", "public", "silent"):
        lab.ways["one.lab"] = way
        check(lab)
    listing = Listing.objects.get()
    assert listing.is_open
    assert Alert.objects.count() == 1
    assert listing.ticket.state == "open"


def test_both_questions_must_agree(lab, watch):
    add_list(lab, "one")
    watch("192.0.2.10")
    lab.once["10.2.0.192.one.lab"] = [records("127.0.0.2")]  # once listed, then not
    run = check(lab)
    result = Result.objects.get(run=run)
    assert result.status == "provider_error"
    assert "differently" in result.reason
    assert not Listing.objects.exists()


def test_a_delisting_must_be_said_twice(lab, watch):
    add_list(lab, "one")
    watch("192.0.2.10")
    lab.put("one.lab", "192.0.2.10")
    check(lab)
    lab.once["10.2.0.192.one.lab"] = [Answer(Outcome.NXDOMAIN)]
    check(lab)
    assert Listing.objects.get().is_open
    lab.take("one.lab", "192.0.2.10")
    check(lab)
    assert not Listing.objects.get().is_open
    assert [alert.kind for alert in Alert.objects.order_by("id")] == ["listed", "delisted"]


def test_a_list_that_turns_into_a_wildcard_in_mid_run_is_void(lab, watch):
    """Every answer before the turn is thrown away: nobody knows when it happened."""
    add_list(lab, "one")
    for number in range(3):
        watch(f"192.0.{number}.10")
    lab.once["1.0.0.127.one.lab"] = [Answer(Outcome.NXDOMAIN), records("127.0.0.2")]  # before, after
    run = check(lab)
    assert set(statuses(run).values()) == {"dead_list"}


def test_a_list_that_goes_blank_in_mid_run_is_no_false_clean(lab, watch):
    """Rate limits that answer NXDOMAIN instead of an error: the second test entry catches them."""
    add_list(lab, "one")
    watch("192.0.2.10")
    lab.once["2.0.0.127.one.lab"] = [records("127.0.0.2"), Answer(Outcome.NXDOMAIN)]
    assert set(statuses(check(lab)).values()) == {"dead_list"}


def test_an_error_code_stops_the_asking(lab, watch):
    add_list(lab, "one")
    for number in range(40):
        watch(f"192.0.{number}.10")
    lab.limits["one.lab"] = 7  # two test entries, five targets
    run = check(lab)
    found = list(statuses(run).values())
    assert found.count("not_listed") == 5  # proven before the limit
    assert found.count("provider_error") == 35
    assert len(lab.asked("one.lab")) < 20


def test_five_failures_in_a_row_stop_the_asking(lab, watch):
    add_list(lab, "one")
    for number in range(40):
        watch(f"192.0.{number}.10")
        lab.once[f"10.{number}.0.192.one.lab"] = [Answer(Outcome.TIMEOUT)] * 2
    run = check(lab)
    assert "not_listed" not in statuses(run).values()
    assert len(lab.asked("one.lab")) < 20


def test_a_list_that_suddenly_lists_everybody_is_broken(lab, watch):
    add_list(lab, "one")
    for number in range(6):
        watch(f"192.0.{number}.10")
    watch("192.0.0.11")
    lab.put("one.lab", "192.0.0.11")
    check(lab)  # one of seven: believed
    for number in range(6):
        lab.put("one.lab", f"192.0.{number}.10")
    run = check(lab)
    assert sorted(statuses(run).values()) == ["dead_list"] * 6 + ["listed"]
    assert Listing.objects.get().is_open  # what was listed before stays
    assert Alert.objects.count() == 1


def test_neighbours_are_not_the_world(lab, watch):
    add_list(lab, "one")
    for number in range(8):
        watch(f"192.0.2.{number + 10}")
        lab.put("one.lab", f"192.0.2.{number + 10}")
    check(lab)
    assert Listing.objects.count() == 8


def test_ipv6_is_proven_apart_from_ipv4(lab, watch):
    """The IPv6 half of a list may be missing; that says nothing about its IPv4 half."""
    add_list(lab, "one")
    watch("192.0.2.10")
    watch("2001:db8::10")
    lab.put("one.lab", "192.0.2.10")
    lab.once["2.0.0.0.0.0.f.7.f.f.f.f" + ".0" * 20 + ".one.lab"] = [Answer(Outcome.NXDOMAIN)] * 2
    found = statuses(check(lab))
    assert found == {("192.0.2.10", "one"): "listed", ("2001:db8::10", "one"): "dead_list"}


def test_kinds_are_never_mixed(lab, watch):
    add_list(lab, "addresses", kind="ip4")
    add_list(lab, "names", kind="domain")
    watch("192.0.2.10")
    watch("2001:db8::10")
    watch("acme.example", "domain")
    assert set(statuses(check(lab))) == {("192.0.2.10", "addresses"), ("acme.example", "names")}


def test_a_subdomain_and_its_owner_are_asked_but_never_the_suffix(lab, watch):
    add_list(lab, "names", kind="domain")
    watch("mail.acme.co.uk", "domain")
    watch("news.acme.co.uk", "domain")
    lab.put("names.lab", "acme.co.uk", "127.0.1.2", text="seen")
    check(lab)
    asked = lab.asked("names.lab")
    assert "co.uk" not in asked
    assert {"mail.acme.co.uk", "news.acme.co.uk", "acme.co.uk"} <= set(asked)
    assert Listing.objects.count() == 2
    assert Listing.objects.first().reason == "acme.co.uk: seen"


def test_shared_names_are_asked_once(lab, watch):
    add_list(lab, "names", kind="domain")
    for name in ("mail.acme.co.uk", "news.acme.co.uk", "shop.acme.co.uk"):
        watch(name, "domain")
    run = check(lab)
    assert len(set(statuses(run).values())) == 1
    assert lab.asked("names.lab").count("acme.co.uk") <= 3  # the four in flight may meet; later ones know


def test_idn_targets_are_asked_in_ascii(lab, watch):
    add_list(lab, "names", kind="domain")
    watch("müller.example", "domain")
    lab.put("names.lab", "xn--mller-kva.example", "127.0.1.2")
    check(lab)
    assert Listing.objects.get().target.value == "xn--mller-kva.example"


def test_a_run_that_was_killed_asks_only_what_is_missing(lab, watch, monkeypatch):
    monkeypatch.setattr("blacklist.control.recorder.BATCH", 3)
    add_list(lab, "one")
    for number in range(30):
        watch(f"192.0.{number}.10")
    lab.put("one.lab", "192.0.7.10")

    class Killed(Exception):
        pass

    original, count = lab.address, 0

    async def dies(name):
        nonlocal count
        count += 1
        if count > 15:
            raise Killed
        return await original(name)

    lab.address = dies
    with pytest.raises(BaseException) as error:
        check(lab)
    assert "Killed" in repr(error.value)
    run = CheckRun.objects.get()
    written = set(Result.objects.filter(run=run).values_list("target__value", flat=True))
    run.refresh_from_db()
    assert run.is_running
    lab.address, lab.questions = original, []
    again = check(lab)
    assert again.pk == run.pk  # the same run, taken up
    assert Result.objects.filter(run=run).count() == 30
    new = [name for name in lab.asked("one.lab") if not name.endswith(".0.0.127")]
    assert len(written) >= 3
    missing = {f"192.0.{number}.10" for number in range(30)} - written
    asked_again = {".".join(reversed(name.split("."))) for name in new} - {
        "192.0.7.10"
    }  # the hit is asked twice
    assert asked_again == missing - {"192.0.7.10"}
    assert Alert.objects.count() == 1


def test_results_written_before_a_kill_are_not_asked_again(lab, watch):
    """Three batches are in the database, the process is gone, the next one goes on from there."""
    provider = add_list(lab, "one")
    for number in range(10):
        watch(f"192.0.{number}.10")
    run = CheckRun.objects.create(kind="daily", started_at=timezone.now())
    from blacklist.models import Target

    for target in Target.objects.all()[:6]:
        Result.objects.create(
            run=run, target=target, provider=provider, status="not_listed", at=timezone.now()
        )
    check(lab)
    asked = [name for name in lab.asked("one.lab") if not name.endswith("0.0.127")]
    assert len(asked) == 4
    run.refresh_from_db()
    assert (run.phase, run.done, run.total) == ("finished", 10, 10)


def test_a_kill_after_the_last_question_still_needs_the_proof(lab, watch):
    """All answers were written, the test entries were not asked again: a dead list would look clean."""
    provider = add_list(lab, "one")
    watch("192.0.2.10")
    run = CheckRun.objects.create(kind="daily", started_at=timezone.now())
    from blacklist.models import Target

    Result.objects.create(
        run=run, target=Target.objects.get(), provider=provider, status="not_listed", at=timezone.now()
    )
    lab.ways["one.lab"] = "wild"
    check(lab)
    assert Result.objects.get(run=run).status == "dead_list"


@pytest.mark.parametrize("phase", ["confirming", "telling"])
def test_a_run_killed_in_a_later_phase_tells_once(lab, watch, phase, monkeypatch):
    add_list(lab, "one")
    watch("192.0.2.10")
    lab.put("one.lab", "192.0.2.10")
    broken = {
        "confirming": "blacklist.control.confirm.to_confirm",
        "telling": "blacklist.control.alerts.send_due",
    }[phase]
    with monkeypatch.context() as patch:
        patch.setattr(broken, lambda *_a, **_k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            check(lab)
    assert CheckRun.objects.get().phase == phase
    check(lab)
    assert Alert.objects.count() == 1
    assert DelistingTicket.objects.count() == 1
    assert Alert.objects.get().mailed_at


def test_an_old_wreck_is_given_up(lab, watch):
    add_list(lab, "one")
    watch("192.0.2.10")
    wreck = CheckRun.objects.create(kind="daily", started_at=timezone.now() - timedelta(hours=13))
    run = check(lab)
    wreck.refresh_from_db()
    assert wreck.phase == "abandoned"
    assert run.pk != wreck.pk


def test_one_run_at_a_time(lab, watch):
    add_list(lab, "one")
    with hold_lease(), pytest.raises(RunBusy, match="is running"):
        check(lab)
    assert schedules.daily(lab.options()) is not None  # free again


def test_the_lease_of_a_dead_process_is_taken_over(lab):
    import socket
    import subprocess

    gone = subprocess.Popen(["true"])
    gone.wait()
    RunLease.objects.create(
        id=1, owner=f"{socket.gethostname()}:{gone.pid}:x", until=timezone.now() + timedelta(hours=1)
    )
    with hold_lease():
        pass


def test_the_lease_of_another_node_ends_by_itself():
    RunLease.objects.create(id=1, owner="elsewhere:1:x", until=timezone.now() + timedelta(seconds=60))
    with pytest.raises(RunBusy), hold_lease():
        pass
    with time_machine.travel(timezone.now() + timedelta(seconds=61)), hold_lease():
        pass


def test_the_second_question_waits_a_minute_and_beyond_the_ttl(lab, watch):
    add_list(lab, "one")
    watch("192.0.2.10")
    lab.put("one.lab", "192.0.2.10")
    lab.ttl_s = 300
    with time_machine.travel("2026-03-01 04:00:00+00:00", tick=False) as clock:
        waited = []

        def wait(seconds):
            waited.append(seconds)
            clock.shift(seconds)

        check(lab, confirm_after_s=60.0, wait=wait)
        assert sum(waited) == 301
        lab.ttl_s = 5
        lab.put("one.lab", "192.0.2.10", "127.0.0.2", "127.0.0.4")
        waited.clear()
        check(lab, confirm_after_s=60.0, wait=wait)
        assert sum(waited) == 60
        lab.ttl_s = 86400
        lab.put("one.lab", "192.0.2.10", "127.0.0.4")
        waited.clear()
        check(lab, confirm_after_s=60.0, confirm_latest_s=900.0, wait=wait)
        assert sum(waited) == 900


def test_the_daily_check_runs_once_for_each_five_o_clock(lab, watch):
    add_list(lab, "one")
    with time_machine.travel("2026-03-01 04:00:10+00:00", tick=False) as clock:
        first = schedules.daily(lab.options())
        assert first is not None
        assert schedules.daily(lab.options()) is None  # a second node, or a second try
        clock.move_to("2026-03-05 09:00:00+00:00")  # four days down: one run, not four
        second = schedules.daily(lab.options())
        assert second not in (None, first)
        assert schedules.daily(lab.options()) is None
    assert CheckRun.objects.count() == 2


@pytest.mark.parametrize(
    ("now", "slot"),
    [
        ("2026-03-28 04:30", "2026-03-28 04:00"),  # winter: 05:00 is 04:00 UTC
        ("2026-03-29 03:30", "2026-03-29 03:00"),  # the night the clocks went forward
        ("2026-10-25 03:59", "2026-10-24 03:00"),  # the night they went back: 05:00 is 04:00 UTC again
        ("2026-10-25 04:00", "2026-10-25 04:00"),
    ],
)
def test_five_o_clock_is_five_o_clock_in_berlin(now, slot):
    from datetime import UTC, datetime

    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert schedules.slot_of(at).astimezone(UTC) == datetime.fromisoformat(slot).replace(tzinfo=UTC)


def test_failed_lists_get_one_more_chance_half_an_hour_later(lab, watch):
    add_list(lab, "one")
    add_list(lab, "two")
    watch("192.0.2.10")
    lab.put("one.lab", "192.0.2.10")
    lab.ways["one.lab"] = "silent"
    with time_machine.travel("2026-03-01 04:00:10+00:00", tick=False) as clock:
        schedules.daily(lab.options())
        lab.ways.clear()
        assert schedules.retry_due(lab.options()) == 0
        clock.shift(timedelta(minutes=31))
        lab.questions.clear()
        assert schedules.retry_due(lab.options()) == 1
        assert not lab.asked("two.lab")
        assert Listing.objects.count() == 1
        clock.shift(timedelta(minutes=31))
        assert schedules.retry_due(lab.options()) == 0


def test_keyed_twins_replace_the_public_zone(lab, watch):
    add_list(lab, "spamhaus-zen")
    add_list(lab, "spamhaus-zen-dqs", zone="{key}.dq.lab", key="SECRETKEY", needs_key="yes")
    lab.lists["secretkey.dq.lab"] = {}
    watch("192.0.2.10")
    found = statuses(check(lab))
    assert found == {("192.0.2.10", "spamhaus-zen-dqs"): "not_listed"}


def test_old_results_are_forgotten_listings_are_not(lab, watch):
    add_list(lab, "one")
    watch("192.0.2.10")
    lab.put("one.lab", "192.0.2.10")
    with time_machine.travel("2026-03-01 04:00:10+00:00", tick=False) as clock:
        old = check(lab)
        clock.shift(timedelta(days=9))
        check(lab)
    assert not Result.objects.filter(run=old).exists()
    assert Listing.objects.exists()


def test_the_probe_thread_ends_with_the_run(lab, watch):
    add_list(lab, "one")
    watch("192.0.2.10")
    check(lab)
    assert not [thread for thread in threading.enumerate() if thread.name == "blacklist-probe"]
