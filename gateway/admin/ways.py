"""Gateways, bars, shaping and the relay's processes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.admin.base import ReasonForm, StaffAdmin, VerbAdmin, actor, at_once, confirmed
from gateway.control import gateways, shaping
from gateway.models import Bar, Gateway, Shaping, Worker


class GatewayForm(forms.ModelForm):  # type: ignore[type-arg]
    """The next hop's password can be set and replaced, never read."""

    new_password = forms.CharField(
        label=_("next hop password"),
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("Empty: unchanged."),
    )

    class Meta:
        model = Gateway
        fields = [
            "name", "pool", "hostname", "source_ip", "source_ip6", "next_hop", "next_hop_username", "next_hop_tls",
            "weight",
        ]  # fmt: skip


@admin.register(Gateway)
class GatewayAdmin(VerbAdmin):
    form = GatewayForm
    may_delete = True
    list_display = [
        "name",
        "pool",
        "hostname",
        "source_ip",
        "next_hop",
        "works",
        "drained_at",
        "drained_reason",
    ]
    list_filter = ["pool", "drained_by_listing", ("drained_at", admin.EmptyFieldListFilter)]
    search_fields = ["name", "hostname", "source_ip"]
    readonly_fields = ["drained_at", "drained_reason", "drained_by_listing", "created_at"]
    actions = [
        confirmed("drain", _("Drain: send no more mail by it"), gateways.drain, ReasonForm),
        at_once("undrain", _("Use it again"), gateways.undrain),
    ]

    @admin.display(boolean=True, description=_("in use"))
    def works(self, obj: Gateway) -> bool:
        return obj.drained_at is None

    def object_actions(self, obj: Gateway) -> list[str]:
        return ["undrain"] if obj.drained_at else ["drain"]

    def create(self, request: HttpRequest, values: dict[str, Any]) -> Gateway:
        password = values.pop("new_password")
        return gateways.create(actor=actor(request), next_hop_password=password, **values)

    def change(self, request: HttpRequest, obj: Gateway, values: dict[str, Any]) -> None:
        password = values.pop("new_password", None)
        gateways.change(obj, actor=actor(request), next_hop_password=password, **values)

    def remove(self, request: HttpRequest, obj: Gateway) -> None:
        gateways.remove(obj, actor=actor(request))


@admin.register(Bar)
class BarAdmin(StaffAdmin):
    list_display = ["destination", "gateway", "until", "active", "reason", "created_at"]
    list_filter = ["gateway"]
    search_fields = ["destination", "reason"]
    list_select_related = ["gateway"]
    actions = [at_once("lift", _("Lift: try again at once"), gateways.lift_bar)]

    @admin.display(boolean=True, description=_("in force"))
    def active(self, obj: Bar) -> bool:
        return obj.until > timezone.now()

    def object_actions(self, obj: Bar) -> list[str]:
        return ["lift"]


@admin.register(Shaping)
class ShapingAdmin(VerbAdmin):
    may_delete = True
    list_display = [
        "destination",
        "max_connections",
        "messages_per_minute",
        "messages_per_connection",
        "note",
    ]
    fields = ("destination", "max_connections", "messages_per_minute", "messages_per_connection", "note")
    search_fields = ["destination", "note"]

    def create(self, request: HttpRequest, values: dict[str, Any]) -> Shaping:
        return shaping.create(actor=actor(request), **values)

    def change(self, request: HttpRequest, obj: Shaping, values: dict[str, Any]) -> None:
        shaping.change(obj, actor=actor(request), **values)

    def remove(self, request: HttpRequest, obj: Shaping) -> None:
        shaping.remove(obj, actor=actor(request))


@admin.register(Worker)
class WorkerAdmin(StaffAdmin):
    list_display = ["owner", "node", "pid", "started_at", "seen_at", "degraded_parts"]
    fields = ["owner", "node", "pid", "gateways", "started_at", "seen_at", "degraded", "numbers"]
    search_fields = ["owner", "node"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        rows: QuerySet[Worker] = super().get_queryset(request)
        return rows.order_by("-seen_at")

    @admin.display(description=_("degraded parts"))
    def degraded_parts(self, obj: Worker) -> str:
        return ", ".join(obj.degraded) or "–"
