"""Check runs: what was asked, what came of it."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from blacklist.admin import show
from blacklist.control import schedules
from blacklist.models import CheckRun
from gateway.admin.base import StaffAdmin, at_once


def run_again(run: CheckRun, *, actor: str) -> None:
    """The whole check, in the background."""
    schedules.run_soon(actor)


@admin.register(CheckRun)
class CheckRunAdmin(StaffAdmin):
    list_display = ["started_at", "kind", "phase", "actor", "finished_at", "done", "total", "results"]
    list_filter = ["kind", "phase"]
    fields = [
        "kind",
        "phase",
        "slot",
        "actor",
        "started_at",
        "finished_at",
        "total",
        "done",
        "results",
        "findings_table",
        "lists_table",
    ]
    readonly_fields = ["results", "findings_table", "lists_table"]
    actions = [at_once("run_again", _("Run the whole check now"), run_again)]

    def object_actions(self, obj: CheckRun) -> list[str]:
        return ["run_again"]

    @admin.display(description=_("results"))
    def results(self, obj: CheckRun) -> str:
        return ", ".join(f"{count} {status}" for status, count in sorted(obj.counts.items())) or "–"

    @admin.display(description=_("resolver and lists"))
    def findings_table(self, obj: CheckRun) -> SafeString:
        return show.table(
            [str(_("kind")), str(_("text"))], [(row["code"], row["text"]) for row in obj.findings]
        )

    @admin.display(description=_("lists"))
    def lists_table(self, obj: CheckRun) -> SafeString:
        rows = [
            (slug, *(row.get(name, "") for name in ("listed", "not_listed", "seconds", "canary", "stopped")))
            for slug, row in sorted(obj.lists.items())
        ]
        heads = [_("list"), _("listed"), _("not listed"), _("seconds"), _("test entries"), _("stopped")]
        return show.table([str(head) for head in heads], rows)
