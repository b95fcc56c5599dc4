"""The desk: everything that needs a person now, the nearest deadline first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.cache import cache
from django.db.models import Count, Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext_lazy as _

from blacklist.models import DelistingTicket
from gateway.models import Appeal, Complaint, Credential, DkimKey, Domain, Gateway
from gateway.rules.arf import COMPLAINTS
from portal import status
from portal.models import SupportRequest
from portal.support.base import staff_page

WITHIN = timedelta(hours=24)  # for what has no deadline of its own
MOST = 100  # of each kind
PARTS_KEPT_S = 5


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do. Without a deadline it is something to know of."""

    kind: str | Promise
    icon: str
    title: str
    customer: str
    url: str
    since: datetime | None
    deadline: datetime | None = None


@staff_page("GET")
def desk(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    found = sorted(tasks(), key=lambda task: (task.deadline is None, task.deadline or task.since or now))
    context = {
        "tasks": found,
        "late": sum(task.deadline is not None and task.deadline < now for task in found),
        "now": now,
        "parts": [part for part in _parts() if part.state in (status.DEGRADED, status.DOWN)],
    }
    return render(request, "support/desk.html", context)


def _parts() -> list[status.Part]:
    """Kept for some seconds, because the desk has enough to ask; by language, because sentences are in one."""
    return cache.get_or_set(f"parts:{get_language()}", status.parts, PARTS_KEPT_S) or []


def tasks() -> Iterator[Task]:
    yield from delisting()
    yield from requests()
    yield from dkim_requests()
    yield from appeals()
    yield from logins()
    yield from failing_domains()
    yield from drained_gateways()


def delisting() -> Iterator[Task]:
    rows = DelistingTicket.objects.filter(closed_at=None).select_related(
        "listing__target", "listing__provider"
    )
    for row in rows.order_by("next_action_at")[:MOST]:
        title = f"{row.listing.target.value} – {row.listing.provider.name}: {row.get_state_display()}"
        url = _url("admin:blacklist_delistingticket_change", row.pk)
        yield Task(_("Delisting"), "radar", title, "", url, row.opened_at, row.next_action_at)


def requests() -> Iterator[Task]:
    rows = SupportRequest.objects.filter(state=SupportRequest.State.OPEN).select_related("customer")
    for row in rows.order_by("deadline_at")[:MOST]:
        url = _url("support_answer", row.pk)
        yield Task(
            _("Request"), "ticket", row.subject, row.customer.name, url, row.updated_at, row.deadline_at
        )


def dkim_requests() -> Iterator[Task]:
    rows = (
        DkimKey.objects.filter(state=DkimKey.State.REQUESTED)
        .select_related("domain__customer")
        .defer("private_key")
    )
    for row in rows.order_by("requested_at")[:MOST]:
        url = _url("admin:gateway_dkimkey_change", row.pk)
        deadline = row.requested_at + WITHIN
        yield Task(
            _("DKIM request"),
            "key",
            row.domain.name,
            row.domain.customer.name,
            url,
            row.requested_at,
            deadline,
        )


def appeals() -> Iterator[Task]:
    rows = (
        Appeal.objects.filter(state=Appeal.State.OPEN).select_related("customer", "message").defer("vector")
    )
    for row in rows.order_by("created_at")[:MOST]:
        title = f"{row.message.sender} ({row.message.score:.0f})" if row.message else row.created_by
        url = _url("admin:gateway_appeal_change", row.pk)
        yield Task(
            _("Not spam?"), "flask", title, row.customer.name, url, row.created_at, row.created_at + WITHIN
        )


def logins() -> Iterator[Task]:
    """Those that the fuse has stopped, and those whose mail recipients complained about within a day: one question."""
    recent = Complaint.objects.filter(at__gte=timezone.now() - WITHIN, kind__in=COMPLAINTS).order_by()
    of_login = recent.filter(credential=OuterRef("pk")).values("credential")
    rows = Credential.objects.filter(
        Q(block=Credential.Block.FUSE) | Q(pk__in=recent.exclude(credential=None).values("credential"))
    ).annotate(
        complaints=Coalesce(Subquery(of_login.annotate(number=Count("pk")).values("number")), 0),
        complained_at=Subquery(of_login.annotate(last=Max("at")).values("last")),
    )
    for row in rows.select_related("customer").order_by("-blocked_at")[:MOST]:
        yield from _login_tasks(row, row.complaints, row.complained_at)


def _login_tasks(row: Credential, complaints: int, complained_at: datetime | None) -> Iterator[Task]:
    if row.block == Credential.Block.FUSE:
        url = _url("admin:gateway_credential_change", row.pk)
        title = f"{row.username}: {row.block_reason}"
        yield Task(_("Abuse fuse"), "warning", title, row.customer.name, url, row.blocked_at)
    if complaints:
        words = ngettext("%(number)s recipient complained", "%(number)s recipients complained", complaints)
        title = f"{row.username}: {words % {'number': complaints}}"
        url = _url("support_complaints")
        yield Task(_("Complaints"), "warning", title, row.customer.name, url, complained_at)


def failing_domains() -> Iterator[Task]:
    rows = Domain.objects.filter(health=Domain.Health.BROKEN, verified_at__isnull=False).select_related(
        "customer"
    )
    for row in rows.order_by("-checked_at")[:MOST]:
        url = _url("admin:gateway_domain_change", row.pk)
        yield Task(_("Domain fails"), "globe", row.name, row.customer.name, url, row.checked_at)


def drained_gateways() -> Iterator[Task]:
    for row in Gateway.objects.filter(drained_at__isnull=False):
        title = f"{row.name}: {row.drained_reason}"
        yield Task(_("Gateway drained"), "pause", title, "", _url("support_gateways"), row.drained_at)


def _url(name: str, *args: int) -> str:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:  # an admin that this installation does not have
        return ""
