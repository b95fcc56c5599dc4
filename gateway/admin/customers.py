"""Customers and what they configure to be let in."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from gateway.admin.base import NoFields, ReasonForm, VerbAdmin, actor, at_once, confirmed
from gateway.control import credentials, customers, domain_checks, domains, tls_rules
from gateway.models import Credential, Customer, Domain, SourceNetwork, TlsRule


@admin.register(Customer)
class CustomerAdmin(VerbAdmin):
    list_display = ["name", "slug", "alert_email", "rate_limit", "language", "working", "created_at"]
    list_filter = [("suspended_at", admin.EmptyFieldListFilter), "language"]
    search_fields = ["name", "slug", "alert_email", "domains__name"]
    fieldsets = [
        (None, {"fields": ["name", "slug", "alert_email", "language", "time_zone"]}),
        (_("Limits and judging"), {"fields": ["rate_limit", "suspect_threshold", "spam_threshold"]}),
        (_("Reports"), {"fields": ["ndr_enabled", "ndr_on_refusal", "delay_warning_h"]}),
        (_("Log"), {"fields": ["keep_subjects", "retention_days"]}),
        (_("State"), {"fields": ["suspended_at", "suspended_reason", "created_at"]}),
    ]
    readonly_fields = ["suspended_at", "suspended_reason", "created_at"]
    actions = [
        confirmed(
            "suspend",
            _("Suspend"),
            customers.suspend,
            ReasonForm,
            hint=_(
                "Their servers are told to try again later (451); the queue goes on. The customer reads the reason."
            ),
        ),
        confirmed("resume", _("Resume"), customers.resume),
    ]

    @admin.display(boolean=True, description=_("may send"))
    def working(self, obj: Customer) -> bool:
        return obj.suspended_at is None

    def object_actions(self, obj: Customer) -> list[str]:
        return ["resume"] if obj.suspended_at else ["suspend"]

    def create(self, request: HttpRequest, values: dict[str, Any]) -> Customer:
        return customers.create(actor=actor(request), **values)

    def change(self, request: HttpRequest, obj: Customer, values: dict[str, Any]) -> None:
        customers.change(obj, actor=actor(request), **values)


def check_domain(domain: Domain, *, actor: str) -> None:
    """Ask the DNS now and keep what it says."""
    domain_checks.check(domain, actor=actor)


def vouch(domain: Domain, *, actor: str) -> bool:
    """Support's word instead of the DNS record."""
    return domains.verify(domain, actor=actor, by=actor)


@admin.register(Domain)
class DomainAdmin(VerbAdmin):
    may_change = False
    may_delete = True
    fields = [
        "customer",
        "name",
        "challenge",
        "verified_at",
        "verified_by",
        "health",
        "checked_at",
        "next_check_at",
        "records",
    ]
    readonly_fields = [
        "challenge",
        "verified_at",
        "verified_by",
        "health",
        "checked_at",
        "next_check_at",
        "records",
    ]
    list_display = ["name", "customer", "proven", "verified_at", "health", "checked_at"]
    list_filter = ["health", ("verified_at", admin.EmptyFieldListFilter)]
    search_fields = ["name", "customer__name"]
    list_select_related = ["customer"]
    autocomplete_fields = ["customer"]
    actions = [
        at_once("check", _("Check the DNS now"), check_domain),
        confirmed(
            "verify",
            _("Mark as proven"),
            vouch,
            hint=_("Only when you know for certain that the domain is the customer's."),
        ),
        confirmed("unverify", _("Take the proof back"), domains.unverify, ReasonForm),
    ]

    @admin.display(boolean=True, description=_("proven"))
    def proven(self, obj: Domain) -> bool:
        return obj.is_verified

    def object_actions(self, obj: Domain) -> list[str]:
        return ["check", "unverify" if obj.is_verified else "verify"]

    def create(self, request: HttpRequest, values: dict[str, Any]) -> Domain:
        return domains.add(values["customer"], values["name"], actor=actor(request))

    def remove(self, request: HttpRequest, obj: Domain) -> None:
        domains.remove(obj, actor=actor(request))


