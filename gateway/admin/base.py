"""What the admin pages of the relay share: who may, writing by verbs, actions with a page of their own, bounded counts.

Support is whoever is `is_staff`; every write goes through `gateway.control`, so that it is validated, audited and
told to the relay like everybody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise, cached_property
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from gateway.rules.ids import id_at

Text = str | Promise
COUNTED = 2000  # rows; a list says "2000" for more, because counting the log would read the log
WINDOWS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # no subscript at run time
    """Counts no further than COUNTED rows, whatever the size of the table."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return len(rows.order_by().values_list("pk")[:COUNTED])


def actor(request: HttpRequest) -> str:
    return str(request.user.get_username())


class StaffAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """For everybody in support. Reading is always allowed; what may be added, changed, deleted says the subclass."""

    may_add = may_change = may_delete = False
    show_full_result_count = False
    list_per_page = 50

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _is_staff(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_staff(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may_add and _is_staff(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_change and _is_staff(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_delete and _is_staff(request)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        if not self.may_delete:
            actions.pop("delete_selected", None)
        return actions

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The object's actions as buttons on its page; see templates/admin/gateway/change_form.html."""
        obj = kwargs.get("obj") or context.get("original")
        shown = self.object_actions(obj) if obj else []
        actions = self.get_actions(request)
        context["object_actions"] = [(name, actions[name][2]) for name in shown if name in actions]
        context["action_query"] = "?window=all" if WindowFilter in map(_base_filter, self.list_filter) else ""
        context["is_log"] = not self.may_change
        return super().render_change_form(request, context, *args, **kwargs)

    def ask(
        self, request: HttpRequest, queryset: QuerySet[Any], form: forms.Form, **shown: Any
    ) -> HttpResponse:
        """The page of an action: `name` and `title` of the action, a `hint`, the chosen objects, the form."""
        context = {
            **self.admin_site.each_context(request),
            **shown,
            "title": capfirst(str(shown["title"])),
            "opts": self.opts,
            "objects": queryset[:200],
            "form": form,
            "selected": request.POST.getlist("_selected_action"),
            "select_across": request.POST.get("select_across", "0"),
        }
        return TemplateResponse(request, "admin/confirm_action.html", context)

    def object_actions(self, obj: Any) -> list[str]:
        """Names of the actions that make sense for this object now."""
        return []

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The audit log is the history."""
        obj = self.get_object(request, object_id)
        query = f"?{urlencode({'q': str(obj), 'window': 'all'})}" if obj else ""
        return HttpResponseRedirect(reverse("admin:gateway_auditentry_changelist") + query)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Our audit log is the one that counts; Django's own would be a second truth."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """See log_addition."""

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """See log_addition."""


class LogAdmin(StaffAdmin):
    """A read-only list of a table that the relay fills: newest first, bounded in time and in counting."""

    paginator = BoundedPaginator
    list_per_page = 100
    list_max_show_all = 100
    ordering = ("-id",)


class VerbAdmin(StaffAdmin):
    """Saves and deletes through verbs of gateway.control.

    Subclasses define `create`, `change` and, with may_delete, `remove`; `values` are the form's cleaned data, of the
    changed fields only when changing.
    """

    may_add = may_change = True

    def create(self, request: HttpRequest, values: dict[str, Any]) -> Model:
        raise NotImplementedError

    def change(self, request: HttpRequest, obj: Any, values: dict[str, Any]) -> Any:
        raise NotImplementedError

    def remove(self, request: HttpRequest, obj: Any) -> Any:
        raise NotImplementedError

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            stored = self.model._default_manager.get(pk=obj.pk)
            self.change(request, stored, {name: form.cleaned_data[name] for name in form.changed_data})
            return
        created = self.create(request, dict(form.cleaned_data))
        obj.__dict__.update(created.__dict__)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """The verb decides what may go; what hangs on the object needs no permission of its own."""
        shown, counts, _needed, protected = super().get_deleted_objects(objs, request)
        return shown, counts, set(), protected

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.remove(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for obj in queryset:
            self.remove(request, obj)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._with_errors(request, super().changeform_view, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._with_errors(request, super().delete_view, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._with_errors(request, super().changelist_view, *args, **kwargs)

    def _with_errors(
        self, request: HttpRequest, view: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """A verb's refusal that the form could not foresee is a message, not a broken page."""
        try:
            response: HttpResponse = view(request, *args, **kwargs)
        except ValidationError as error:
            if request.method != "POST":
                raise
            messages.error(request, " ".join(error.messages))
            return HttpResponseRedirect(request.get_full_path())
        return response


class NoFields(forms.Form):
    """For actions that only ask "sure?"."""


class ReasonForm(forms.Form):
    reason = forms.CharField(label=_("Reason"), max_length=300, widget=forms.TextInput(attrs={"size": 60}))


class WindowFilter(admin.SimpleListFilter):
    """How far back a log is read; a day unless asked otherwise. Ids are made of the time: no other index is needed."""

    title = _("time")
    parameter_name = "window"
    default = "24h"
    id_field = "id__gte"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [
            ("1h", _("last hour")), ("24h", _("last 24 hours")), ("7d", _("last 7 days")), ("30d", _("last 30 days")),
            ("all", _("any time")),
        ]  # fmt: skip

    def value(self) -> str:
        return super().value() or self.default

    def choices(self, changelist: ChangeList) -> Any:
        for key, title in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: key})
            yield {"selected": self.value() == key, "query_string": query, "display": title}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        span = WINDOWS.get(self.value())
        return queryset if span is None else self.since(queryset, span)

    def since(self, queryset: QuerySet[Any], span: timedelta) -> QuerySet[Any]:
        return queryset.filter(**{self.id_field: id_at(timezone.now() - span)})


class AtWindowFilter(WindowFilter):
    """The same for tables with an indexed time."""

    def since(self, queryset: QuerySet[Any], span: timedelta) -> QuerySet[Any]:
        return queryset.filter(at__gte=timezone.now() - span)


def confirmed(
    name: str,
    description: Text,
    verb: Callable[..., Any],
    form_class: type[forms.Form] = NoFields,
    *,
    hint: Text = "",
) -> Callable[..., HttpResponse | None]:
    """An admin action with a page of its own: the chosen objects, the form's fields, one button.

    `verb(obj, actor=..., **fields)` is called for each object; False means "nothing to do".
    """

    def action(model_admin: StaffAdmin, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        applied = "apply" in request.POST
        form = form_class(request.POST) if applied else form_class()
        if applied and form.is_valid():
            run_verb(
                model_admin,
                request,
                queryset,
                lambda obj: verb(obj, actor=actor(request), **form.cleaned_data),
            )
            return None
        return model_admin.ask(request, queryset, form, name=name, title=description, hint=hint)

    action.short_description = description  # type: ignore[attr-defined]
    action.__name__ = name
    return action


def at_once(name: str, description: Text, verb: Callable[..., Any]) -> Callable[..., None]:
    """An admin action without a question: `verb(obj, actor=...)` for each object."""

    def action(model_admin: StaffAdmin, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        run_verb(model_admin, request, queryset, lambda obj: verb(obj, actor=actor(request)))

    action.short_description = description  # type: ignore[attr-defined]
    action.__name__ = name
    return action


def run_verb(
    model_admin: StaffAdmin, request: HttpRequest, rows: QuerySet[Any], verb: Callable[[Any], Any]
) -> None:
    """Call the verb for each row, tell how many changed, and what each refusal said."""
    changed = 0
    for obj in rows:
        try:
            changed += verb(obj) is not False
        except ValidationError as error:
            model_admin.message_user(request, f"{obj}: {' '.join(error.messages)}", messages.ERROR)
    if changed:
        text = ngettext("Done for one entry.", "Done for %(count)d entries.", changed) % {"count": changed}
        model_admin.message_user(request, text, messages.SUCCESS)


def _base_filter(item: Any) -> Any:
    return WindowFilter if isinstance(item, type) and issubclass(item, WindowFilter) else item


def _is_staff(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_staff)
