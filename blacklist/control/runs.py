"""A check from its beginning to its end: ask, ask hits again, work out what is news, tell people.

Each phase can be cut off by a kill and is taken up where it stopped: results are written in batches under a unique key,
an evaluation that runs twice changes nothing, and a mail is claimed in the transaction that queues it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from blacklist.control import alerts, confirm, demo, evaluate, prechecks
from blacklist.control.lease import Lease, hold_lease
from blacklist.control.plan import Pair, RunPlan, plan_run
from blacklist.control.providers import ensure_providers
from blacklist.control.recorder import Recorder
from blacklist.control.targets import sync_targets
from blacklist.models import CheckRun, Result
from blacklist.probe.check import OpenAsker, check, dns_asker
from blacklist.probe.pace import Pace
from blacklist.probe.worker import Event
from gateway.control.domain_checks import make_resolver

logger = logging.getLogger(__name__)
TOO_OLD = timedelta(hours=12)
RETRY_AFTER = timedelta(minutes=30)
KEPT_RUNS = timedelta(days=8)
JITTER_S = 120.0
CONFIRM_AFTER_S = 60.0
CONFIRM_LATEST_S = 900.0
MANUAL_LATEST_S = 90.0  # somebody waits for it; the daily check has time
SLICE_S = 30.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a run asks and waits; tests bring their own."""

    open_asker: OpenAsker = field(default_factory=lambda: dns_asker(settings.SMG.dnsbl_nameservers))
    pace: Pace = field(default_factory=Pace)
    confirm_after_s: float = CONFIRM_AFTER_S  # and beyond the answer's TTL ...
    confirm_latest_s: float = CONFIRM_LATEST_S  # ... but no longer than this
    wait: Callable[[float], None] = time.sleep
    resolver: prechecks.OpenResolver | None = make_resolver  # for pre-checks; None: none are made
    retry: bool = True


def scheduled_options() -> Options:
    return _in_demo(Options(pace=Pace(jitter_s=JITTER_S)))


def manual_options() -> Options:
    """Somebody waits for the answer: no jitter, and no quarter of an hour until the second question."""
    return _in_demo(Options(confirm_latest_s=MANUAL_LATEST_S, retry=False))


def _in_demo(options: Options) -> Options:
    """The demo's lists live in memory: there is no cache to outlast."""
    if not demo.is_on():
        return options
    return replace(options, open_asker=demo.demo_lists(), pace=demo.PACE, confirm_after_s=0.0)


def start(
    kind: str, *, actor: str, options: Options, pairs: list[Pair] | None = None, slot: datetime | None = None,
    retry_of: CheckRun | None = None,
) -> CheckRun:  # fmt: skip
    """Run a check, after finishing one that was cut off. Returns the run that answers the wish. Raises RunBusy."""
    with hold_lease() as lease:
        resumed = resume(lease, options)
        if resumed is not None and not resumed.pairs and not pairs and kind == CheckRun.Kind.MANUAL:
            return resumed  # it asked everything that this one would
        done = CheckRun.objects.filter(slot=slot).first() if slot else None
        if done is not None:
            return done
        ensure_providers()
        sync_targets()
        run = CheckRun.objects.create(
            kind=kind,
            actor=actor,
            started_at=timezone.now(),
            slot=slot,
            retry_of=retry_of,
            pairs=[list(pair) for pair in pairs or []],
        )
        return perform(run, lease, options)


def resume(lease: Lease, options: Options) -> CheckRun | None:
    """Finish the run that was cut off; one of half a day ago is given up. Returns the last one that
    was finished here."""
    done = None
    for run in CheckRun.objects.filter(finished_at__isnull=True).order_by("id"):
        if timezone.now() - run.started_at > TOO_OLD:
            _end(run, CheckRun.Phase.ABANDONED)
        else:
            logger.info("blacklist check resumed", extra={"run": run.pk, "phase": run.phase})
            done = perform(run, lease, options)
    return done


def perform(run: CheckRun, lease: Lease, options: Options) -> CheckRun:
    """All phases that are still to do, in order."""
    logger.info("blacklist check begins", extra={"run": run.pk, "kind": run.kind})
    if run.phase == CheckRun.Phase.ASKING:
        _ask(run, lease, options)
        _enter(run, CheckRun.Phase.CONFIRMING)
    if run.phase == CheckRun.Phase.CONFIRMING:
        _confirm(run, lease, options)
        _enter(run, CheckRun.Phase.TELLING)
    if run.phase == CheckRun.Phase.TELLING:
        evaluate.evaluate(run)
        alerts.send_due(daily=run.kind == CheckRun.Kind.DAILY)
        alerts.note_health(run)
        if options.resolver is not None:
            prechecks.run_pending(options.resolver)
        _count(run)
        run.retry_at = _retry_at(run, options)
        run.save(update_fields=["counts", "retry_at"])
        _end(run, CheckRun.Phase.FINISHED)
    _forget_old_runs()
    logger.info("blacklist check ends", extra={"run": run.pk, "counts": run.counts})
    return run


def _ask(run: CheckRun, lease: Lease, options: Options) -> None:
    plan = plan_run(run)
    run.total, run.done = plan.total, plan.total - plan.left
    run.save(update_fields=["total", "done"])
    recorder = Recorder(run, plan)
    for event in _events(plan, options):
        recorder.take(event)
        if recorder.is_full or event is None:
            recorder.write()
            lease.renew()
    recorder.write()
    recorder.finish()


def _events(plan: RunPlan, options: Options) -> Iterator[Event | None]:
    if plan.lists:
        yield from check(plan.lists, options.open_asker, options.pace)


def _confirm(run: CheckRun, lease: Lease, options: Options) -> None:
    """Ask hits and 'no longer listed' a second time, from a fresh answer, before anybody is told anything."""
    confirm.judge_worlds(run)
    pending = confirm.to_confirm(run)
    if not pending:
        return
    _wait_until(confirm.due_at(pending, options.confirm_after_s, options.confirm_latest_s), lease, options)
    recorder = confirm.Second(run, pending)
    for event in check(recorder.plan.lists, options.open_asker, options.pace):
        recorder.take(event)
        lease.renew()
    recorder.finish()


def _wait_until(due: datetime, lease: Lease, options: Options) -> None:
    while (left_s := (due - timezone.now()).total_seconds()) > 0:
        options.wait(min(left_s, SLICE_S))
        lease.renew()


def _enter(run: CheckRun, phase: str) -> None:
    run.phase = phase
    run.save(update_fields=["phase"])


def _end(run: CheckRun, phase: str) -> None:
    run.phase, run.finished_at = phase, timezone.now()
    run.save(update_fields=["phase", "finished_at"])


def _count(run: CheckRun) -> None:
    run.counts = dict(Counter(Result.objects.filter(run=run).values_list("status", flat=True)))


def _retry_at(run: CheckRun, options: Options) -> datetime | None:
    """Lists that failed get one more chance, half an hour later."""
    failed = run.counts.get("provider_error", 0) + run.counts.get("timeout", 0)
    wanted = options.retry and failed and run.kind == CheckRun.Kind.DAILY
    return timezone.now() + RETRY_AFTER if wanted else None


def _forget_old_runs() -> None:
    """Listings keep the history; the 50,000 results of a day need not."""
    old = CheckRun.objects.filter(started_at__lt=timezone.now() - KEPT_RUNS, finished_at__isnull=False)
    Result.objects.filter(run__in=old).delete()
