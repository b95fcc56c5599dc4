"""Writes what the probe finds: results in batches, and what a list's test entries make of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from blacklist.control.plan import RunPlan
from blacklist.control.providers import note_health
from blacklist.models import CheckRun, Provider, Result
from blacklist.probe.worker import Event, Found, Proven
from blacklist.rules.judge import CanaryVerdict
from blacklist.rules.severity import severity_of
from blacklist.rules.types import Kind, Role, Status
from blacklist.rules.world import resolver_findings

BATCH = 200


class Recorder:
    """Takes the events of one run. Results are provisional until their list is proven; `lists` says which are."""

    def __init__(self, run: CheckRun, plan: RunPlan) -> None:
        self.run = run
        self.plan = plan
        self._batch: list[Result] = []
        self._proven: list[Proven] = []
        self._canaries: list[CanaryVerdict] = []
        self.turned_bad: list[tuple[str, str]] = []

    @property
    def is_full(self) -> bool:
        return len(self._batch) >= BATCH or bool(self._proven)

    def take(self, event: Event | None) -> None:
        if isinstance(event, Found):
            self._batch.append(self.result(event))
        elif isinstance(event, Proven):
            self._proven.append(event)

    def result(self, found: Found) -> Result:
        verdict = found.verdict
        spec, target = self.plan.specs[found.provider_id], self.plan.targets[found.target_id]
        listed = verdict.status is Status.LISTED
        return Result(
            run=self.run,
            target_id=found.target_id,
            provider_id=found.provider_id,
            status=verdict.status.value,
            codes=list(verdict.codes),
            labels=list(verdict.labels),
            raw=list(verdict.raw),
            reason=(found.reason if listed else verdict.why)[:1000],
            severity=severity_of(spec, verdict.matches, Role(target.role)).value if listed else "",
            ttl_s=min(verdict.ttl_s, 2_000_000_000),
            at=timezone.now(),
        )

    @transaction.atomic
    def write(self) -> None:
        """Everything since the last time, in one transaction; a result that is there already stays."""
        written = Result.objects.bulk_create(self._batch, ignore_conflicts=True)
        CheckRun.objects.filter(pk=self.run.pk).update(done=F("done") + len(written))
        self.run.done += len(written)
        self._batch = []
        for proven in self._proven:
            self._prove(proven)
        if self._proven:
            self.run.save(update_fields=["lists"])
        self._proven = []

    def _prove(self, proven: Proven) -> None:
        for kind, verdict in proven.canaries.items():
            self._canaries.append(verdict)
            if not verdict.passed:
                void_results(self.run, proven.provider_id, kind, verdict)
        statuses = Counter(
            Result.objects.filter(run=self.run, provider_id=proven.provider_id).values_list(
                "status", flat=True
            )
        )
        failed = [
            f"{kind.value}: {verdict.why}" for kind, verdict in proven.canaries.items() if not verdict.passed
        ]
        self.run.lists[proven.slug] = {
            **statuses, "canary": "; ".join(failed), "stopped": proven.stopped, "asked": proven.asked,
            "seconds": round(proven.seconds, 1),
        }  # fmt: skip
        self._health(proven, failed)

    def _health(self, proven: Proven, failed: list[str]) -> None:
        """One family of addresses that cannot be proven is a gap in the list's service, not its death."""
        bad = [verdict for verdict in proven.canaries.values() if not verdict.passed]
        health = Provider.Health.OK.value
        why = proven.stopped
        if bad and len(bad) == len(proven.canaries):
            health, why = bad[0].status.value, "; ".join(failed)
        elif proven.stopped:
            health = Provider.Health.ERROR.value
        if note_health(proven.provider_id, health, why):
            self.turned_bad.append((proven.slug, why))

    def finish(self) -> None:
        """What all lists together say about the resolver."""
        findings = resolver_findings(self._canaries)
        self.run.findings = [{"code": finding.code, "text": finding.text} for finding in findings] + [
            {"code": "list", "text": f"{slug}: {why}"} for slug, why in self.turned_bad
        ]
        self.run.save(update_fields=["findings"])


def void_results(run: CheckRun, provider_id: int, kind: Kind, verdict: CanaryVerdict) -> None:
    """A list that did not prove itself said nothing in this run, whatever it answered."""
    values: dict[str, Any] = {"status": verdict.status.value, "reason": verdict.why[:1000]}
    values |= {"codes": [], "labels": [], "severity": "", "confirmed": False}
    Result.objects.filter(run=run, provider_id=provider_id, target__kind=kind.value).update(**values)
