"""What works just now, part by part: the data of /readyz, of support's status page and of the desk.

Every part is looked at by a question that costs nothing (a heartbeat, a due time), never by trying it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError, connection
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from blacklist.models import CheckRun
from gateway.models import Worker
from gateway.rules.readiness import DEGRADED, DOWN, NOT_CONFIGURED, OK

Text = str | Promise
UNKNOWN = "unknown"
SILENT_AFTER = timedelta(seconds=90)  # as the pages' banner: a loaded machine may be late with a heartbeat
OVERDUE_AFTER = timedelta(minutes=5)
LATEST_RUN = timedelta(hours=26)  # the daily run at 05:00, and an hour for each end of summer time


@dataclass(frozen=True, slots=True)
class Part:
    """One part: `state` is ok, degraded, down or unknown; `text` a sentence for support."""

    name: str
    label: Text
    state: str
    text: Text = ""
    since: datetime | None = None


def parts() -> list[Part]:
    """All parts; when the database is away only that is known."""
    database = check_database()
    if database.state == DOWN:
        return [database]
    now = timezone.now()
    workers = list(Worker.objects.filter(seen_at__gt=now - SILENT_AFTER))
    return [
        database,
        check_relay(workers),
        *degraded_parts(workers),
        check_scheduler(now),
        check_blacklists(now),
    ]


def overall(found: list[Part]) -> str:
    """The worst state that matters: down if mail cannot be taken, degraded if anything is wrong."""
    states = {part.name: part.state for part in found}
    if DOWN in (states.get("database"), states.get("relay", DOWN)):
        return DOWN
    return DEGRADED if {DOWN, DEGRADED} & set(states.values()) else OK


def check_database() -> Part:
    label = _("Database")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
    except DatabaseError:
        return Part("database", label, DOWN, _("The database does not answer."))
    return Part("database", label, OK, connection.vendor)


def check_relay(workers: list[Worker]) -> Part:
    label = _("Relay")
    if not workers:
        return Part("relay", label, DOWN, _("No relay process gave a sign of life."))
    names = ", ".join(sorted(f"{worker.node}:{worker.pid}" for worker in workers))
    return Part("relay", label, OK, names, min(worker.started_at for worker in workers))


# What a relay process may have to do without: its name, and what that means for mail.
RELAY_PARTS: dict[str, tuple[Text, Text]] = {
    "antivirus": (
        _("Virus scanner"),
        _("The virus scanner does not answer: new mail is answered 451 and comes again by itself."),
    ),
    "clock": (
        _("Clock"),
        _("The gateway's clock has jumped: waiting times and limits are not exact for a while."),
    ),
    "disk": (_("Disk"), _("There is no space left: new mail is answered 451 and comes again by itself.")),
    "policy": (
        _("Settings"),
        _("The relay works with the settings of a moment ago; changes take effect later."),
    ),
}


def degraded_parts(workers: list[Worker]) -> Iterator[Part]:
    """What the relay's processes say they cannot use, each part once; for support with the error that they met."""
    said: dict[str, str] = {}
    for worker in workers:
        said.update({str(name): str(error) for name, error in worker.degraded.items()})
    for name, error in sorted(said.items()):
        label = RELAY_PARTS[name][0] if name in RELAY_PARTS else name
        text = degraded_words(name, error)
        if name in ("antivirus", "policy"):
            text += f" ({'SMG_CLAMD' if error == NOT_CONFIGURED else error})"
        yield Part(name, label, DEGRADED, text)


def degraded_words(name: str, error: str) -> str:
    """What a relay's loss of a part means for mail."""
    if name == "antivirus" and error == NOT_CONFIGURED:
        return gettext("No virus scanner is configured: mail is not scanned for viruses.")
    if name.startswith("spam:"):
        engine = {"name": name.removeprefix("spam:")}
        return gettext("The spam engine %(name)s does not answer: the others judge alone.") % engine
    return str(RELAY_PARTS[name][1]) if name in RELAY_PARTS else error


def check_scheduler(now: datetime) -> Part:
    """django-q moves a schedule's next run when it starts it: one that stays in the past was not started."""
    from django_q.models import Schedule

    label = _("Scheduler")
    due = Schedule.objects.exclude(repeats=0).order_by("next_run").values_list("name", "next_run").first()
    if due is None:
        return Part("scheduler", label, UNKNOWN, _("Nothing is scheduled."))
    name, next_run = due
    if next_run and next_run < now - OVERDUE_AFTER:
        return Part("scheduler", label, DOWN, _("“%(name)s” is overdue.") % {"name": name}, next_run)
    return Part("scheduler", label, OK)


def check_blacklists(now: datetime) -> Part:
    label = _("Blacklist check")
    run = last_blacklist_run()
    if run is None:
        return Part("blacklists", label, UNKNOWN, _("There was no run yet."))
    if run < now - LATEST_RUN:
        return Part("blacklists", label, DEGRADED, _("The daily run did not finish."), run)
    return Part("blacklists", label, OK, "", run)


def last_blacklist_run() -> datetime | None:
    """When the last complete run ended."""
    ended = CheckRun.objects.filter(kind=CheckRun.Kind.DAILY, finished_at__isnull=False).order_by(
        "-finished_at"
    )
    return ended.values_list("finished_at", flat=True).first()
