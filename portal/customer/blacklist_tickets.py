"""Delisting tickets as their customer sees them: state, what was said to them, and their answers."""

from __future__ import annotations

from django.contrib import messages as notes
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _

from blacklist.control import desk
from blacklist.control.advice import advice_for
from blacklist.models import DelistingTicket
from blacklist.rules.tickets import ENDED
from gateway.models import Customer
from portal.access import MAX_ID, access_customer, actor, page
from portal.badges import COUNTERS
from portal.customer import blacklist_words  # noqa: F401 - its chips
from portal.customer.keyset import keyset_page

HIDDEN = ("detected", "dropped")


def visible_tickets(customer: Customer) -> QuerySet[DelistingTicket]:
    """Tickets about the customer's own targets. Those of our gateways are our work alone."""
    rows = DelistingTicket.objects.filter(listing__target__customers=customer).exclude(state__in=HIDDEN)
    return rows.select_related("listing__target", "listing__provider").distinct()


def access_ticket(request: HttpRequest, pk: int, *, write: bool = False) -> DelistingTicket:
    customer = access_customer(request, write=write)
    return get_object_or_404(visible_tickets(customer), pk=min(pk, MAX_ID))


@page("GET")
def ticket_list(request: HttpRequest) -> HttpResponse:
    rows = visible_tickets(access_customer(request))
    state = "all" if request.GET.get("state") == "all" else "open"
    if state == "open":
        rows = rows.exclude(state__in=[one.value for one in ENDED])
    found = keyset_page(rows, request.GET.get("before", ""))
    return render(request, "customer/blacklists/tickets.html", {"found": found, "state": state})


@page("GET", "POST")
def ticket_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """The ticket; POST adds the customer's answer."""
    ticket = access_ticket(request, pk, write=request.method == "POST")
    error = ""
    if request.method == "POST":
        try:
            desk.customer_answers(ticket, text=request.POST.get("text", ""), actor=actor(request))
        except ValidationError as problem:
            error = " ".join(problem.messages)
        else:
            notes.success(request, _("Thank you. Support reads it."))
            return redirect("ticket", pk)
    context = {
        "ticket": ticket, "listing": ticket.listing, "advice": advice_for(ticket.listing), "error": error,
        "events": ticket.events.filter(is_public=True), "ended": ticket.state in ENDED,
    }  # fmt: skip
    return render(request, "customer/blacklists/ticket.html", context, status=400 if error else 200)


def needing_answers(customer: Customer) -> int:
    """Tickets that wait for the customer, for the navigation's badge."""
    return visible_tickets(customer).filter(state="needs_customer").count()


COUNTERS["tickets"] = needing_answers