@admin.register(Credential)
class CredentialAdmin(VerbAdmin):
    """The secret is shown on one page, once, after it was made."""

    fields = ["customer", "username", "label", "networks", "senders", "expires_at", *(state := [
        "block", "block_reason", "blocked_at", "previous_until", "last_used_at", "last_used_ip",
    ])]  # fmt: skip
    readonly_fields = state
    list_display = ["username", "customer", "label", "block", "expires_at", "last_used_at", "last_used_ip"]
    list_filter = ["block"]
    search_fields = ["username", "label", "customer__name"]
    list_select_related = ["customer"]
    autocomplete_fields = ["customer"]
    actions = ["rotate", "release_fuse", "revoke"]
    revoke = confirmed("revoke", _("Revoke for good"), credentials.revoke, ReasonForm)
    release_fuse = confirmed("release_fuse", _("Release the abuse fuse"), credentials.release_fuse)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*self.readonly_fields, "customer", "username"] if obj else list(self.readonly_fields)

    def object_actions(self, obj: Credential) -> list[str]:
        by_block = {
            Credential.Block.NONE: ["rotate", "revoke"],
            Credential.Block.FUSE: ["release_fuse", "rotate", "revoke"],
        }
        return by_block.get(Credential.Block(obj.block), [])

    @admin.action(description=_("New secret (the old one is good for another day)"))
    def rotate(self, request: HttpRequest, queryset: QuerySet[Credential]) -> HttpResponse:
        if "apply" not in request.POST:
            return self.ask(request, queryset, NoFields(), name="rotate", title=_("New secret"))
        made = [(row.username, credentials.rotate(row, actor=actor(request))) for row in queryset]
        return self._show(request, made)

    def create(self, request: HttpRequest, values: dict[str, Any]) -> Credential:
        customer = values.pop("customer")
        credential, secret = credentials.create(customer, actor=actor(request), **values)
        request.made_secret = secret  # type: ignore[attr-defined]
        return credential

    def change(self, request: HttpRequest, obj: Credential, values: dict[str, Any]) -> None:
        credentials.change(obj, actor=actor(request), **values)

    def response_add(
        self, request: HttpRequest, obj: Credential, post_url_continue: Any = None
    ) -> HttpResponse:
        return self._show(request, [(obj.username, request.made_secret)])  # type: ignore[attr-defined]

    def _show(self, request: HttpRequest, made: list[tuple[str, str]]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Secret"),
            "made": made,
        }
        response = TemplateResponse(request, "admin/show_secret.html", context)
        response["Cache-Control"] = "no-store"
        return response


@admin.register(SourceNetwork)
class SourceNetworkAdmin(VerbAdmin):
    may_change = False
    may_delete = True
    fields = ["customer", "network", "may_relay", "note"]
    list_display = ["network", "customer", "may_relay", "note"]
    list_filter = ["may_relay"]
    search_fields = ["network", "customer__name", "note"]
    list_select_related = ["customer"]
    autocomplete_fields = ["customer"]

    def create(self, request: HttpRequest, values: dict[str, Any]) -> SourceNetwork:
        return customers.add_network(values.pop("customer"), actor=actor(request), **values)

    def remove(self, request: HttpRequest, obj: SourceNetwork) -> None:
        customers.remove_network(obj, actor=actor(request))


@admin.register(TlsRule)
class TlsRuleAdmin(VerbAdmin):
    may_delete = True
    fields = [
        "customer", "sender_domain", "recipient_domain", "level", "on_failure", "min_version", "fingerprint", "shadow",
        "note", "probe",
    ]  # fmt: skip
    readonly_fields = ["probe"]
    list_display = ["recipient_domain", "sender_domain", "customer", "level", "on_failure", "shadow"]
    list_filter = ["level", "on_failure", "shadow"]
    search_fields = ["recipient_domain", "sender_domain", "customer__name"]
    list_select_related = ["customer"]
    autocomplete_fields = ["customer"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*self.readonly_fields, "customer"] if obj else list(self.readonly_fields)

    def create(self, request: HttpRequest, values: dict[str, Any]) -> TlsRule:
        return tls_rules.add(values.pop("customer"), actor=actor(request), **values)

    def change(self, request: HttpRequest, obj: TlsRule, values: dict[str, Any]) -> None:
        tls_rules.change(obj, actor=actor(request), **values)

    def remove(self, request: HttpRequest, obj: TlsRule) -> None:
        tls_rules.remove(obj, actor=actor(request))
