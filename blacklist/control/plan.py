"""Which list is asked about which target in a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from blacklist.control.providers import askable
from blacklist.control.targets import registrable
from blacklist.models import CheckRun, Provider, Result, Target
from blacklist.probe.worker import ListPlan, Question
from blacklist.rules.names import names_of_domain
from blacklist.rules.types import Kind, ProviderSpec

Pair = tuple[int, int]  # target id, provider id


@dataclass(slots=True)
class RunPlan:
    """Everything of one run: what is asked, of whom, about what."""

    lists: list[ListPlan]
    targets: dict[int, Target]
    specs: dict[int, ProviderSpec]
    total: int  # with what was answered before a restart
    left: int


def plan_run(run: CheckRun) -> RunPlan:
    """What is still to ask in a run: all pairs of fitting kind (or the run's own pairs) without those answered."""
    providers, _ = askable()
    wanted = {(int(target), int(provider)) for target, provider in run.pairs} if run.pairs else None
    targets = _targets(wanted)
    answered = set(Result.objects.filter(run=run).values_list("target_id", "provider_id"))
    return _plan(providers, targets, wanted, answered, set(run.lists))


def plan_pairs(pairs: Iterable[Pair]) -> RunPlan:
    """The same for given pairs, whatever was answered before (the second question)."""
    providers, _ = askable()
    wanted = set(pairs)
    return _plan(providers, _targets(wanted), wanted, set(), set())


def _targets(wanted: set[Pair] | None) -> dict[int, Target]:
    rows = Target.objects.filter(is_active=True)
    if wanted is not None:
        rows = rows.filter(pk__in={target for target, _ in wanted})
    return {target.pk: target for target in rows}


def _plan(
    providers: list[Provider],
    targets: dict[int, Target],
    wanted: set[Pair] | None,
    answered: set[Pair],
    proven: set[str],
) -> RunPlan:
    questions = _questions(targets.values())
    plan = RunPlan([], targets, {}, total=0, left=0)
    for provider in providers:
        spec = provider.spec()
        plan.specs[provider.pk] = spec
        fitting = [one for one in questions if one.kind in spec.kinds and _is_wanted(wanted, one, provider)]
        open_ones = tuple(one for one in fitting if (one.target_id, provider.pk) not in answered)
        plan.total += len(fitting)
        plan.left += len(open_ones)
        if open_ones or (fitting and provider.slug not in proven):
            plan.lists.append(ListPlan(provider.pk, spec, open_ones, frozenset(one.kind for one in fitting)))
    return plan


def _is_wanted(wanted: set[Pair] | None, question: Question, provider: Provider) -> bool:
    return wanted is None or (question.target_id, provider.pk) in wanted


def _questions(targets: Iterable[Target]) -> list[Question]:
    chosen = list(targets)
    own = {target.value for target in chosen if target.kind == Kind.DOMAIN}
    found = [
        Question(target.pk, Kind(target.kind), question_names(Kind(target.kind), target.value, own))
        for target in chosen
    ]
    return [question for question in found if question.names]


def question_names(kind: Kind, value: str, own: set[str] | frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The names that stand for a target. A registrable domain that is a target of its own is asked there, once."""
    if kind is not Kind.DOMAIN:
        return (value,)
    names = names_of_domain(value, registrable)
    return tuple(name for name in names if name == value or name not in own)
