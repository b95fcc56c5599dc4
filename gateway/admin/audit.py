"""The audit log: to be read, never to be changed."""

from __future__ import annotations

import json

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from gateway.admin.base import AtWindowFilter, LogAdmin
from gateway.models import AuditEntry


@admin.register(AuditEntry)
class AuditEntryAdmin(LogAdmin):
    list_display = ["at", "actor", "action", "target", "customer", "changes"]
    list_filter = [AtWindowFilter, "customer"]
    search_fields = ["=actor", "=action", "target"]
    list_select_related = ["customer"]
    fields = ["at", "actor", "action", "target", "customer", "detail"]

    @admin.display(description=_("details"))
    def changes(self, obj: AuditEntry) -> str:
        return json.dumps(obj.detail, ensure_ascii=False)[:200] if obj.detail else ""
