"""Forced TLS: rules for pairs of domains, tested against the partner's servers before they are saved."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages as notes
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway.control import tls_rules
from gateway.models import Customer, Recipient, TlsRule, TlsShadow
from gateway.rules.ids import id_at
from portal import tls_tests
from portal.access import access_customer, access_tls_rule, access_tls_test, actor, page
from portal.forms import add_errors
from portal.models import TlsTest

STOP_POLLING = 286  # htmx ends polling at this status
PAST = 500  # recipients of the partner that the preview looks at, newest first
FIELDS = (
    "sender_domain",
    "recipient_domain",
    "level",
    "on_failure",
    "min_version",
    "fingerprint",
    "shadow",
    "note",
)
VERDICTS: dict[str, str | Promise] = {
    "works": gettext_lazy("All servers of the domain can do this."),
    "partly": gettext_lazy("Some servers of the domain can do this, others cannot: mail may be delayed."),
    "fails": gettext_lazy(
        "No server of the domain can do this: with such a rule mail would be refused or held."
    ),
    "unavailable": gettext_lazy("Could not be found out."),
}


class TlsRuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """The model's own fields and words; saving is the verb's."""

    class Meta:
        model = TlsRule
        fields = FIELDS
        widgets = {"level": forms.RadioSelect, "on_failure": forms.RadioSelect, "min_version": forms.Select}

    # Written by people: cleaned before the model's strict validators see them.
    recipient_domain = forms.CharField(
        label=gettext_lazy("To domain"),
        max_length=254,
        help_text=gettext_lazy("bank.example, or .bank.example for everything below it."),
    )
    sender_domain = forms.CharField(
        label=gettext_lazy("From domain"),
        max_length=253,
        required=False,
        help_text=gettext_lazy("Empty: all your domains."),
    )
    fingerprint = forms.CharField(
        label=gettext_lazy("Pinned certificate (SHA-256)"),
        max_length=100,
        required=False,
        help_text=gettext_lazy(
            "Only for partners with a certificate of their own; empty for everybody else."
        ),
    )

    def clean_recipient_domain(self) -> str:
        try:
            return tls_rules.canonical_pattern(self.cleaned_data["recipient_domain"])
        except ValidationError as error:
            raise ValidationError(error.messages) from error

    def clean_sender_domain(self) -> str:
        return self.cleaned_data["sender_domain"].strip().lower()

    def clean_fingerprint(self) -> str:
        return self.cleaned_data["fingerprint"].replace(":", "").strip().lower()

    def validate_unique(self) -> None:
        """The verb looks after that: here the customer is not known."""


class TestForm(forms.Form):
    domain = forms.CharField(label=gettext_lazy("Recipient domain"), max_length=253)

    def clean_domain(self) -> str:
        try:
            return tls_rules.canonical_pattern(self.cleaned_data["domain"]).lstrip(".")
        except ValidationError as error:
            raise ValidationError(_("This is not a domain name like example.com.")) from error


@dataclass(frozen=True, slots=True)
class Past:
    """How the latest mail to a domain went out."""

    number: int
    encrypted: int
    verified: int

    @property
    def clear(self) -> int:
        """What a rule of any level would have held or refused."""
        return self.number - self.encrypted


@page("GET")
def rule_list(request: HttpRequest) -> HttpResponse:
    customer = access_customer(request)
    rules = list(customer.tls_rules.all())
    return render(
        request, "customer/tls.html", {"rules": [(rule, shadow_of(customer, rule)) for rule in rules]}
    )


def shadow_of(customer: Customer, rule: TlsRule) -> dict[str, int] | None:
    """What a rule that only records would have stopped of the customer's latest mail there."""
    if not rule.shadow:
        return None
    seen = TlsShadow.objects.filter(message__customer=customer, destination=rule.recipient_domain.lstrip("."))
    problems = list(seen.order_by("-id").values_list("problem", flat=True)[:PAST])
    return {"number": len(problems), "stopped": sum(bool(problem) for problem in problems)}


