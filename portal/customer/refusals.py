"""What we did not accept, and why: the list and one refusal."""

from __future__ import annotations

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from portal.access import access_customer, access_refusal, page
from portal.customer.keyset import keyset_page
from portal.customer.query import is_address, search_words
from portal.customer.reply_words import meaning_of
from portal.customer.trace_words import trace_lines


@page("GET")
def refusal_list(request: HttpRequest) -> HttpResponse:
    customer = access_customer(request)
    wanted = search_words(request)
    rows = customer.refusals.select_related("credential")
    if wanted:
        rows = rows.filter(_matching(wanted))
    found = keyset_page(rows, request.GET.get("before", ""))
    meanings = [
        (refusal, meaning_of(refusal.code, refusal.enhanced, refusal.text, refusal.reason))
        for refusal in found.rows
    ]
    return render(request, "customer/refusals.html", {"found": found, "rows": meanings, "q": wanted})


@page("GET")
def refusal_detail(request: HttpRequest, pk: int) -> HttpResponse:
    refusal = access_refusal(request, pk)
    context = {
        "refusal": refusal,
        "meaning": meaning_of(refusal.code, refusal.enhanced, refusal.text, refusal.reason),
        "trace": trace_lines(refusal.trace),
    }
    return render(request, "customer/refusal.html", context)


def _matching(wanted: str) -> Q:
    condition = Q(sender=wanted) | Q(recipient=wanted) | Q(text__icontains=wanted)
    return condition | Q(client_ip=wanted) if is_address(wanted) else condition
