"""Appeals and spam exceptions: support's decisions about verdicts."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.admin.base import StaffAdmin, confirmed
from gateway.control import appeals
from gateway.models import Appeal, SpamException


class AcceptForm(forms.Form):
    answer = forms.CharField(
        label=_("Answer to the customer"), required=False, widget=forms.Textarea(attrs={"rows": 3})
    )
    days = forms.IntegerField(
        label=_("Exception for days"),
        initial=appeals.EXCEPTION_DAYS,
        min_value=1,
        max_value=appeals.LONGEST_EXCEPTION_DAYS,
    )
    with_exception = forms.BooleanField(
        label=_("make an exception"),
        initial=True,
        required=False,
        help_text=_("The symbols of the appeal do not count for this customer's sender domain."),
    )


class DeclineForm(forms.Form):
    answer = forms.CharField(label=_("Answer to the customer"), widget=forms.Textarea(attrs={"rows": 3}))


@admin.register(Appeal)
class AppealAdmin(StaffAdmin):
    list_display = [
        "id",
        "customer",
        "state",
        "score",
        "flip_names",
        "created_by",
        "created_at",
        "decided_by",
    ]
    list_display_links = ["id", "customer"]
    list_filter = ["state", "customer"]
    search_fields = ["created_by", "comment", "customer__name"]
    list_select_related = ["customer", "message"]
    fields = [
        "customer", "state", "message_text", "sender", "score", "symbols", "flip_names", "comment", "created_by",
        "created_at", "answer", "decided_by", "decided_at",
    ]  # fmt: skip
    readonly_fields = ["message_text", "sender", "score", "symbols", "flip_names", "created_at"]
    actions = [
        confirmed("accept", _("Accept: it is not spam"), appeals.accept, AcceptForm),
        confirmed("decline", _("Decline: it stays as judged"), appeals.decline, DeclineForm),
        confirmed(
            "undo",
            _("Undo the acceptance"),
            appeals.undo,
            hint=_("What was learned is forgotten and the exceptions end."),
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Appeal]:
        rows: QuerySet[Appeal] = super().get_queryset(request)
        return rows.defer("vector")

    def object_actions(self, obj: Appeal) -> list[str]:
        return {Appeal.State.OPEN: ["accept", "decline"], Appeal.State.ACCEPTED: ["undo"]}.get(
            Appeal.State(obj.state), []
        )

    @admin.display(description=_("message"))
    def message_text(self, obj: Appeal) -> str:
        return obj.message.text_id if obj.message else "–"

    @admin.display(description=_("sender"))
    def sender(self, obj: Appeal) -> str:
        return obj.message.sender if obj.message else "–"

    @admin.display(description=_("score"))
    def score(self, obj: Appeal) -> str:
        return f"{obj.message.score:.0f} ({obj.message.get_category_display()})" if obj.message else "–"

    @admin.display(description=_("symbols"))
    def symbols(self, obj: Appeal) -> str:
        rows: list[Any] = obj.message.symbols if obj.message else []
        return ", ".join(f"{name} {share:+.1f}" for name, share in rows) or "–"

    @admin.display(description=_("smallest set of symbols for Good"))
    def flip_names(self, obj: Appeal) -> str:
        return ", ".join(map(str, obj.flip)) or "–"


@admin.register(SpamException)
class SpamExceptionAdmin(StaffAdmin):
    list_display = [
        "customer",
        "sender_domain",
        "symbol_names",
        "expires_at",
        "active",
        "created_by",
        "created_at",
    ]
    list_filter = ["customer"]
    search_fields = ["sender_domain", "customer__name", "created_by"]
    list_select_related = ["customer"]
    actions = [confirmed("end", _("End the exception now"), appeals.end_exception)]

    def object_actions(self, obj: SpamException) -> list[str]:
        return ["end"] if self.active(obj) else []

    @admin.display(boolean=True, description=_("in force"))
    def active(self, obj: SpamException) -> bool:
        return obj.expires_at > timezone.now()

    @admin.display(description=_("symbols"))
    def symbol_names(self, obj: SpamException) -> str:
        return ", ".join(map(str, obj.symbols))
