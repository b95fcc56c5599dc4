"""Forced TLS: rules for pairs of domains, tested against the partner's servers before they are saved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages as notes
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway.control import domain_checks, tls_rules
from gateway.models import Customer, Recipient, TlsRule, TlsShadow
from gateway.rules.ids import first_id
from gateway.tls.preflight import PreflightReport, preflight_now
from portal.access import access_customer, access_tls_rule, actor, page
from portal.forms import add_errors

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
def rule_add(request: HttpRequest) -> HttpResponse:
    """First the test, then the choice to save: a rule that cannot be met stops the mail of a partner."""
    customer = access_customer(request, write=True)
    form = TlsRuleForm(request.POST or None, instance=TlsRule(customer=customer))
    report = None
    if request.method == "POST" and form.is_valid():
        report = test(form.cleaned_data["recipient_domain"])
        if "save" in request.POST:
            try:
                tls_rules.add(
                    customer,
                    actor=actor(request),
                    probe=report.probe(form.cleaned_data["level"]),
                    **form.cleaned_data,
                )
            except ValidationError as error:
                add_errors(form, error)
            else:
                notes.success(request, _("The rule is in force within a second."))
                return redirect("tls")
    return _rule_page(request, form, report, None, customer)


@page("GET", "POST")
def rule_change(request: HttpRequest, pk: int) -> HttpResponse:
    rule = access_tls_rule(request, pk, write=True)
    form = TlsRuleForm(request.POST or None, instance=rule)
    report = None
    if request.method == "POST" and form.is_valid():
        values, stored = form.cleaned_data, TlsRule.objects.get(pk=rule.pk)
        report = test(values["recipient_domain"])
        if "save" in request.POST:
            try:
                tls_rules.change(stored, actor=actor(request), **values)
            except ValidationError as error:
                add_errors(form, error)
            else:
                tls_rules.keep_probe(stored, report.probe(values["level"]))
                notes.success(request, _("Saved. The relay knows it within a second."))
                return redirect("tls")
    return _rule_page(request, form, report, rule, access_customer(request))


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
    report = test(rule.recipient_domain)
    tls_rules.keep_probe(rule, report.probe(rule.level))
    return render(
        request,
        "customer/tls_test.html",
        _test_context(access_customer(request), report, rule.recipient_domain),
    )


@page("GET", "POST")
def tls_test(request: HttpRequest) -> HttpResponse:
    """What the servers of any domain can do. By POST: the test talks to them."""
    customer = access_customer(request)
    form = TestForm(request.POST or None)
    context: dict[str, Any] = {"form": form}
    if request.method == "POST" and form.is_valid():
        try:
            domain = tls_rules.canonical_pattern(form.cleaned_data["domain"]).lstrip(".")
        except ValidationError:
            form.add_error("domain", _("This is not a domain name like example.com."))
        else:
            context |= _test_context(customer, test(domain), domain)
    return render(request, "customer/tls_test.html", context, status=400 if form.errors else 200)


def test(pattern: str) -> PreflightReport:
    return preflight_now(pattern.lstrip("."), settings.SMG, static=domain_checks.demo_zone())


def past_mail(customer: Customer, domain: str) -> Past:
    """The customer's delivered mail to the domain in the last 30 days (the newest of it): would it have met a rule?"""
    since = first_id(int((timezone.now() - timedelta(days=30)).timestamp() * 1000))
    rows = customer.recipients.filter(
        domain=domain, state=Recipient.StateChoice.DELIVERED, id__gte=since
    ).order_by("-id")
    found = [tls or {} for tls in rows.values_list("tls", flat=True)[:PAST]]
    return Past(
        len(found),
        sum(bool(tls.get("version")) for tls in found),
        sum(bool(tls.get("verified")) for tls in found),
    )


def verdict_rows(report: PreflightReport) -> list[tuple[str, str, str | Promise, str]]:
    """(level, chip state, sentence, first problem) for each level a rule may ask for."""
    rows = [(level, report.verdicts.get(level)) for level in TlsRule.Level.values]
    return [
        (level, verdict.state, VERDICTS.get(verdict.state, ""), verdict.text)
        for level, verdict in rows
        if verdict is not None
    ]


def _test_context(customer: Customer, report: PreflightReport, domain: str) -> dict[str, Any]:
    return {
        "report": report,
        "verdicts": verdict_rows(report),
        "past": past_mail(customer, domain.lstrip(".")),
    }


def _rule_page(
    request: HttpRequest,
    form: TlsRuleForm,
    report: PreflightReport | None,
    rule: TlsRule | None,
    customer: Customer,
) -> HttpResponse:
    context: dict[str, Any] = {"form": form, "rule": rule}
    if report is not None:
        context |= _test_context(customer, report, report.domain)
    return render(request, "customer/tls_rule.html", context, status=400 if form.errors else 200)
