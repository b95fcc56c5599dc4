"""Recipients that are not tried again, because they are known not to exist."""

from __future__ import annotations

from django.contrib import messages as notes
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from gateway.control import suppressions
from portal.access import access_customer, access_suppression, actor, page
from portal.customer.keyset import keyset_page
from portal.customer.query import search_words


@page("GET", "POST")
def suppression_list(request: HttpRequest) -> HttpResponse:
    """The list; POST adds an address."""
    customer = access_customer(request, write=request.method == "POST")
    error = ""
    if request.method == "POST":
        try:
            suppressions.add(customer, request.POST.get("address", ""), actor=actor(request))
        except ValidationError as problem:
            error = " ".join(problem.messages)
        else:
            notes.success(request, _("Nothing more is sent to this address."))
            return redirect("suppressions")
    wanted = search_words(request).lower()
    rows = customer.suppressions.filter(address__contains=wanted) if wanted else customer.suppressions.all()
    context = {"found": keyset_page(rows, request.GET.get("before", "")), "q": wanted, "error": error}
    return render(request, "customer/suppressions.html", context, status=400 if error else 200)


@page("POST")
def suppression_remove(request: HttpRequest, pk: int) -> HttpResponse:
    suppression = access_suppression(request, pk, write=True)
    suppressions.remove(suppression, actor=actor(request))
    notes.success(request, _("Mail to %(address)s is tried again.") % {"address": suppression.address})
    return redirect("suppressions")
