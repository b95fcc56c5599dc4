"""The lists and the watched targets."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from blacklist.control import providers, targets
from blacklist.models import BlacklistSettings, Provider, Target
from blacklist.rules.names import canonical_target
from blacklist.rules.providers import KEY
from gateway.admin.base import StaffAdmin, VerbAdmin, actor, at_once, confirmed


class KeyForm(forms.Form):
    key = forms.CharField(
        label=_("Key"), max_length=200, required=False, widget=forms.PasswordInput(render_value=False),
        help_text=_("Kept encrypted and never shown again. Empty: forget it."),
    )  # fmt: skip


def set_key(provider: Provider, *, key: str, actor: str) -> None:
    providers.set_key(provider, key, actor=actor)


def switch_on(provider: Provider, *, actor: str) -> bool:
    return False if provider.enabled else providers.switch(provider, enabled=True, actor=actor) is None


def switch_off(provider: Provider, *, actor: str) -> bool:
    return False if not provider.enabled else providers.switch(provider, enabled=False, actor=actor) is None


@admin.register(Provider)
class ProviderAdmin(VerbAdmin):
    list_display = [
        "slug",
        "name",
        "kind",
        "severity",
        "known",
        "enabled",
        "needs_key",
        "key_is_set",
        "health",
        "health_since",
        "health_reason",
    ]
    list_filter = ["enabled", "known", "health", "severity", "needs_key", "removal_method"]
    search_fields = ["slug", "name", "zone"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "slug",
                    "name",
                    "zone",
                    "kind",
                    "known",
                    "enabled",
                    "needs_key",
                    "key_is_set",
                    "policy",
                    "rate_qps",
                ]
            },
        ),
        (
            _("Answers"),
            {
                "fields": [
                    "answer_mode",
                    "return_codes",
                    "error_codes",
                    "code_rows",
                    "test_positive",
                    "test_negative",
                ]
            },
        ),
        (_("Severity"), {"fields": ["severity", "severity_reason"]}),
        (
            _("Removal"),
            {"fields": ["removal_method", "removal_to", "removal_notes", "request_policy", "auto_expiry"]},
        ),
        (_("Health"), {"fields": ["health", "health_reason", "health_since", "last_ok_at"]}),
        (_("Sources"), {"fields": ["source_url", "confirmation"]}),
    ]
    readonly_fields = ["key_is_set", "health", "health_reason", "health_since", "last_ok_at"]
    actions = [
        confirmed("set_key", _("Set or forget the key"), set_key, KeyForm),
        at_once("switch_on", _("Ask this list"), switch_on),
        at_once("switch_off", _("Do not ask this list"), switch_off),
    ]

    def object_actions(self, obj: Provider) -> list[str]:
        names = ["switch_off"] if obj.enabled else ["switch_on"] if obj.can_be_asked else []
        return [*names, *(["set_key"] if obj.needs_key or KEY in obj.zone else [])]

    @admin.display(description=_("key"), boolean=True)
    def key_is_set(self, obj: Provider) -> bool:
        return obj.has_key

    def create(self, request: HttpRequest, values: dict[str, Any]) -> Provider:
        return providers.save_provider(Provider(), values, actor=actor(request))

    def change(self, request: HttpRequest, obj: Provider, values: dict[str, Any]) -> Provider:
        return providers.save_provider(obj, values, actor=actor(request))


class TargetForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Target
        fields = ["value", "role", "customers", "gateway", "is_active", "note"]

    def clean_value(self) -> str:
        try:
            return canonical_target(self.cleaned_data["value"])[1]
        except ValueError as error:
            raise ValidationError(str(error)) from error


def check_now(target: Target, *, actor: str) -> None:
    """Ask every list about it, in the background."""
    targets.check_soon(target, actor=actor)


@admin.register(Target)
class TargetAdmin(VerbAdmin):
    form = TargetForm
    list_display = ["value", "kind", "role", "gateway", "owners", "is_active", "is_manual", "note"]
    list_filter = ["role", "kind", "is_active", "is_manual"]
    search_fields = ["value", "customers__name", "note"]
    list_select_related = ["gateway"]
    filter_horizontal = ["customers"]
    actions = [at_once("check_now", _("Ask all lists now"), check_now)]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Target]:
        rows: QuerySet[Target] = super().get_queryset(request)
        return rows.prefetch_related("customers")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["value"] if obj else []

    def object_actions(self, obj: Target) -> list[str]:
        return ["check_now"]

    @admin.display(description=_("customers"))
    def owners(self, obj: Target) -> str:
        return ", ".join(customer.name for customer in list(obj.customers.all())[:5])

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The verb saved the customers, too."""

    def create(self, request: HttpRequest, values: dict[str, Any]) -> Target:
        return targets.save_target(values["value"], values, actor=actor(request))

    def change(self, request: HttpRequest, obj: Target, values: dict[str, Any]) -> Target:
        return targets.save_target(obj.value, values, actor=actor(request))


@admin.register(BlacklistSettings)
class BlacklistSettingsAdmin(StaffAdmin):
    may_change = True
    list_display = ["__str__", "auto_drain", "operator", "contact_mail"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[BlacklistSettings]:
        BlacklistSettings.load()
        rows: QuerySet[BlacklistSettings] = super().get_queryset(request)
        return rows

    def save_model(self, request: HttpRequest, obj: BlacklistSettings, form: Any, change: bool) -> None:
        providers.save_settings(obj, form.changed_data, actor=actor(request))
