"""What runs by itself, and when. One line per job; `manage.py scheduler` brings the database in line at its start.
The blacklist monitoring keeps a table of its own (`blacklist/control/schedules.py`), which is treated the same way.

Times are Europe/Berlin (settings.TIME_ZONE): 05:00 stays 05:00 across both clock changes. A job takes no arguments, may
run twice without harm, and returns a short text for the task log. What was missed while the scheduler was down is not
made up for (`catch_up` is off): the next run does it all.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django_q.models import Schedule

PREFIX = "smg: "  # schedules that somebody made in the admin have other names and are left alone


@dataclass(frozen=True, slots=True)
class Job:
    """`function` is a dotted name, `cron` minute, hour, day, month, weekday."""

    name: str
    function: str
    cron: str


JOBS = (
    Job("domain records", "gateway.control.domain_checks.check_due", "*/5 * * * *"),
    Job("forced TLS tests", "gateway.control.tls_probes.check_due", "17 * * * *"),
    Job("TLS reports", "gateway.control.tls_reports.send_due", "30 3 * * *"),  # days end at midnight UTC
    Job("retention", "gateway.control.retention.clean_up", "15 3 * * *"),
    Job("webhook log", "portal.webhooks.tasks.forget_old", "51 * * * *"),
    Job("API minutes", "portal.api.throttling.forget_old", "43 * * * *"),
    Job("idempotency keys", "portal.api.idempotency.forget_old", "47 * * * *"),
)


def keep_schedules(jobs: tuple[Job, ...] = JOBS) -> list[str]:
    """Make, change and remove our schedules so that they are `jobs`; returns the names of those that changed.

    A schedule that is right already keeps its next run, so that a restart at 04:59 does not lose 05:00.
    """
    with transaction.atomic():
        wanted = {PREFIX + job.name: job for job in jobs}
        stale = Schedule.objects.filter(name__startswith=PREFIX).exclude(name__in=wanted)
        changed = list(stale.values_list("name", flat=True))
        stale.delete()
        return changed + [name for name, job in wanted.items() if _keep(name, job)]


def _keep(name: str, job: Job) -> bool:
    """True when the schedule was not there as wanted."""
    same = Schedule.objects.filter(
        name=name, func=job.function, cron=job.cron, schedule_type=Schedule.CRON, repeats=-1
    )
    if same.count() == 1:
        return False
    Schedule.objects.filter(name=name).delete()
    Schedule.objects.create(
        name=name, func=job.function, cron=job.cron, schedule_type=Schedule.CRON, repeats=-1
    )
    return True
