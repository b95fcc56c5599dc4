"""DKIM keys and the customers' requests for them. The private key is never on a page."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from gateway.admin.base import ReasonForm, StaffAdmin, at_once, confirmed
from gateway.admin.customers import check_domain
from gateway.control import dkim
from gateway.models import DkimKey

State = DkimKey.State
NEXT = {  # which actions make sense in which state
    State.REQUESTED: ["approve", "decline"],
    State.PUBLISHING: ["check", "activate", "revoke"],
    State.ACTIVE: ["check", "revoke"],
    State.RETIRING: ["revoke"],
}


class ApproveForm(forms.Form):
    selector = forms.SlugField(
        label=_("Selector"), required=False, max_length=63, help_text=_("Empty: the next free one.")
    )


def check_record(key: DkimKey, *, actor: str) -> None:
    """Ask the DNS for the records of the key's domain, this one among them."""
    check_domain(key.domain, actor=actor)


@admin.register(DkimKey)
class DkimKeyAdmin(StaffAdmin):
    list_display = [
        "domain",
        "customer",
        "selector",
        "state",
        "kind",
        "requested_at",
        "checked_at",
        "problem",
        "rotate_at",
    ]
    list_filter = ["state", "kind"]
    search_fields = ["domain__name", "selector", "domain__customer__name"]
    list_select_related = ["domain__customer"]
    fields = [
        "domain", "customer", "state", "kind", "selector", "record_name", "record_value", "note", "requested_by",
        "requested_at", "approved_by", "approved_at", "checked_at", "problem", "activated_at", "retired_at",
        "rotate_at",
    ]  # fmt: skip
    readonly_fields = ["customer", "record_name", "record_value"]
    actions = [
        confirmed("approve", _("Approve: make the key"), dkim.approve, ApproveForm),
        confirmed(
            "decline", _("Decline"), dkim.decline, ReasonForm, hint=_("The customer reads the reason.")
        ),
        at_once("check", _("Check the record now"), check_record),
        at_once("activate", _("Sign with it"), dkim.activate),
        confirmed(
            "revoke",
            _("Revoke"),
            dkim.revoke,
            ReasonForm,
            hint=_("The private key is deleted. Nothing signs with it."),
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[DkimKey]:
        rows: QuerySet[DkimKey] = super().get_queryset(request)
        return rows.defer("private_key")

    def object_actions(self, obj: DkimKey) -> list[str]:
        return NEXT.get(State(obj.state), [])

    @admin.display(description=_("customer"))
    def customer(self, obj: DkimKey) -> str:
        return str(obj.domain.customer)

    @admin.display(description=_("record name"))
    def record_name(self, obj: DkimKey) -> str:
        return dkim.record_name(obj) if obj.selector else "–"

    @admin.display(description=_("record value"))
    def record_value(self, obj: DkimKey) -> str:
        return dkim.record_value(obj) if obj.selector else "–"
