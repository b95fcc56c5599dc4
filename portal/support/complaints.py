"""What recipients complained about, over all customers; and a door for reports that came by another way."""

from __future__ import annotations

from django.contrib import messages as notes
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from gateway.control import complaints
from gateway.models import Complaint
from gateway.rules.arf import READ_BYTES, NotAReportError
from portal.support.base import RANGE_CHOICES, TooSlowError, bounded, span_of, staff_page

SHOWN = 200


@staff_page("GET", "POST")
def complaint_list(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _take(request)
    latest = Complaint.objects.filter(at__gte=timezone.now() - span_of(request))
    context = {"ranges": RANGE_CHOICES, "range": request.GET.get("range", "24h"), "shown": SHOWN}
    try:
        with bounded():
            context["complaints"] = list(
                latest.select_related("customer", "credential", "message").order_by("-id")[:SHOWN]
            )
    except TooSlowError:
        context["problem"] = _("This takes too long. Choose a shorter time.")
    return render(request, "support/complaints.html", context)


def _take(request: HttpRequest) -> HttpResponse:
    """A report as a file, for example saved from a mail program."""
    file = request.FILES.get("report")
    try:
        complaint, is_new = complaints.record(file.read(READ_BYTES) if file else b"")
    except NotAReportError as error:
        notes.error(request, _("This is no feedback report: %(why)s") % {"why": error})
    else:
        _say(request, complaint, is_new)
    return redirect("support_complaints")


def _say(request: HttpRequest, complaint: Complaint, is_new: bool) -> None:
    if not is_new:
        notes.warning(request, _("This report was here already; it counts once."))
    elif complaint.message is None:
        notes.warning(
            request, _("Kept, but not attributed: %(why)s.") % {"why": complaint.get_obstacle_display()}
        )
    else:
        notes.success(request, _("Kept and counted for %(customer)s.") % {"customer": complaint.customer})
