"""The queue and the log, read-only but for the queue's verbs. Subjects are content: they are not shown here."""

from __future__ import annotations

import ipaddress
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from gateway.admin.base import AtWindowFilter, LogAdmin, NoFields, VerbAdmin, WindowFilter, actor
from gateway.control import queue_filter, suppressions
from gateway.models import Attempt, Complaint, Message, NdrReport, Recipient, Refusal, Suppression
from gateway.rules.ids import from_text, to_text


def number_of(text: str) -> int | None:
    """The number behind a message id as people see it, or None."""
    try:
        return from_text(text)
    except ValueError:
        return None


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class RecipientWindowFilter(WindowFilter):
    """A recipient is as old as its message."""

    id_field = "message__gte"


def message_query(term: str) -> Q:
    """What a search word means: id, IP address, Message-ID, mailbox or domain. Exact, so that indexes serve."""
    number = number_of(term)
    if number is not None:
        return Q(pk=number)
    if is_address(term):
        return Q(client_ip=term)
    if term.startswith("<"):
        return Q(message_id=term)
    if "@" in term:
        return Q(sender=term) | Q(recipients__address=term) | Q(message_id=f"<{term}>")
    return Q(sender_domain=term.lower())


@admin.register(Message)
class MessageAdmin(LogAdmin):
    list_display = [
        "text_id",
        "received_at",
        "customer",
        "sender",
        "category",
        "score",
        "recipient_count",
        "size_bytes",
    ]
    list_filter = [WindowFilter, "category", "kind", "customer"]
    search_fields = ["id"]  # switches the search box on; get_search_results does the work
    search_help_text = _("A message id, an address, a domain, an IP address or a Message-ID.")
    list_select_related = ["customer"]
    fields = [
        "text_id", "kind", "customer", "credential", "received_at", "sender", "header_from", "message_id", "size_bytes",
        "client_ip", "helo", "client_tls", "category", "score", "symbols", "trace", "recipient_rows",
    ]  # fmt: skip
    readonly_fields = ["text_id", "recipient_rows"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Message], search_term: str
    ) -> tuple[QuerySet[Message], bool]:
        term = search_term.strip()
        return (queryset.filter(message_query(term)), True) if term else (queryset, False)

    @admin.display(description=_("id"), ordering="id")
    def text_id(self, obj: Message) -> str:
        return obj.text_id

    @admin.display(description=_("recipients"))
    def recipient_rows(self, obj: Message) -> SafeString:
        rows = obj.recipients.all()[:200]
        return format_html_join(mark_safe("<br>"), "{}: {} {} {}", (_row(row) for row in rows))


def _row(row: Recipient) -> tuple[Any, ...]:
    link = format_html(
        '<a href="{}">{}</a>', reverse("admin:gateway_recipient_change", args=[row.pk]), row.address
    )
    return link, row.get_state_display(), row.code or "", row.text


