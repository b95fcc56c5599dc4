"""For whom the person works: one of several customers, or, for support, back to the desk."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.access import CHOSEN, OPENED_AS, memberships, page


@page("POST")
def choose(request: HttpRequest) -> HttpResponse:
    """Work for another of one's own customers; others are 404."""
    wanted = request.POST.get("customer", "")
    member = next((member for member in memberships(request) if str(member.customer_id) == wanted), None)
    if member is None:
        raise Http404
    request.session[CHOSEN] = member.customer_id
    request.session.pop(OPENED_AS, None)
    return redirect("overview")


@page("POST")
def close(request: HttpRequest) -> HttpResponse:
    """Support leaves the pages of the customer it had opened."""
    request.session.pop(OPENED_AS, None)
    return redirect("support" if request.user.is_staff else "overview")
