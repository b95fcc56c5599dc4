"""The blocklist checks, for support: how long, what came of them, errors per list, run now."""

from __future__ import annotations

from django.contrib import messages as notes
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _

from blacklist.control import schedules
from blacklist.control.lease import is_running
from blacklist.models import CheckRun
from portal.access import MAX_ID, actor, page
from portal.customer import blacklist_words  # noqa: F401 - its chips
from portal.customer.keyset import keyset_page

STOP_POLLING = 286


def _staff_only(request: HttpRequest) -> None:
    if not request.user.is_staff:
        raise PermissionDenied("support only")


@page("GET", "POST")
def run_list(request: HttpRequest) -> HttpResponse:
    """All runs, newest first; POST starts one."""
    _staff_only(request)
    if request.method == "POST":
        if is_running():
            notes.warning(request, _("A check is running already."))
        else:
            schedules.run_soon(actor(request))
            notes.success(request, _("The check begins in a moment."))
        return redirect("blacklist_runs")
    found = keyset_page(CheckRun.objects.all(), request.GET.get("before", ""), size=30)
    return render(request, "support/runs.html", {"found": found, "next_run": schedules.next_slot()})


@page("GET")
def run_detail(request: HttpRequest, pk: int) -> HttpResponse:
    _staff_only(request)
    run = get_object_or_404(CheckRun, pk=min(pk, MAX_ID))
    lists = [{"slug": slug, **row} for slug, row in sorted(run.lists.items())]
    return render(request, "support/run.html", {"run": run, "lists": lists})


@page("GET")
def run_progress(request: HttpRequest, pk: int) -> HttpResponse:
    """The fragment that a running check's page asks for; 286 when there is nothing more to wait for."""
    _staff_only(request)
    run = get_object_or_404(CheckRun, pk=min(pk, MAX_ID))
    return render(
        request, "support/run_progress.html", {"run": run}, status=200 if run.is_running else STOP_POLLING
    )