@admin.register(Recipient)
class RecipientAdmin(LogAdmin):
    list_display = [
        "address",
        "message_text",
        "customer",
        "state",
        "pool",
        "attempts",
        "next_attempt_at",
        "reason",
        "reply",
    ]
    list_filter = [RecipientWindowFilter, "state", "pool", "customer"]
    search_fields = ["address"]
    search_help_text = _("An address, a domain, or a message id.")
    list_select_related = ["customer"]
    fields = [
        "message_text", "customer", "address", "domain", "state", "pool", "attempts", "next_attempt_at", "lease_owner",
        "expires_at", "gateway", "remote_host", "reply", "reason", "tls", "settled_at", "tries",
    ]  # fmt: skip
    readonly_fields = ["message_text", "reply", "tries"]
    actions = ["retry", "release", "hold", "cancel"]

    @admin.action(description=_("Try again now"))
    def retry(self, request: HttpRequest, queryset: QuerySet[Recipient]) -> None:
        self._apply("retry", request, queryset)

    @admin.action(description=_("Release held mail"))
    def release(self, request: HttpRequest, queryset: QuerySet[Recipient]) -> None:
        self._apply("release", request, queryset)

    @admin.action(description=_("Hold"))
    def hold(self, request: HttpRequest, queryset: QuerySet[Recipient]) -> HttpResponse | None:
        return self._ask_first("hold", _("Hold"), request, queryset)

    @admin.action(description=_("Cancel: do not deliver"))
    def cancel(self, request: HttpRequest, queryset: QuerySet[Recipient]) -> HttpResponse | None:
        return self._ask_first("cancel", _("Cancel: do not deliver"), request, queryset)

    def _ask_first(
        self, verb: str, title: Any, request: HttpRequest, rows: QuerySet[Recipient]
    ) -> HttpResponse | None:
        if "apply" in request.POST:
            self._apply(verb, request, rows)
            return None
        hint = _("%(count)d recipients are in a state that this changes.") % {
            "count": queue_filter.touched(verb, rows).count()
        }
        return self.ask(request, rows, NoFields(), name=verb, title=title, hint=hint)

    def _apply(self, verb: str, request: HttpRequest, rows: QuerySet[Recipient]) -> None:
        changed = queue_filter.apply(verb, rows, actor=actor(request))
        text = ngettext("Done for one entry.", "Done for %(count)d entries.", changed) % {"count": changed}
        self.message_user(request, text, messages.SUCCESS if changed else messages.WARNING)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Recipient], search_term: str
    ) -> tuple[QuerySet[Recipient], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        number = number_of(term)
        if number is not None:
            return queryset.filter(message=number), False
        return queryset.filter(Q(address=term) if "@" in term else Q(domain=term.lower())), False

    def object_actions(self, obj: Recipient) -> list[str]:
        waiting = {
            Recipient.StateChoice.QUEUED: ["retry", "hold", "cancel"],
            Recipient.StateChoice.HELD: ["release", "cancel"],
        }
        return waiting.get(Recipient.StateChoice(obj.state), [])

    @admin.display(description=_("message"))
    def message_text(self, obj: Recipient) -> SafeString:
        link = reverse("admin:gateway_message_change", args=[obj.message_id])
        return format_html('<a href="{}">{}</a>', link, to_text(obj.message_id))

    @admin.display(description=_("reply"))
    def reply(self, obj: Recipient) -> str:
        return " ".join(str(part) for part in (obj.code, obj.enhanced, obj.text[:300]) if part) or "–"

    @admin.display(description=_("attempts"))
    def tries(self, obj: Recipient) -> SafeString:
        rows = Attempt.objects.filter(message=obj.message_id, recipient=obj.pk).order_by("-id")[:50]
        cells = (
            (row.at.isoformat(" ", "seconds"), row.stage, row.remote_host, row.code or "", row.text)
            for row in rows
        )
        return format_html_join(mark_safe("<br>"), "{} {} {} {} {}", cells)


@admin.register(Refusal)
class RefusalAdmin(LogAdmin):
    list_display = [
        "at",
        "customer",
        "username",
        "stage",
        "client_ip",
        "sender",
        "recipient",
        "code",
        "text",
        "reason",
    ]
    list_filter = [AtWindowFilter, "stage", "customer"]
    search_fields = ["=client_ip", "=username", "=sender", "=recipient", "=reason"]
    list_select_related = ["customer"]
    fields = [
        "at", "customer", "username", "stage", "client_ip", "helo", "sender", "recipient", "code", "enhanced", "text",
        "reason",
        "detail", "trace",
    ]  # fmt: skip


@admin.register(NdrReport)
class NdrReportAdmin(LogAdmin):
    list_display = ["at", "customer", "kind", "sender", "address", "cause", "code", "enhanced", "text"]
    list_filter = [AtWindowFilter, "kind", "customer"]
    search_fields = ["=address", "=domain", "=sender", "=cause", "=enhanced"]
    list_select_related = ["customer"]
    fields = [
        "at", "customer", "kind", "sender", "address", "domain", "cause", "code", "enhanced", "text", "gateway",
    ]  # fmt: skip


@admin.register(Complaint)
class ComplaintAdmin(LogAdmin):
    list_display = ["at", "kind", "customer", "credential", "author", "reporter", "obstacle"]
    list_filter = [AtWindowFilter, "kind", "obstacle", "customer"]
    search_fields = ["=author", "=reporter", "=recipient", "=header_id"]
    list_select_related = ["customer", "credential"]
    fields = [
        "at", "kind", "customer", "credential", "message", "obstacle", "reporter", "user_agent", "author", "recipient",
        "source_ip", "header_id", "told_at",
    ]  # fmt: skip


@admin.register(Suppression)
class SuppressionAdmin(VerbAdmin):
    may_change = False
    may_delete = True
    fields = ["customer", "address", "reason", "text"]
    list_display = ["address", "customer", "reason", "text", "created_at"]
    list_filter = ["customer"]
    search_fields = ["=address"]
    list_select_related = ["customer"]

    def create(self, request: HttpRequest, values: dict[str, Any]) -> Suppression:
        return suppressions.add(actor=actor(request), **values)

    def remove(self, request: HttpRequest, obj: Suppression) -> None:
        suppressions.remove(obj, actor=actor(request))
