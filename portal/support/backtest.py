"""What other thresholds would have done to the mail of the last days; saved for a customer only after it was looked at.

The result page carries a signed ticket for exactly what it showed: customer, new and present thresholds, the person.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages as notes
from django.core import signing
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from gateway.control import customers
from gateway.control.backtest import DAYS, MAX_DAYS, MAX_ROWS, Change, run
from gateway.models import Customer
from gateway.rules.spam import SPAM_BOUNDS, SUSPECT_BOUNDS
from gateway.spam.symbols import SYMBOLS
from portal.access import actor
from portal.forms import add_errors
from portal.support.base import TooSlowError, bounded, staff_page

MOST_SCORED_ANEW = 2000  # a page may wait for so many; `manage.py backtest` takes ten times as many
TICKET_SALT = "support.backtest"
TICKET_S = 3600
OTHERS_SAY = {"BASE", "RSPAMD", "SPAMASSASSIN"}  # not ours to leave out


class BacktestForm(forms.Form):
    """What is to be tried; the values stand in the URL."""

    customer = forms.ModelChoiceField(
        Customer.objects.all(), label=gettext_lazy("Customer"), required=False, empty_label=gettext_lazy("all")
    )  # fmt: skip
    suspect = forms.FloatField(
        label=gettext_lazy("Suspect from score"), min_value=1, max_value=100, required=False
    )
    spam = forms.FloatField(label=gettext_lazy("Spam from score"), min_value=1, max_value=100, required=False)
    days = forms.IntegerField(
        label=gettext_lazy("Days back"), min_value=1, max_value=MAX_DAYS, required=False, initial=DAYS
    )
    without = forms.MultipleChoiceField(
        label=gettext_lazy("Symbols that no longer count"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["without"].choices = symbol_choices()  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        found = dict(super().clean() or {})
        if self.errors:
            return found
        if found["suspect"] is None and found["spam"] is None and not found["without"]:
            raise ValidationError(_("Enter a threshold or choose a symbol: otherwise nothing changes."))
        if found["suspect"] and found["spam"] and found["spam"] < found["suspect"]:
            self.add_error("spam", _("Spam begins at or above suspect."))
        if found["customer"]:
            self._keep_within("suspect", SUSPECT_BOUNDS)
            self._keep_within("spam", SPAM_BOUNDS)
        return found

    def change(self) -> Change:
        values = self.cleaned_data
        without = tuple(values["without"])
        return Change(
            suspect=values["suspect"], spam=values["spam"], without=without, customer=values["customer"],
            days=values["days"] or DAYS, most=MOST_SCORED_ANEW if without else MAX_ROWS,
        )  # fmt: skip

    def _keep_within(self, name: str, bounds: tuple[float, float]) -> None:
        """The relay pulls a customer's own thresholds into these: others would be tried and saved, but not used."""
        value, (low, high) = self.cleaned_data.get(name), bounds
        if value is not None and not low <= value <= high:
            text = _("A customer's own threshold lies between %(low)g and %(high)g.")
            self.add_error(name, text % {"low": low, "high": high})


@staff_page("GET")
def backtest(request: HttpRequest) -> HttpResponse:
    """A customer alone only fills the form in; anything to try runs it."""
    asked = any(request.GET.get(name) for name in ("suspect", "spam", "without"))
    form = BacktestForm(request.GET) if asked else BacktestForm(initial={"days": DAYS, **_chosen(request)})
    context: dict[str, Any] = {"form": form, "usual": settings.SMG.spam_thresholds}
    if asked and form.is_valid():
        context |= _result(request, form)
    return render(request, "support/backtest.html", context, status=400 if form.errors else 200)


@staff_page("POST")
def backtest_save(request: HttpRequest) -> HttpResponse:
    """Save what a result page showed, for its customer."""
    try:
        shown = signing.loads(request.POST.get("ticket", ""), salt=TICKET_SALT, max_age=TICKET_S)
    except signing.BadSignature:
        return _again(request, _("Look at the result first, then save it."))
    customer = get_object_or_404(Customer, pk=shown["customer"])
    if shown["actor"] != actor(request) or shown["present"] != _present(customer):
        return _again(request, _("The thresholds have changed in the meantime: look at the result again."))
    try:
        customers.change(customer, actor=actor(request), **shown["new"])
    except ValidationError as error:
        return _again(request, " ".join(error.messages))
    notes.success(request, _("Saved. The relay knows it within a second."))
    return redirect("support_customer", pk=customer.pk)


def symbol_choices() -> list[tuple[str, str]]:
    """Our own symbols, by their words in the reader's language."""
    german = get_language() == "de"
    own = [(name, text.de if german else text.en) for name, text in SYMBOLS.items() if name not in OTHERS_SAY]
    return sorted(own, key=lambda pair: pair[1].lower())


def _result(request: HttpRequest, form: BacktestForm) -> dict[str, Any]:
    change = form.change()
    try:
        with bounded():
            told = run(change).as_json()
    except TooSlowError:
        form.add_error("days", _("This takes too long: choose fewer days."))
        return {}
    except ValidationError as error:
        add_errors(form, error)
        return {}
    ids = dict(
        Customer.objects.filter(slug__in=[row["customer"] for row in told["customers"]]).values_list(
            "slug", "pk"
        )
    )
    rows = [{**row, "pk": ids.get(row["customer"])} for row in told["customers"]]
    categories = [(name, *pair) for name, pair in told["categories"].items()]
    return {
        "told": told,
        "rows": rows,
        "categories": categories,
        "change": change,
        "ticket": _ticket(request, change),
    }


def _ticket(request: HttpRequest, change: Change) -> str:
    """'' when there is nothing to save: no customer, or symbols left out, which nobody can save."""
    new = {f"{name}_threshold": getattr(change, name) for name in ("suspect", "spam")}
    new = {name: value for name, value in new.items() if value is not None}
    if change.customer is None or change.without or not new:
        return ""
    customer = change.customer
    shown = {"customer": customer.pk, "new": new, "present": _present(customer), "actor": actor(request)}
    return signing.dumps(shown, salt=TICKET_SALT)


def _present(customer: Customer) -> list[float | None]:
    return [customer.suspect_threshold, customer.spam_threshold]


def _chosen(request: HttpRequest) -> dict[str, Any]:
    """The customer of the address, with its present thresholds for a start."""
    text = request.GET.get("customer", "")
    if not (text.isdecimal() and len(text) < 19):
        return {}
    customer = Customer.objects.filter(pk=int(text)).first()
    if customer is None:
        return {}
    return {"customer": customer.pk, "suspect": customer.suspect_threshold, "spam": customer.spam_threshold}


def _again(request: HttpRequest, text: str) -> HttpResponse:
    notes.error(request, text)
    return redirect(reverse("support_backtest"))
