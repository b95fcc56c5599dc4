"""The delisting desk: tickets with their deadline, evidence, draft and history; everything support
does is an action."""

from __future__ import annotations

from datetime import datetime

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import linebreaksbr
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from blacklist.admin import show
from blacklist.admin.ticket_forms import (
    AnswerForm,
    CauseForm,
    CommentForm,
    DeadlineFilter,
    LifeFilter,
    QuestionForm,
    RiskForm,
    SubmittedForm,
)
from blacklist.control import desk, drafts, prechecks
from blacklist.models import DelistingTicket
from blacklist.rules.requests import RequestClass
from blacklist.rules.tickets import ENDED, MOVES, State
from gateway.admin.base import ReasonForm, StaffAdmin, at_once, confirmed
from gateway.control.domain_checks import make_resolver


def recheck(ticket: DelistingTicket, *, actor: str) -> None:
    desk.recheck(ticket, actor=actor)


def precheck(ticket: DelistingTicket, *, actor: str) -> None:
    prechecks.precheck(ticket, make_resolver)


def ask_customer(ticket: DelistingTicket, *, text: str, actor: str) -> None:
    desk.ask_customer(ticket, text=text, actor=actor)


def wait_for_provider(ticket: DelistingTicket, *, actor: str) -> None:
    desk.move(ticket, State.WAITING_PROVIDER, actor=actor)


def mark_submitted(ticket: DelistingTicket, *, reference: str, at: datetime | None, actor: str) -> None:
    desk.mark_submitted(ticket, reference=reference, at=at, actor=actor)


