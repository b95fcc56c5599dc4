"""Customers as support sees them: volume, rates, limit, suspension, registration mail, open as customer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages as notes
from django.core.exceptions import ValidationError
from django.db.models import Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway.control import customers
from gateway.control.audit import record
from gateway.models import Customer, HourlyCount
from portal import team
from portal.access import MAX_ID, OPENED_AS, actor
from portal.forms import add_errors
from portal.models import Membership
from portal.support.base import RANGE_CHOICES, span_of, staff_page

SUMS = (
    "accepted",
    "refused",
    "suspect",
    "spam",
    "recipients",
    "delivered",
    "bounced",
    "expired",
    "unknown_user",
)
MOST = 500
ORDERS = {
    "volume": lambda row: -row.sums["accepted"],
    "bounces": lambda row: -row.bounce_rate,
    "spam": lambda row: -row.spam_rate,
    "name": lambda row: row.customer.name.lower(),
}

ORDER_CHOICES = [
    ("volume", gettext_lazy("most messages")), ("bounces", gettext_lazy("highest bounce rate")),
    ("spam", gettext_lazy("most by Bad")), ("name", gettext_lazy("name")),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class CustomerRow:
    customer: Customer
    sums: dict[str, int]

    @property
    def bounce_rate(self) -> float:
        """Percent of the settled recipients that bounced or expired."""
        failed = self.sums["bounced"] + self.sums["expired"]
        settled = failed + self.sums["delivered"]
        return 100 * failed / settled if settled else 0.0

    @property
    def spam_rate(self) -> float:
        """Percent of the accepted messages that left by Bad."""
        bad = self.sums["suspect"] + self.sums["spam"]
        return 100 * bad / self.sums["accepted"] if self.sums["accepted"] else 0.0


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"), max_length=300, help_text=gettext_lazy("The customer reads it.")
    )


class LimitForm(forms.Form):
    rate_limit = forms.IntegerField(
        label=gettext_lazy("Messages a minute"), min_value=1, max_value=1_000_000, required=False,
        help_text=gettext_lazy("Empty: no limit."),
    )  # fmt: skip


class InviteForm(forms.Form):
    email = forms.EmailField(label=gettext_lazy("E-mail address"))
    role = forms.ChoiceField(
        label=gettext_lazy("Role"), choices=Membership.Role.choices, initial=Membership.Role.OWNER
    )


@staff_page("GET")
def customer_list(request: HttpRequest) -> HttpResponse:
    q, order = request.GET.get("q", "").strip()[:200], request.GET.get("order", "volume")
    rows = Customer.objects.all()
    if q:
        rows = rows.filter(
            Q(name__icontains=q) | Q(slug__icontains=q) | Q(domains__name=q.lower())
        ).distinct()
    sums = sums_by_customer(span_of(request))
    nothing = dict.fromkeys(SUMS, 0)
    found = [CustomerRow(row, sums.get(row.pk, nothing)) for row in rows[:MOST]]
    order = order if order in ORDERS else "volume"
    context = {
        "rows": sorted(found, key=ORDERS[order]), "q": q, "order": order, "orders": ORDER_CHOICES,
        "ranges": RANGE_CHOICES,
        "range": request.GET.get("range", "24h"), "most": MOST,
    }  # fmt: skip
    return render(request, "support/customers.html", context)


def sums_by_customer(span: timedelta, **narrow: Any) -> dict[int, dict[str, int]]:
    """Sums of the hourly counts by customer, in one query over the hours of the span."""
    counts = HourlyCount.objects.filter(hour__gt=timezone.now() - span - timedelta(hours=1), **narrow)
    grouped: Any = counts.values("customer").annotate(**{f"sum_{name}": Sum(name) for name in SUMS})
    return {row["customer"]: {name: row[f"sum_{name}"] or 0 for name in SUMS} for row in grouped}


@staff_page("GET")
def customer_detail(request: HttpRequest, pk: int) -> HttpResponse:
    customer = access_customer_as_support(pk)
    return _detail(request, customer)


@staff_page("POST")
def customer_limit(request: HttpRequest, pk: int) -> HttpResponse:
    customer = access_customer_as_support(pk)
    form = LimitForm(request.POST)
    if not form.is_valid():
        return _detail(request, customer, limit_form=form)
    customers.change(customer, actor=actor(request), rate_limit=form.cleaned_data["rate_limit"])
    notes.success(request, _("Saved. The relay knows it within a second."))
    return redirect("support_customer", pk=pk)


@staff_page("GET", "POST")
def customer_suspend(request: HttpRequest, pk: int) -> HttpResponse:
    """Suspending asks for a reason on its own page; resuming is one button there."""
    customer = access_customer_as_support(pk)
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and customer.suspended_at:
        customers.resume(customer, actor=actor(request))
        notes.success(request, _("%(name)s may send again.") % {"name": customer.name})
        return redirect("support_customer", pk=pk)
    if request.method == "POST" and form.is_valid():
        customers.suspend(customer, actor=actor(request), reason=form.cleaned_data["reason"])
        notes.success(request, _("%(name)s is suspended.") % {"name": customer.name})
        return redirect("support_customer", pk=pk)
    context = {"subject": customer, "form": form}
    return render(request, "support/customer_suspend.html", context, status=400 if form.errors else 200)


@staff_page("POST")
def customer_invite(request: HttpRequest, pk: int) -> HttpResponse:
    """The registration mail: a one-time link; the person sets the password."""
    customer = access_customer_as_support(pk)
    form = InviteForm(request.POST)
    if form.is_valid():
        link = f"{settings.SMG.public_url}{reverse('invitation', args=['TOKEN'])}".replace("TOKEN", "{token}")
        try:
            team.invite(
                customer,
                form.cleaned_data["email"],
                form.cleaned_data["role"],
                actor=actor(request),
                link=link,
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            notes.success(request, _("The registration mail is on its way."))
            return redirect("support_customer", pk=pk)
    return _detail(request, customer, invite_form=form)


@staff_page("POST")
def open_customer(request: HttpRequest, pk: int) -> HttpResponse:
    """Look at the customer's pages as they see them: read only, without subjects, and they see that we were there."""
    customer = access_customer_as_support(pk)
    request.session[OPENED_AS] = customer.pk
    record(actor(request), "support.open", customer, customer=customer)
    return redirect("/")


def access_customer_as_support(pk: int) -> Customer:
    return get_object_or_404(Customer, pk=min(pk, MAX_ID))


def _detail(request: HttpRequest, customer: Customer, **forms_with_errors: forms.Form) -> HttpResponse:
    sums = sums_by_customer(span_of(request), customer=customer)
    context = {
        "subject": customer,
        "row": CustomerRow(customer, sums.get(customer.pk, dict.fromkeys(SUMS, 0))),
        "range": request.GET.get("range", "24h"),
        "ranges": RANGE_CHOICES,
        "domains": customer.domains.all()[:50],
        "credentials": customer.credentials.all()[:50],
        "members": customer.memberships.select_related("user"),
        "requests": customer.support_requests.all()[:10],
        "limit_form": LimitForm(initial={"rate_limit": customer.rate_limit}),
        "invite_form": InviteForm(),
    }
    status = 400 if forms_with_errors else 200
    return render(request, "support/customer.html", context | forms_with_errors, status=status)
