"""What the actions on tickets ask for, and the filters of their list."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from blacklist.models import DelistingTicket
from blacklist.rules.tickets import ENDED

WIDE = forms.TextInput(attrs={"size": 80})
DAYTIME = forms.DateTimeInput(attrs={"type": "datetime-local"})


class CauseForm(forms.Form):
    cause = forms.ChoiceField(label=_("Cause"), choices=DelistingTicket.Cause.choices)
    cause_text = forms.CharField(
        label=_("Cause in one sentence"),
        max_length=500,
        required=False,
        widget=WIDE,
        help_text=_("For the operator of the list, in English. Empty: a usual sentence."),
    )
    action_text = forms.CharField(label=_("What was done"), max_length=500, widget=WIDE)
    fixed_at = forms.DateTimeField(
        label=_("Fixed since"), required=False, widget=DAYTIME, help_text=_("Empty: now.")
    )


class SubmittedForm(forms.Form):
    reference = forms.CharField(
        label=_("Reference"), max_length=200, help_text=_("Ticket number, or what the page answered.")
    )
    at = forms.DateTimeField(
        label=_("Submitted at"), required=False, widget=DAYTIME, help_text=_("Empty: now.")
    )


class AnswerForm(forms.Form):
    answer = forms.CharField(
        label=_("What the operator said"), max_length=2000, widget=forms.Textarea(attrs={"rows": 4})
    )


class RiskForm(forms.Form):
    until = forms.DateTimeField(label=_("Until"), widget=DAYTIME)
    reason = forms.CharField(
        label=_("Reason"), max_length=300, widget=WIDE, help_text=_("The customer reads the reason.")
    )


class CommentForm(forms.Form):
    text = forms.CharField(label=_("Text"), max_length=5000, widget=forms.Textarea(attrs={"rows": 5}))
    public = forms.BooleanField(label=_("The customer reads it"), required=False)


class QuestionForm(forms.Form):
    text = forms.CharField(
        label=_("Question to the customer"), max_length=5000, widget=forms.Textarea(attrs={"rows": 5})
    )


class DeadlineFilter(admin.SimpleListFilter):
    title = _("deadline")
    parameter_name = "deadline"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("over", _("over")),
            ("today", _("within 24 hours")),
            ("later", _("later")),
            ("none", _("none")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = timezone.now()
        day = now + timedelta(days=1)
        spans: dict[str, dict[str, Any]] = {
            "over": {"next_action_at__lt": now},
            "today": {"next_action_at__gte": now, "next_action_at__lt": day},
            "later": {"next_action_at__gte": day},
            "none": {"next_action_at__isnull": True},
        }
        return queryset.filter(**spans.get(self.value() or "", {}))


class LifeFilter(admin.SimpleListFilter):
    """Work first: ended tickets are shown when asked for."""

    title = _("life")
    parameter_name = "life"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("ended", _("ended")), ("all", _("all"))]

    def choices(self, changelist: Any) -> Any:
        yield {
            "selected": self.value() is None,
            "query_string": changelist.get_query_string(remove=["life"]),
            "display": _("open"),
        }
        for key, title in self.lookup_choices:
            query = changelist.get_query_string({"life": key})
            yield {"selected": self.value() == key, "query_string": query, "display": title}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match = request.resolver_match
        if self.value() == "all" or match is None or not str(match.url_name).endswith("changelist"):
            return queryset
        ended = [state.value for state in ENDED]
        if self.value() == "ended":
            return queryset.filter(state__in=ended)
        return queryset if request.method == "POST" else queryset.exclude(state__in=ended)
