"""What runs by itself: the table is real, the database follows it, and 05:00 is 05:00 in Berlin."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import time_machine
from croniter import croniter
from django.utils.module_loading import import_string
from django_q.models import Schedule

from portal.schedule import JOBS, PREFIX, Job, keep_schedules

BERLIN = ZoneInfo("Europe/Berlin")
DAILY = Job("daily", "portal.schedule.keep_schedules", "0 5 * * *")


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_every_job_can_be_called_without_arguments(job: Job) -> None:
    function = import_string(job.function)
    needed = [each for each in inspect.signature(function).parameters.values() if each.default is each.empty]
    assert [each.name for each in needed if each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}] == []
    assert croniter.is_valid(job.cron)


@pytest.mark.django_db
def test_the_database_follows_the_table() -> None:
    assert keep_schedules() == [PREFIX + job.name for job in JOBS]
    assert keep_schedules() == []
    assert Schedule.objects.count() == len(JOBS)


@pytest.mark.django_db
def test_changed_and_stale_schedules() -> None:
    keep_schedules((DAILY, Job("old", "a.b", "* * * * *")))
    Schedule.objects.create(name="made in the admin", func="a.b", schedule_type=Schedule.ONCE)
    later = Job("daily", DAILY.function, "0 6 * * *")
    assert keep_schedules((later,)) == [PREFIX + "old", PREFIX + "daily"]
    assert set(Schedule.objects.values_list("name", "cron")) == {
        (PREFIX + "daily", "0 6 * * *"),
        ("made in the admin", None),
    }


@pytest.mark.django_db
def test_a_restart_keeps_the_next_run() -> None:
    keep_schedules((DAILY,))
    due = datetime(2026, 1, 1, 4, 0, tzinfo=UTC)
    Schedule.objects.update(next_run=due)
    keep_schedules((DAILY,))
    assert Schedule.objects.get().next_run == due


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-01-10T03:59:00+00:00", "2026-01-10T05:00:00+01:00"),
        ("2026-03-28T12:00:00+00:00", "2026-03-29T05:00:00+02:00"),  # summer time begins
        ("2026-10-24T12:00:00+00:00", "2026-10-25T05:00:00+01:00"),  # and ends
    ],
)
def test_five_in_the_morning_in_berlin(now: str, expected: str) -> None:
    with time_machine.travel(datetime.fromisoformat(now), tick=False):
        keep_schedules((DAILY,))
    next_run = Schedule.objects.get().next_run
    assert next_run is not None
    assert next_run.astimezone(BERLIN).isoformat() == expected
