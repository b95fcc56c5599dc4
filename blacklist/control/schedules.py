"""The clock of blacklist monitoring: what django-q2 calls, and when. Every function may be called twice or too late."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.utils import timezone

from blacklist.control import alerts, desk, replies, runs
from blacklist.control.history import SYSTEM
from blacklist.control.lease import RunBusy, hold_lease
from blacklist.control.plan import Pair
from blacklist.control.providers import askable
from blacklist.models import CheckRun, Listing, Result
from blacklist.rules.types import Status

logger = logging.getLogger(__name__)
ZONE = ZoneInfo("Europe/Berlin")
HOUR = 5
SCHEDULES = {  # name -> (function, cron line)
    "blacklist: daily check": ("blacklist.control.schedules.daily", f"0 {HOUR} * * *"),
    "blacklist: open tickets": ("blacklist.control.schedules.recheck_open", "30 1-23/2 * * *"),
    "blacklist: housekeeping": ("blacklist.control.schedules.housekeeping", "*/10 * * * *"),
    "blacklist: replies": ("blacklist.control.schedules.read_replies", "*/5 * * * *"),
}


def ensure_schedules() -> None:
    """Create or correct our entries in django-q2's table; called at start-up, as often as anybody likes."""
    from django_q.models import Schedule

    for name, (function, cron) in SCHEDULES.items():
        schedule = Schedule.objects.filter(name=name).first() or Schedule(name=name)
        if (schedule.func, schedule.cron) == (function, cron):
            continue
        # cron lines are read in Q_CLUSTER's zone (TIME_ZONE, Europe/Berlin): 05:00 stays 05:00 across clock changes
        schedule.func, schedule.cron = function, cron
        schedule.schedule_type, schedule.repeats = Schedule.CRON, -1
        schedule.next_run = schedule.calculate_next_run()
        schedule.save()


def slot_of(now: datetime) -> datetime:
    """The last 05:00 Europe/Berlin that has passed."""
    local = now.astimezone(ZONE)
    due = local.replace(hour=HOUR, minute=0, second=0, microsecond=0)
    if due > local:
        due = (due - timedelta(days=1)).replace(hour=HOUR)
    return due.astimezone(ZONE)


def next_slot() -> datetime:
    """The next 05:00 Europe/Berlin."""
    return slot_of(timezone.now() + timedelta(days=1))


def daily(options: runs.Options | None = None) -> int | None:
    """The 05:00 check. One run for each 05:00, however often and on however many nodes this is called; after downtime
    the last one that was missed, not all of them. Returns the run's id, None when there was nothing to do."""
    slot = slot_of(timezone.now())
    if CheckRun.objects.filter(slot=slot, finished_at__isnull=False).exists():
        return None
    try:
        options = options or runs.scheduled_options()
        return runs.start(CheckRun.Kind.DAILY, actor=SYSTEM, options=options, slot=slot).pk
    except RunBusy as busy:
        logger.warning("blacklist check not started", extra={"why": str(busy)})
        return None


def recheck_open(options: runs.Options | None = None) -> int | None:
    """Ask about everything that is listed or suspected, with each list's limits."""
    asked = {provider.pk for provider in askable()[0]}
    rows = Listing.objects.filter(delisted_at__isnull=True, target__is_active=True)
    pairs = [pair for pair in rows.values_list("target_id", "provider_id") if pair[1] in asked]
    return _run(CheckRun.Kind.RECHECK, pairs, options or runs.scheduled_options())


def recheck_pairs(pairs: list[list[int]], actor: str = SYSTEM) -> int | None:
    """Ask about these pairs now (support's button)."""
    return _run(CheckRun.Kind.RECHECK, [(pair[0], pair[1]) for pair in pairs], runs.manual_options(), actor)


def run_now(actor: str) -> int | None:
    """The whole check, on demand."""
    try:
        return runs.start(CheckRun.Kind.MANUAL, actor=actor, options=runs.manual_options()).pk
    except RunBusy as busy:
        logger.warning("blacklist check not started", extra={"why": str(busy)})
        return None


def run_soon(actor: str) -> None:
    """The whole check, in the background."""
    from django_q.tasks import async_task

    async_task("blacklist.control.schedules.run_now", actor)


def check_customer_soon(customer_id: int, actor: str) -> None:
    """All lists about one customer's targets, in the background."""
    from django_q.tasks import async_task

    async_task("blacklist.control.schedules.check_customer", customer_id, actor)


def check_target(target_id: int, actor: str) -> int | None:
    """All lists about one target."""
    pairs = [(target_id, provider.pk) for provider in askable()[0]]
    return _run(CheckRun.Kind.MANUAL, pairs, runs.manual_options(), actor)


def check_customer(customer_id: int, actor: str) -> int | None:
    """All lists about one customer's targets, on demand from their portal."""
    from blacklist.control.targets import sync_targets
    from blacklist.models import Target

    sync_targets()
    targets = Target.objects.filter(customers=customer_id, is_active=True).values_list("pk", flat=True)
    pairs = [(target, provider.pk) for target in targets for provider in askable()[0]]
    return _run(CheckRun.Kind.MANUAL, pairs, runs.manual_options(), actor)


def _run(
    kind: str,
    pairs: list[Pair],
    options: runs.Options,
    actor: str = SYSTEM,
    retry_of: CheckRun | None = None,
) -> int | None:
    if not pairs:
        return None
    try:
        return runs.start(kind, actor=actor, options=options, pairs=pairs, retry_of=retry_of).pk
    except RunBusy as busy:
        logger.info("blacklist check not started", extra={"why": str(busy)})
        return None


def retry_due(options: runs.Options | None = None) -> int:
    """Half an hour after a daily check: its failed lists get one more chance. Returns how many runs
    were made up for."""
    done = 0
    for run in CheckRun.objects.filter(retry_at__lte=timezone.now(), finished_at__isnull=False):
        failed = Q(status=Status.PROVIDER_ERROR) | Q(status=Status.TIMEOUT)
        pairs = list(Result.objects.filter(failed, run=run).values_list("target_id", "provider_id"))
        if not CheckRun.objects.filter(pk=run.pk, retry_at=run.retry_at).update(retry_at=None):
            continue
        done += (
            _run(CheckRun.Kind.RETRY, pairs, options or runs.scheduled_options(), retry_of=run) is not None
        )
    return done


def housekeeping(options: runs.Options | None = None) -> None:
    """What must not wait for the next 05:00: runs that were cut off, second tries, mails, dates that are over."""
    try:
        with hold_lease() as lease:
            runs.resume(lease, options or runs.scheduled_options())
    except RunBusy:
        return
    retry_due(options)
    desk.end_accepted_risks()
    replies.end_quiet_listings()
    alerts.send_due(daily=False)


def read_replies() -> None:
    """Deliveries that name a list; suspected lists are asked at once."""
    if replies.scan_attempts():
        pairs = Listing.objects.filter(delisted_at__isnull=True, is_confirmed=False).values_list(
            "target_id", "provider_id"
        )
        _run(CheckRun.Kind.RECHECK, list(pairs), runs.manual_options())
    alerts.send_due(daily=False)
