"""Sender domains: list, add, records found against expected, check now, remove; and their DKIM keys."""

from __future__ import annotations

from django import forms
from django.contrib import messages as notes
from django.core.exceptions import ValidationError
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway.control import dkim, domain_checks, domains
from gateway.models import DkimKey, Domain
from portal.access import access_customer, access_dkim_key, access_domain, actor, page
from portal.customer.domain_words import key_problem, record_views, short_name
from portal.forms import add_errors

SHOWN = ("spf", "mx", "dmarc")
OPEN_KEYS = (DkimKey.State.ACTIVE, DkimKey.State.PUBLISHING, DkimKey.State.REQUESTED)


class DomainForm(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("Domain"),
        max_length=253,
        help_text=gettext_lazy("The part after the @ of your sender addresses, for example acme.example."),
    )


class DkimRequestForm(forms.Form):
    kind = forms.ChoiceField(
        label=gettext_lazy("Kind of record"), choices=DkimKey.Kind.choices, widget=forms.RadioSelect,
        initial=DkimKey.Kind.TXT,
        help_text=gettext_lazy(
            "With CNAME you publish two records once (smgc1 and smgc2), and we change keys between them without you; "
            "with TXT you publish each new key yourself."
        ),
    )  # fmt: skip
    note = forms.CharField(label=gettext_lazy("Note for support (optional)"), max_length=300, required=False)


@page("GET")
def domain_list(request: HttpRequest) -> HttpResponse:
    customer = access_customer(request)
    keys = Prefetch("dkim_keys", DkimKey.objects.filter(state__in=OPEN_KEYS), to_attr="open_keys")
    rows = [_row(domain) for domain in customer.domains.prefetch_related(keys)]
    return render(request, "customer/domains.html", {"rows": rows})


@page("GET", "POST")
def domain_add(request: HttpRequest) -> HttpResponse:
    customer = access_customer(request, write=True)
    form = DomainForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            domain = domains.add(customer, form.cleaned_data["name"], actor=actor(request))
        except ValidationError as error:
            add_errors(form, error)
        else:
            domain_checks.check(domain, actor=actor(request))
            return redirect("domain", name=domain.name)
    return render(request, "customer/domain_add.html", {"form": form}, status=400 if form.errors else 200)


@page("GET")
def domain_detail(request: HttpRequest, name: str) -> HttpResponse:
    domain = access_domain(request, name)
    keys = list(domain.dkim_keys.all())
    views = record_views(domain)
    context = {
        "domain": domain,
        "records": [(view, short_name(view.name, domain.name)) for view in views],
        "keys": [(key, key_problem(key)) for key in keys],
        "may_request": domain.is_verified and not any(key.state in dkim.OPEN for key in keys),
        "has_active": any(key.state == DkimKey.State.ACTIVE for key in keys),
    }
    return render(request, "customer/domain.html", context)


@page("POST")
def domain_check(request: HttpRequest, name: str) -> HttpResponse:
    """Ask the DNS now. Reading for everybody: a viewer may want to know too."""
    domain = access_domain(request, name)
    if not domain_checks.may_check(domain):
        notes.warning(request, _("That was checked a moment ago. Wait some seconds."))
        return redirect("domain", name=domain.name)
    _say(request, domain, domain_checks.check(domain, actor=actor(request)))
    return redirect("domain", name=domain.name)


@page("GET", "POST")
def domain_remove(request: HttpRequest, name: str) -> HttpResponse:
    domain = access_domain(request, name, write=True)
    if request.method == "POST":
        domains.remove(domain, actor=actor(request))
        notes.success(
            request, _("%(domain)s is removed. Mail from it is refused now.") % {"domain": domain.name}
        )
        return redirect("domains")
    return render(request, "customer/domain_remove.html", {"domain": domain})


@page("GET", "POST")
def dkim_request(request: HttpRequest, name: str) -> HttpResponse:
    domain = access_domain(request, name, write=True)
    form = DkimRequestForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            dkim.request(
                domain, actor=actor(request), kind=form.cleaned_data["kind"], note=form.cleaned_data["note"]
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            notes.success(request, _("Requested. Support makes the key; then its record appears here."))
            return redirect("domain", name=domain.name)
    context = {"form": form, "domain": domain, "has_active": domain.dkim_keys.filter(state="active").exists()}
    return render(request, "customer/dkim_request.html", context, status=400 if form.errors else 200)


@page("GET", "POST")
def dkim_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a request back, or end a key: asked on its own page."""
    key = access_dkim_key(request, pk, write=True)
    if request.method == "POST":
        dkim.revoke(key, actor=actor(request), reason="")
        notes.success(request, _("The key is ended."))
        return redirect("domain", name=key.domain.name)
    return render(request, "customer/dkim_revoke.html", {"key": key})


def _row(domain: Domain) -> dict[str, object]:
    states = {key: domain.records.get(key, {}).get("state") for key in SHOWN}
    open_keys: list[DkimKey] = domain.open_keys  # type: ignore[attr-defined]
    best = min(
        (key.state for key in open_keys), key=lambda state: OPEN_KEYS.index(DkimKey.State(state)), default=""
    )
    return {"domain": domain, "states": states, "dkim": best}


def _say(request: HttpRequest, domain: Domain, conclusion: str) -> None:
    if conclusion == "verified":
        notes.success(request, _("%(domain)s is proven: you can send from it now.") % {"domain": domain.name})
    elif conclusion == "taken":
        notes.error(request, str(domains.TAKEN))
    elif conclusion == "unverified":
        notes.warning(
            request, _("The ownership record is gone for too long; the domain is no longer proven.")
        )
    else:
        notes.success(
            request, _("Checked just now, at %(time)s.") % {"time": f"{timezone.localtime():%H:%M:%S}"}
        )