@page("GET", "POST")
def rule_edit(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """A new rule, or a change. First the test, then the choice to save: a rule that cannot be met stops the mail of a
    partner."""
    customer = access_customer(request, write=True)
    rule = access_tls_rule(request, pk, write=True) if pk is not None else None
    test = _test_of(request)
    form = TlsRuleForm(
        request.POST or None,
        instance=rule or TlsRule(customer=customer),
        initial=test.values if test else None,
    )
    if request.method == "POST" and form.is_valid():
        try:
            if "save" not in request.POST:
                return _begin(form, customer, rule)
            saved = _save(form, customer, rule, actor(request))
        except ValidationError as error:
            add_errors(form, error)
        else:
            _keep_verdict(saved, test)
            notes.success(request, _("Saved. The relay knows it within a second."))
            return redirect("tls")
    return _rule_page(request, form, test, rule, customer)


def _save(form: TlsRuleForm, customer: Customer, rule: TlsRule | None, who: str) -> TlsRule:
    if rule is None:
        return tls_rules.add(customer, actor=who, **form.cleaned_data)
    stored = TlsRule.objects.get(pk=rule.pk)  # the form has changed its own
    tls_rules.change(stored, actor=who, **form.cleaned_data)
    return stored


def _begin(form: TlsRuleForm, customer: Customer, rule: TlsRule | None) -> HttpResponse:
    """Start the test of what the form says, and show form and test together."""
    test = tls_tests.start(customer, form.cleaned_data["recipient_domain"], values=form.cleaned_data)
    page_url = reverse("tls_change", args=[rule.pk]) if rule else reverse("tls_add")
    return redirect(f"{page_url}?test={test.pk}#result")


def _test_of(request: HttpRequest) -> TlsTest | None:
    pk = request.GET.get("test", "")
    return access_tls_test(request, int(pk)) if pk.isdecimal() and len(pk) < 20 else None


def _keep_verdict(rule: TlsRule, test: TlsTest | None) -> None:
    """Beside the rule stands what the person has seen; without a test of this domain one begins now."""
    if test is not None and test.done_at and test.domain == rule.recipient_domain:
        tls_rules.keep_probe(rule, tls_tests.probe_of(test, rule.level))
        return
    with contextlib.suppress(ValidationError):  # too many at once: the daily test will see to it
        tls_tests.start(rule.customer, rule.recipient_domain, rule=rule)


@page("GET", "POST")
def rule_remove(request: HttpRequest, pk: int) -> HttpResponse:
    rule = access_tls_rule(request, pk, write=True)
    if request.method == "POST":
        tls_rules.remove(rule, actor=actor(request))
        notes.success(request, _("The rule is removed."))
        return redirect("tls")
    return render(request, "customer/tls_remove.html", {"rule": rule})


@page("POST")
def rule_probe(request: HttpRequest, pk: int) -> HttpResponse:
    """Test a rule that is in force; its verdict is kept beside it."""
    rule = access_tls_rule(request, pk, write=True)
    try:
        test = tls_tests.start(rule.customer, rule.recipient_domain, rule=rule)
    except ValidationError as error:
        notes.warning(request, " ".join(error.messages))
        return redirect("tls")
    return redirect("tls_test_result", pk=test.pk)


@page("GET", "POST")
def tls_test(request: HttpRequest) -> HttpResponse:
    """What the servers of any domain can do. By POST: the test talks to them."""
    customer = access_customer(request)
    form = TestForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            return redirect("tls_test_result", pk=tls_tests.start(customer, form.cleaned_data["domain"]).pk)
        except ValidationError as error:
            add_errors(form, error)
    return render(request, "customer/tls_test.html", {"form": form}, status=400 if form.errors else 200)


@page("GET")
def test_result(request: HttpRequest, pk: int) -> HttpResponse:
    """A test that runs or has run: the whole page, or to htmx the part that changes."""
    test = access_tls_test(request, pk)
    context = _test_context(access_customer(request), test)
    if request.htmx:  # type: ignore[attr-defined]
        status = 200 if test.is_running else STOP_POLLING
        return render(request, "customer/parts/tls_progress.html", context, status=status)
    return render(
        request, "customer/tls_test.html", context | {"form": TestForm(initial={"domain": test.domain})}
    )


def past_mail(customer: Customer, domain: str) -> Past:
    """The customer's delivered mail to the domain in the last 30 days (the newest of it): would it have met a rule?"""
    since = id_at(timezone.now() - timedelta(days=30))
    rows = customer.recipients.filter(
        domain=domain, state=Recipient.StateChoice.DELIVERED, id__gte=since
    ).order_by("-id")
    found = [tls or {} for tls in rows.values_list("tls", flat=True)[:PAST]]
    return Past(
        len(found),
        sum(bool(tls.get("version")) for tls in found),
        sum(bool(tls.get("verified")) for tls in found),
    )


def verdict_rows(report: dict[str, Any]) -> list[tuple[str, str, str | Promise, str]]:
    """(level, chip state, sentence, first problem) for each level a rule may ask for."""
    rows = [(level, report["verdicts"].get(level)) for level in TlsRule.Level.values]
    return [
        (level, verdict["state"], VERDICTS.get(verdict["state"], ""), verdict["text"])
        for level, verdict in rows
        if verdict is not None
    ]


def _test_context(customer: Customer, test: TlsTest) -> dict[str, Any]:
    if not test.done_at:
        return {"test": test}
    return {
        "test": test,
        "report": test.report,
        "verdicts": verdict_rows(test.report),
        "past": past_mail(customer, test.domain.lstrip(".")),
    }


def _rule_page(
    request: HttpRequest, form: TlsRuleForm, test: TlsTest | None, rule: TlsRule | None, customer: Customer
) -> HttpResponse:
    context: dict[str, Any] = {"form": form, "rule": rule}
    if test is not None:
        context |= _test_context(customer, test)
    return render(request, "customer/tls_rule.html", context, status=400 if form.errors else 200)
