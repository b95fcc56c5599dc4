"""One target, now: the same questions as at 05:00, but nothing is recorded and nobody is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from blacklist.control.plan import question_names
from blacklist.control.providers import askable, ensure_providers
from blacklist.control.runs import Options
from blacklist.models import CheckRun, Provider, Result
from blacklist.probe.check import check
from blacklist.probe.worker import Found, ListPlan, Proven, Question
from blacklist.rules.names import canonical_target
from blacklist.rules.severity import severity_of
from blacklist.rules.types import Kind, ProviderSpec, Role, Severity, Status, Verdict

CONTRADICTION = "the second question was answered differently"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `check_blacklists`; `as_json` is its documented form. `reason` never holds a key."""

    target: str
    provider: str
    status: str
    codes: tuple[str, ...] = ()
    reason: str = ""
    severity: str = Severity.NONE.value

    def as_json(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "provider": self.provider,
            "status": self.status,
            "codes": list(self.codes),
            "reason": self.reason,
            "severity": self.severity,
        }


def check_one(text: str, role: Role | None, options: Options) -> list[Row]:
    """Ask every list about one target; hits are asked twice. Raises ValueError for what is no target."""
    kind, value = canonical_target(text)
    role = role or (Role.DOMAIN if kind is Kind.DOMAIN else Role.CUSTOMER_IP)
    if (role is Role.DOMAIN and kind is not Kind.DOMAIN) or (
        role is Role.CUSTOMER_IP and kind is Kind.DOMAIN
    ):
        raise ValueError(f"{value} cannot have the role {role.value}")
    ensure_providers()
    providers, not_asked = askable()
    specs = {provider.pk: provider.spec() for provider in providers}
    names = question_names(kind, value)
    plans = [
        ListPlan(pk, spec, (Question(0, kind, names),))
        for pk, spec in specs.items()
        if kind in spec.kinds and names
    ]
    found = _ask_twice(plans, options)
    rows = [_row(value, role, specs[pk], *found[pk]) for pk in found]
    rows += _not_asked(value, kind, not_asked, [spec for pk, spec in specs.items() if pk not in found])
    return sorted(rows, key=lambda row: row.provider)


_Results = dict[int, tuple[Verdict, str]]


def _ask_twice(plans: list[ListPlan], options: Options) -> _Results:
    """Hits get a second question at once: nobody is told, so there is no need to wait for a cache to forget."""
    first = _ask(plans, options)
    hits = [plan for plan in plans if first[plan.provider_id][0].status is Status.LISTED]
    for pk, (verdict, reason) in _ask(hits, options).items():
        first[pk] = (verdict, reason) if verdict.status is Status.LISTED else (_contradicted(verdict), "")
    return first


def _contradicted(second: Verdict) -> Verdict:
    status = Status.PROVIDER_ERROR if second.status is Status.NOT_LISTED else second.status
    return Verdict(status, why=CONTRADICTION if second.status is Status.NOT_LISTED else second.why)


def _ask(plans: list[ListPlan], options: Options) -> _Results:
    found: _Results = {}
    for event in check(plans, options.open_asker, options.pace) if plans else ():
        if isinstance(event, Found):
            found[event.provider_id] = (event.verdict, event.reason)
        elif isinstance(event, Proven):
            failed = [verdict for verdict in event.canaries.values() if not verdict.passed]
            if failed:
                found[event.provider_id] = (Verdict(failed[0].status, why=failed[0].why), "")
    return found


def _row(value: str, role: Role, spec: ProviderSpec, verdict: Verdict, reason: str) -> Row:
    if verdict.status is not Status.LISTED:
        return Row(value, spec.slug, verdict.status.value, (), verdict.why)
    severity = severity_of(spec, verdict.matches, role)
    said = " - ".join(part for part in (", ".join(verdict.labels), reason) if part)
    return Row(value, spec.slug, Status.LISTED.value, verdict.codes, said, severity.value)


def _not_asked(value: str, kind: Kind, not_asked: dict[str, str], unfit: list[ProviderSpec]) -> Iterator[Row]:
    """Lists that were not asked, with the reason: dead, without a key, or for another kind of target. What has no zone
    is no list that could be asked, and is not named."""
    dead = set(Provider.objects.filter(known=Provider.Known.DEAD).values_list("slug", flat=True))
    zoneless = set(Provider.objects.filter(zone="").values_list("slug", flat=True))
    for slug, why in not_asked.items():
        if slug in zoneless:
            continue
        status = Status.DEAD_LIST if slug in dead else Status.NOT_APPLICABLE
        yield Row(value, slug, status.value, (), f"not asked: {why}")
    for spec in unfit:
        fits = kind in spec.kinds
        why = "a public suffix is nobody's domain" if fits else f"the list does not know {kind.value}"
        yield Row(value, spec.slug, Status.NOT_APPLICABLE.value, (), f"not asked: {why}")


def rows_of(run: CheckRun) -> Iterator[Row]:
    """The results of a finished run in the same form, and what was not asked."""
    providers, not_asked = askable()
    specs = [provider.spec() for provider in providers]
    asked: dict[str, set[str]] = {}
    kinds: dict[str, Kind] = {}
    for result in (
        Result.objects.filter(run=run)
        .select_related("target", "provider")
        .order_by("target__value", "provider__slug")
    ):
        asked.setdefault(result.target.value, set()).add(result.provider.slug)
        kinds[result.target.value] = Kind(result.target.kind)
        yield _recorded(result)
    for value, slugs in asked.items():
        yield from _not_asked(
            value, kinds[value], not_asked, [spec for spec in specs if spec.slug not in slugs]
        )


def _recorded(result: Result) -> Row:
    reason = result.reason
    if result.status == Status.LISTED:
        reason = " - ".join(part for part in (", ".join(map(str, result.labels)), reason) if part)
    return Row(
        result.target.value, result.provider.slug, result.status, tuple(map(str, result.codes)), reason,
        result.severity or Severity.NONE.value,
    )  # fmt: skip
