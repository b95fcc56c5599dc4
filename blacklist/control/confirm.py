"""Before anything is told: is the list right about so many at once, and does it say the same when asked again?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

from blacklist.control.plan import plan_pairs
from blacklist.control.providers import note_health
from blacklist.control.recorder import Recorder, void_results
from blacklist.control.targets import registrable
from blacklist.models import CheckRun, Listing, Provider, Result
from blacklist.probe.worker import Event, Found, Proven
from blacklist.rules.names import unrelated_group
from blacklist.rules.types import Kind, Status
from blacklist.rules.world import lists_the_world

WORLD = "the list marks most of our unrelated targets at once: it is broken, not they"
CONTRADICTION = "the second question was answered differently ({first} first, then {second})"


def judge_worlds(run: CheckRun) -> None:
    """Discard the new hits of lists that suddenly list everybody. What was listed before stays as it was: unknown."""
    known = set(Listing.objects.filter(delisted_at__isnull=True).values_list("target_id", "provider_id"))
    hits: dict[int, list[Result]] = defaultdict(list)
    for result in Result.objects.filter(run=run, status=Status.LISTED).select_related("target"):
        if (result.target_id, result.provider_id) not in known:
            hits[result.provider_id].append(result)
    for provider_id, results in hits.items():
        if lists_the_world(_groups_asked(run, provider_id), map(_group, results)):
            _discard(run, provider_id, results)


def _groups_asked(run: CheckRun, provider_id: int) -> Iterable[str]:
    statuses = (Status.LISTED, Status.NOT_LISTED)
    rows = Result.objects.filter(run=run, provider_id=provider_id, status__in=statuses).select_related(
        "target"
    )
    return map(_group, rows)


def _group(result: Result) -> str:
    return unrelated_group(Kind(result.target.kind), result.target.value, registrable)


def _discard(run: CheckRun, provider_id: int, results: list[Result]) -> None:
    pks = [result.pk for result in results]
    Result.objects.filter(pk__in=pks).update(
        status=Status.DEAD_LIST, reason=WORLD, codes=[], labels=[], severity=""
    )
    slug = Provider.objects.values_list("slug", flat=True).get(pk=provider_id)
    run.lists.setdefault(slug, {})["canary"] = WORLD
    if note_health(provider_id, Provider.Health.DEAD.value, WORLD):
        run.findings.append({"code": "list", "text": f"{slug}: {WORLD}"})
    run.save(update_fields=["lists", "findings"])


def to_confirm(run: CheckRun) -> list[Result]:
    """Results that would change something: hits that are news, and clean answers about what is listed."""
    rows = Result.objects.filter(run=run, confirmed=False).select_related("target")
    listings = {
        (listing.target_id, listing.provider_id): listing
        for listing in Listing.objects.filter(delisted_at__isnull=True)
    }
    hits = [
        result
        for result in rows.filter(status=Status.LISTED)
        if _is_news(result, listings.get((result.target_id, result.provider_id)))
    ]
    ends = [
        result
        for result in rows.filter(status=Status.NOT_LISTED, target_id__in={target for target, _ in listings})
        if (result.target_id, result.provider_id) in listings
    ]
    return hits + ends


def _is_news(result: Result, listing: Listing | None) -> bool:
    if listing is None or not listing.is_confirmed:
        return True
    return result.severity != listing.severity or set(result.labels) != set(listing.labels)


def due_at(pending: Iterable[Result], after_s: float, latest_s: float) -> datetime:
    """When the last of them may be asked again: a minute later and beyond the TTL, so that no cache answers."""
    return max(
        result.at + timedelta(seconds=min(max(after_s, result.ttl_s + 1 if after_s else 0), max(latest_s, 0)))
        for result in pending
    )


class Second:
    """Takes the second answers. The same again: confirmed. Anything else: no result, whichever came first."""

    def __init__(self, run: CheckRun, pending: list[Result]) -> None:
        self.run = run
        self._pending = {(result.target_id, result.provider_id): result for result in pending}
        self.plan = plan_pairs(self._pending)
        self._recorder = Recorder(run, self.plan)
        self._void: list[Proven] = []

    def take(self, event: Event | None) -> None:
        if isinstance(event, Found):
            self._compare(event)
        elif isinstance(event, Proven):
            self._void.append(event)

    def _compare(self, found: Found) -> None:
        first = self._pending.pop((found.target_id, found.provider_id))
        second = self._recorder.result(found)
        if second.status == first.status:
            values = {
                name: getattr(second, name)
                for name in ("codes", "labels", "raw", "reason", "severity", "ttl_s", "at")
            }
            Result.objects.filter(pk=first.pk).update(confirmed=True, **values)
        elif second.status in (Status.LISTED, Status.NOT_LISTED):
            _set_unknown(first, CONTRADICTION.format(first=_word(first.status), second=_word(second.status)))
        else:
            _set_unknown(first, f"second question: {second.reason}", second.status)

    def finish(self) -> None:
        """A list that turns out dead now was not right before; what was not asked again at all is unknown, too."""
        for proven in self._void:
            for kind, verdict in proven.canaries.items():
                if verdict.status is Status.DEAD_LIST:
                    void_results(self.run, proven.provider_id, kind, verdict)
        for first in self._pending.values():
            _set_unknown(first, "could not be asked a second time")


def _word(status: str) -> str:
    return "listed" if status == Status.LISTED else "not listed"


def _set_unknown(result: Result, why: str, status: str = Status.PROVIDER_ERROR) -> None:
    Result.objects.filter(pk=result.pk).update(
        status=status, reason=why[:1000], codes=[], labels=[], severity=""
    )
