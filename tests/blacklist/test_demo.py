"""The demo's lists in memory: every list proves itself, trouble is unknown, and nothing leaves the machine."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from blacklist.control import demo, runs
from blacklist.control.adhoc import check_one
from blacklist.control.providers import askable, ensure_providers
from blacklist.models import CheckRun, Listing, Result
from blacklist.rules.types import Outcome
from gateway.config import Endpoint
from tests.blacklist.lab import add_list

pytestmark = pytest.mark.django_db


@pytest.fixture
def in_demo(settings):
    settings.SMG = replace(settings.SMG, demo=True, nameservers=(), dnsbl_nameservers=())
    return settings


def ask(name: str, days_ago: int = 0):
    return asyncio.run(demo.DemoLists(days_ago).address(name))


def by_list(target: str) -> dict[str, str]:
    rows = check_one(target, None, runs.manual_options())
    return {row.provider: row.status for row in rows if not row.reason.startswith("not asked")}


def test_every_list_but_those_in_trouble_is_proven(in_demo, watch):
    watch("192.0.2.77", "gateway")
    watch("2001:db8::77", "gateway")
    watch("clean.example", "domain")
    run = runs.start(CheckRun.Kind.MANUAL, actor="test", options=runs.manual_options())
    assert {slug for slug, row in run.lists.items() if row["canary"]} == set(demo.TROUBLE)
    assert set(run.lists) == {provider.slug for provider in askable()[0]}
    assert set(Result.objects.values_list("status", flat=True)) == {"not_listed", "provider_error", "timeout"}


@pytest.mark.parametrize(
    ("target", "listed"),
    [
        (demo.MTA01, {"uceprotect-3"}),
        (demo.MTA02, {"uceprotect-3", "mailspike-bl"}),
        (demo.ACME_OFFICE, {"spamhaus-zen", "blocklist-de"}),
        (demo.NEWS, {"nordspam-domain"}),
        (f"www.{demo.NEWS}", {"nordspam-domain"}),
        (demo.ACME_SIX, set()),
        ("acme.example", set()),
    ],
)
def test_what_is_listed_at_last(in_demo, target, listed):
    assert {slug for slug, status in by_list(target).items() if status == "listed"} == listed


def test_trouble_is_unknown_not_clean(in_demo):
    assert by_list("acme.example")["uribl-multi"] == "provider_error"
    assert by_list("192.0.2.77")["swinog-dnsrbl"] == "timeout"


@pytest.mark.parametrize(("days_ago", "there"), [(3, False), (2, True), (1, True), (0, False)])
def test_a_listing_comes_and_goes(days_ago, there):
    answer = ask(f"{demo.NEWS}.multi.surbl.org", days_ago)
    assert (answer.outcome is Outcome.RECORDS) is there


def test_a_listing_may_come_back():
    name = "25.100.51.198.bl.blocklist.de"
    assert [ask(name, day).outcome is Outcome.RECORDS for day in (10, 9, 8, 2, 1, 0)] == [
        False, True, False, False, True, True,
    ]  # fmt: skip


def test_a_list_that_somebody_adds_can_be_asked(in_demo, lab):
    ensure_providers()
    add_list(lab, "own", "bl.own.example")
    assert by_list("192.0.2.77")["own"] == "not_listed"


def test_a_named_resolver_is_asked_instead(in_demo):
    assert demo.is_on()
    in_demo.SMG = replace(in_demo.SMG, dnsbl_nameservers=(Endpoint("127.0.0.1", 5353),))
    assert not demo.is_on()
    assert runs.manual_options().confirm_after_s == runs.CONFIRM_AFTER_S
    in_demo.SMG = replace(in_demo.SMG, demo=False, dnsbl_nameservers=())
    assert not demo.is_on()


def test_the_clock_run_works_and_is_stable(in_demo, watch):
    watch(demo.MTA02, "gateway")
    for _ in range(2):
        options = replace(runs.scheduled_options(), resolver=None)
        runs.start(CheckRun.Kind.MANUAL, actor="test", options=options)
    assert list(Listing.objects.order_by("provider__slug").values_list("provider__slug", "delisted_at")) == [
        ("mailspike-bl", None), ("uceprotect-3", None),
    ]  # fmt: skip


def test_the_story_names_lists_and_targets_that_exist():
    assert {entry.slug for entry in demo.STORY} | set(demo.TROUBLE) <= set(demo.zones().values())