@admin.register(DelistingTicket)
class DelistingTicketAdmin(StaffAdmin):
    list_display = [
        "number", "deadline", "target", "list_name", "severity", "state", "assigned_to", "expected_end",
    ]  # fmt: skip
    list_display_links = ["number"]
    list_filter = [
        LifeFilter, "state", DeadlineFilter, "listing__severity", "listing__target__role",
        ("listing__provider", admin.RelatedOnlyFieldListFilter),
    ]  # fmt: skip
    search_fields = [
        "listing__target__value",
        "listing__provider__slug",
        "listing__provider__name",
        "request_ref",
    ]
    ordering = ["next_action_at", "-id"]
    fieldsets = [
        (None, {"fields": ["target", "list_name", "state", "severity", "deadline", "expected_end", "assigned_to"]}),
        (_("The listing"), {"fields": ["since", "times_listed", "answer", "reason", "last_check", "impact"]}),
        (_("How this list is handled"), {"fields": ["way", "where", "notes", "may_send"]}),
        (_("Evidence"), {"fields": ["prechecked_at", "prechecks_table"]}),
        (_("Cause"), {"fields": ["cause", "cause_text", "action_text", "fixed_at"]}),
        (_("Request"), {"fields": ["draft_subject", "draft", "paste", "hoster_letter", "requested_at", "requested_by",
        "request_via", "request_ref"]}),
        (_("History"), {"fields": ["close_reason", "risk_until", "history"]}),
    ]  # fmt: skip
    readonly_fields = [
        "target", "list_name", "severity", "deadline", "since", "times_listed", "answer", "reason",
        "last_check", "impact", "way",
        "where", "notes", "may_send", "prechecks_table", "draft", "paste", "hoster_letter", "history",
    ]  # fmt: skip
    actions = [
        at_once("take", _("Take it: I look for the cause"), desk.assign),
        at_once("precheck", _("Run the pre-checks again"), precheck),
        confirmed("confirm_cause", _("Confirm the cause: it is fixed"), desk.confirm_cause, CauseForm),
        confirmed("send_request", _("Send the request by mail"), desk.send_request,
        hint=_("Sent as drafted, once in seven days at most.")),
        confirmed("mark_submitted", _("Mark as submitted"), mark_submitted, SubmittedForm),
        confirmed("mark_rejected", _("The operator refused"), desk.mark_rejected, AnswerForm),
        confirmed("ask_customer", _("Ask the customer"), ask_customer, QuestionForm),
        at_once("wait_provider", _("Wait for the network's owner"), wait_for_provider),
        at_once("recheck", _("Ask the list again now"), recheck),
        confirmed("accept_risk", _("Leave it alone until"), desk.accept_risk, RiskForm),
        confirmed("comment", _("Comment"), desk.comment, CommentForm),
        confirmed("close", _("Close"), desk.close, ReasonForm,
        hint=_("Only the work ends; the listing is what the list says. The customer reads the reason.")),
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[DelistingTicket]:
        rows: QuerySet[DelistingTicket] = super().get_queryset(request)
        return rows.select_related("listing__target__gateway", "listing__provider")

    def object_actions(self, obj: DelistingTicket) -> list[str]:
        state = State(obj.state)
        if state in ENDED:
            return ["recheck", "comment"]
        wanted = {
            "take": State.INVESTIGATING, "confirm_cause": State.READY, "mark_rejected": State.REJECTED,
            "ask_customer": State.NEEDS_CUSTOMER, "wait_provider": State.WAITING_PROVIDER,
            "accept_risk": State.ACCEPTED_RISK,
            "close": State.CLOSED,
        }  # fmt: skip
        names = [
            "precheck",
            "recheck",
            "comment",
            *[name for name, new in wanted.items() if new in MOVES[state]],
        ]
        if state in (State.READY, State.WAITING_PROVIDER):
            names.append("mark_submitted")
        if not desk.why_not_send(obj):
            names.append("send_request")
        return [name for action in self.actions if (name := getattr(action, "__name__", "")) in names]

    @admin.display(description="#", ordering="id")
    def number(self, obj: DelistingTicket) -> str:
        return f"#{obj.pk}"

    @admin.display(description=_("target"), ordering="listing__target__value")
    def target(self, obj: DelistingTicket) -> str:
        target = obj.listing.target
        return f"{target.value} ({target.get_role_display()}{f', {target.gateway.name}' if target.gateway else ''})"

    @admin.display(description=_("list"), ordering="listing__provider__name")
    def list_name(self, obj: DelistingTicket) -> str:
        return str(obj.listing.provider)

    @admin.display(description=_("severity"), ordering="listing__severity")
    def severity(self, obj: DelistingTicket) -> str:
        from blacklist.control.letters import severity_word

        return severity_word(obj.listing.severity)

    @admin.display(description=_("deadline"), ordering="next_action_at")
    def deadline(self, obj: DelistingTicket) -> SafeString | str:
        if obj.next_action_at is None:
            return "–"
        text = f"{timezone.localtime(obj.next_action_at):%Y-%m-%d %H:%M}"
        return (
            format_html("⚠ <strong>{}</strong> {}", text, _("over"))
            if obj.next_action_at < timezone.now()
            else text
        )

    @admin.display(description=_("listed since"))
    def since(self, obj: DelistingTicket) -> str:
        return f"{timezone.localtime(obj.listing.first_seen):%Y-%m-%d %H:%M}"

    @admin.display(description=_("times listed"), ordering="listing__times_listed")
    def times_listed(self, obj: DelistingTicket) -> int:
        return obj.listing.times_listed

    @admin.display(description=_("answer"))
    def answer(self, obj: DelistingTicket) -> str:
        listing = obj.listing
        raw, labels = (", ".join(map(str, values)) for values in (listing.raw, listing.labels))
        return f"{raw or '–'}  {labels}  (TTL {listing.ttl_s} s)"

    @admin.display(description=_("reason given by the list"))
    def reason(self, obj: DelistingTicket) -> str:
        return obj.listing.reason or "–"

    @admin.display(description=_("last asked"))
    def last_check(self, obj: DelistingTicket) -> str:
        at = obj.listing.last_checked
        return f"{timezone.localtime(at):%Y-%m-%d %H:%M} {obj.listing.last_status}" if at else "–"

    @admin.display(description=_("whose mail it hit"))
    def impact(self, obj: DelistingTicket) -> SafeString:
        return show.impact(obj.listing)

    @admin.display(description=_("way"))
    def way(self, obj: DelistingTicket) -> str:
        return str(WAYS[obj.listing.provider.request])

    @admin.display(description=_("where"))
    def where(self, obj: DelistingTicket) -> str:
        return obj.request_to or obj.listing.provider.removal_to or "–"

    @admin.display(description=_("what the operator wants to see"))
    def notes(self, obj: DelistingTicket) -> str:
        return obj.listing.provider.removal_notes or "–"

    @admin.display(description=_("can it be sent by mail"))
    def may_send(self, obj: DelistingTicket) -> str:
        return desk.why_not_send(obj) or str(_("Yes, with one click."))

    @admin.display(description=_("pre-checks"))
    def prechecks_table(self, obj: DelistingTicket) -> SafeString:
        return show.prechecks(obj)

    @admin.display(description=_("text of the request"))
    def draft(self, obj: DelistingTicket) -> SafeString:
        return SafeString(linebreaksbr(obj.draft_text, autoescape=True))

    @admin.display(description=_("letter to the owner of our network"))
    def hoster_letter(self, obj: DelistingTicket) -> SafeString:
        return SafeString(linebreaksbr(drafts.hoster_letter(obj), autoescape=True))

    @admin.display(description=_("fields to paste"))
    def paste(self, obj: DelistingTicket) -> SafeString:
        return show.paste(obj)

    @admin.display(description=_("history"))
    def history(self, obj: DelistingTicket) -> SafeString:
        return show.history(obj)


WAYS = {
    RequestClass.EMAIL: _("By e-mail, after you confirmed the cause."),
    RequestClass.FORM: _("A person fills in the list's form; paste the fields below."),
    RequestClass.SELF_SERVICE: _("A person uses the list's own page."),
    RequestClass.HOST_OPENS_PAGE: _("The list's page must be opened from the listed address itself."),
    RequestClass.WAIT: _("It ends by itself. Never pay for an express removal."),
    RequestClass.DO_NOT_FILE: _("It ends by itself, and the operator asks not to write."),
    RequestClass.PROVIDER_ONLY: _("Only the owner of the network can ask."),
    RequestClass.TELL_RECEIVER: _("The list is dead: tell the receiver that uses it."),
    RequestClass.NONE: _("No way is known."),
}
