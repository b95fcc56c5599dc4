"""One list's part of a check: test entries, the targets, the test entries again.

Nothing is said about a target unless the list proved itself before and after: an answer from a list that is empty,
wildcarded, parked or refusing is worth nothing, whatever it says.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from blacklist.probe.asker import Asker
from blacklist.probe.pace import IN_FLIGHT_PER_LIST, Breaker, Bucket, Pace
from blacklist.rules.judge import PASSED, CanaryVerdict, canary, judge
from blacklist.rules.names import query_name
from blacklist.rules.providers import test_names
from blacklist.rules.types import Answer, Kind, Outcome, ProviderSpec, Status, Verdict


@dataclass(frozen=True, slots=True)
class Question:
    """One target for one list. `names`: the target itself, and for domains what else stands for it."""

    target_id: int
    kind: Kind
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListPlan:
    """What one list is to be asked."""

    provider_id: int
    spec: ProviderSpec
    questions: tuple[Question, ...]
    kinds: frozenset[Kind] = (
        frozenset()
    )  # kinds to prove although nothing of them is left to ask (a resumed run)


@dataclass(frozen=True, slots=True)
class Found:
    """One result, provisional until `Proven` says that the list's answers count."""

    provider_id: int
    target_id: int
    verdict: Verdict
    reason: str = ""  # TXT, for hits only


@dataclass(frozen=True, slots=True)
class Proven:
    """A list is done. `canaries` holds a verdict per kind; where one did not pass, all answers of that
    kind are void."""

    provider_id: int
    slug: str
    canaries: dict[Kind, CanaryVerdict]
    stopped: str = ""  # why asking ended early
    asked: int = 0
    seconds: float = 0.0


Event = Found | Proven
Report = Callable[[Event], None]


@dataclass(slots=True)
class Worker:
    plan: ListPlan
    asker: Asker
    pace: Pace
    bucket: Bucket
    slots: asyncio.Semaphore  # all lists together
    report: Report
    breaker: Breaker = field(default_factory=Breaker)
    asked: int = 0
    cache: dict[str, tuple[Verdict, str]] = field(
        default_factory=dict
    )  # names that stand for several targets
    shared: frozenset[str] = frozenset()

    async def run(self) -> None:
        begun = self.pace.clock()
        self.shared = _shared_names(self.plan.questions)
        kinds = sorted({question.kind for question in self.plan.questions} | self.plan.kinds)
        before = {kind: await self._canary(kind) for kind in kinds}
        for question in self.plan.questions:
            if not before[question.kind].passed:
                self._tell(question, _void(before[question.kind]))
        await self._ask_all([question for question in self.plan.questions if before[question.kind].passed])
        after = {
            kind: await self._after(kind) if verdict.passed else verdict for kind, verdict in before.items()
        }
        seconds = self.pace.clock() - begun
        plan = self.plan
        self.report(Proven(plan.provider_id, plan.spec.slug, after, self.breaker.why, self.asked, seconds))

    async def _after(self, kind: Kind) -> CanaryVerdict:
        """The second proof. A list that began to refuse or fell silent was right until then; one that
        lost its test entry or lists everything was not."""
        verdict = await self._canary(kind)
        return verdict if verdict.status is Status.DEAD_LIST else PASSED

    async def _canary(self, kind: Kind) -> CanaryVerdict:
        positives, negatives = test_names(self.plan.spec, kind)
        negative = await self._question(negatives[0])
        positive = negative
        for name in positives if negative.outcome is not Outcome.TIMEOUT else ():
            positive = await self._question(name)
            if positive.outcome not in (Outcome.NXDOMAIN, Outcome.NODATA):
                break
        return canary(self.plan.spec, positive, negative)

    async def _ask_all(self, questions: list[Question]) -> None:
        waiting = iter(questions)
        workers = min(IN_FLIGHT_PER_LIST, len(questions))
        await asyncio.gather(*(self._ask_some(waiting) for _ in range(workers)))

    async def _ask_some(self, waiting: Iterable[Question]) -> None:
        for question in waiting:  # one iterator shared by all: each takes the next
            if self.breaker.is_open:
                self._tell(question, Verdict(Status.PROVIDER_ERROR, why=f"not asked: {self.breaker.why}"))
            else:
                await self._ask_one(question)

    async def _ask_one(self, question: Question) -> None:
        found = [await self._verdict(question.kind, name) for name in question.names]
        verdict, reason = merge(found, question.names)
        self._tell(question, verdict, reason)

    async def _verdict(self, kind: Kind, name: str) -> tuple[Verdict, str]:
        if name in self.cache:
            return self.cache[name]
        asked = query_name(kind, name, self.plan.spec.zone)
        verdict = judge(self.plan.spec, await self._question(asked))
        if verdict.status.is_known:
            self.breaker.success()
        else:
            self.breaker.failure(verdict.why, stop=verdict.stops)
        reason = await self._text(asked) if verdict.status is Status.LISTED else ""
        if name in self.shared:
            self.cache[name] = (verdict, reason)
        return verdict, reason

    async def _question(self, name: str) -> Answer:
        await self.bucket.take()
        async with self.slots:
            self.asked += 1
            return await self.asker.address(name)

    async def _text(self, name: str) -> str:
        await self.bucket.take()
        async with self.slots:
            return await self.asker.text(name)

    def _tell(self, question: Question, verdict: Verdict, reason: str = "") -> None:
        self.report(Found(self.plan.provider_id, question.target_id, verdict, reason))


def _void(verdict: CanaryVerdict) -> Verdict:
    return Verdict(verdict.status, why=verdict.why)


def _shared_names(questions: Iterable[Question]) -> frozenset[str]:
    counts = Counter(name for question in questions for name in question.names)
    return frozenset(name for name, count in counts.items() if count > 1)


def merge(found: list[tuple[Verdict, str]], names: tuple[str, ...]) -> tuple[Verdict, str]:
    """One verdict for all names of a target: listed if one is, clean only if all are."""
    if len(found) == 1:
        return found[0]
    for (verdict, reason), name in zip(found, names, strict=True):
        if verdict.status is Status.LISTED:
            prefix = "" if name == names[0] else f"{name}: "
            return verdict, prefix + reason if reason else (prefix.rstrip(": ") if prefix else "")
    unknown = [verdict for verdict, _ in found if not verdict.status.is_known]
    return (unknown[0] if unknown else found[0][0]), ""
