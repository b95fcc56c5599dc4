"""Settings of the customer and of the person, and the limit, live."""

from __future__ import annotations

import zoneinfo
from typing import Any

from django import forms
from django.conf import settings as django_settings
from django.contrib import messages as notes
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway.control import customers
from gateway.models import Customer
from portal.access import access_customer, actor, page
from portal.customer.overview import current_rate
from portal.forms import add_errors
from portal.models import User

ZONES = [(zone, zone) for zone in sorted(zoneinfo.available_timezones())]


class CustomerForm(forms.Form):
    alert_email = forms.EmailField(
        label=gettext_lazy("Address for alerts"), required=False,
        help_text=gettext_lazy("Blacklist hits, broken domains, stopped logins. A group address is best."),
    )  # fmt: skip
    language = forms.ChoiceField(
        label=gettext_lazy("Language of reports and alerts"), choices=Customer.Language.choices
    )
    ndr_enabled = forms.BooleanField(
        label=gettext_lazy("Send non-delivery reports to the sender"), required=False,
        help_text=gettext_lazy("Switch off only if your own server evaluates results itself."),
    )  # fmt: skip
    ndr_on_refusal = forms.BooleanField(
        label=gettext_lazy("Report refused viruses to the sender"), required=False
    )
    delay_warning_h = forms.TypedChoiceField(
        label=gettext_lazy("Warn the sender about delays"), coerce=int,
        choices=[(0, gettext_lazy("never")), (1, "1 h"), (4, "4 h"), (8, "8 h"), (24, "24 h")],
    )  # fmt: skip
    keep_subjects = forms.BooleanField(label=gettext_lazy("Keep subjects in the message log"), required=False)
    retention_days = forms.IntegerField(
        label=gettext_lazy("Keep the message log for days"), required=False, min_value=1, max_value=365,
        help_text=gettext_lazy("Empty: the operator's default."),
    )  # fmt: skip


class PersonForm(forms.ModelForm):  # type: ignore[type-arg]
    time_zone = forms.ChoiceField(label=gettext_lazy("Time zone"), choices=ZONES)

    class Meta:
        model = User
        fields = ("language", "time_zone", "theme", "shortcuts")
        help_texts = {"shortcuts": gettext_lazy("“/” search, “g m” messages, “g d” domains, “?” help")}


@page("GET", "POST")
def settings(request: HttpRequest) -> HttpResponse:
    """POST saves the customer's part."""
    customer = access_customer(request, write=request.method == "POST")
    form = CustomerForm(request.POST or None, initial=_initial(customer))
    if request.method == "POST" and form.is_valid():
        try:
            customers.change(customer, actor=actor(request), **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
            customer.refresh_from_db()
        else:
            notes.success(request, _("Saved."))
            return redirect("settings")
    return _page(request, customer, form, PersonForm(instance=_user(request), prefix="me"))


@page("POST")
def person(request: HttpRequest) -> HttpResponse:
    """The person's own part: everybody may, viewers too."""
    user = get_object_or_404(User, email=actor(request))
    form = PersonForm(request.POST, instance=user, prefix="me")
    if form.is_valid():
        user.save(update_fields=list(form.cleaned_data))
        translation.activate(user.language)
        notes.success(request, _("Saved."))
        response = redirect("settings")
        response.set_cookie(
            django_settings.LANGUAGE_COOKIE_NAME, user.language, max_age=365 * 86400, samesite="Lax"
        )
        return response
    customer = access_customer(request)
    return _page(request, customer, CustomerForm(initial=_initial(customer)), form)


@page("GET")
def rate(request: HttpRequest) -> HttpResponse:
    """The live gauge of the limit."""
    customer = access_customer(request)
    return render(request, "customer/parts/rate.html", {"rate": current_rate(customer, timezone.now())})


def _initial(customer: Customer) -> dict[str, Any]:
    return {name: getattr(customer, name) for name in CustomerForm.base_fields}


def _user(request: HttpRequest) -> User:
    """A copy: an invalid form must not change the one of the request."""
    return get_object_or_404(User, email=actor(request))


def _page(
    request: HttpRequest, customer: Customer, form: CustomerForm, person_form: PersonForm
) -> HttpResponse:
    context = {
        "form": form,
        "person_form": person_form,
        "rate": current_rate(customer, timezone.now()),
        "default_days": django_settings.SMG.retention_days,
    }
    failed = bool(form.errors or person_form.errors)
    return render(request, "customer/settings.html", context, status=400 if failed else 200)
