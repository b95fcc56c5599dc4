"""The queue over all customers: what waits, where to, how long; hold, release, retry and cancel by filter.

A verb never runs from a filter directly: the page before it counts what the filter means right now.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages as notes
from django.db.models import Count, Min, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from gateway.control.queue_filter import VERBS, QueueFilter, apply, touched
from gateway.models import Customer, Recipient
from gateway.rules.ids import created_ms
from portal.access import actor
from portal.customer.reply_words import meaning_of
from portal.support.base import staff_page

TOP = 50
UNKNOWN = "unknown"  # the dictionary's entry for what it does not know
LISTED = 100
AGES_H = (1, 4, 24, 72)
STATES = [
    ("", gettext_lazy("queued or held")),
    ("queued", gettext_lazy("queued")),
    ("held", gettext_lazy("held")),
]
POOLS = [("", gettext_lazy("any")), ("good", gettext_lazy("Good")), ("bad", gettext_lazy("Bad"))]
TITLES = {
    "hold": gettext_lazy("Hold"),
    "release": gettext_lazy("Release"),
    "retry": gettext_lazy("Try again now"),
    "cancel": gettext_lazy("Cancel"),
}


class FilterForm(forms.Form):
    customer = forms.ModelChoiceField(
        Customer.objects.all(),
        label=gettext_lazy("Customer"),
        required=False,
        empty_label=gettext_lazy("any"),
    )
    destination = forms.CharField(label=gettext_lazy("Recipient domain"), max_length=255, required=False)
    sender_domain = forms.CharField(label=gettext_lazy("Sender domain"), max_length=255, required=False)
    state = forms.ChoiceField(label=gettext_lazy("State"), choices=STATES, required=False)
    pool = forms.ChoiceField(label=gettext_lazy("Pool"), choices=POOLS, required=False)
    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=30, required=False)
    older_than_h = forms.IntegerField(
        label=gettext_lazy("Older than hours"), min_value=1, max_value=10_000, required=False
    )

    def wanted(self) -> QueueFilter:
        values: dict[str, Any] = self.cleaned_data if self.is_bound and self.is_valid() else {}
        customer = values.get("customer")
        return (
            QueueFilter(**{**values, "customer": customer.pk if customer else None})
            if values
            else QueueFilter()
        )


class ConfirmForm(forms.Form):
    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=30, required=False)


@staff_page("GET")
def queue(request: HttpRequest) -> HttpResponse:
    form = FilterForm(request.GET or None)
    wanted = form.wanted()
    rows = wanted.rows()
    context = {
        "form": form,
        "filtered": not wanted.is_empty,
        "total": rows.count(),
        "destinations": by_destination(rows),
        "reasons": by_reason(rows),
        "ages": by_age(rows),
        "rows": rows.select_related("customer").order_by("message_id")[:LISTED]
        if not wanted.is_empty
        else [],
        "listed": LISTED,
        "verbs": TITLES.items(),
    }
    return render(request, "support/queue.html", context)


def by_reason(rows: QuerySet[Recipient]) -> list[dict[str, Any]]:
    """The commonest reasons why mail waits, each with what it means in words ("" = not in the dictionary)."""
    found = rows.order_by().values("state", "reason").annotate(number=Count("pk")).order_by("-number")[:TOP]
    meanings = {row["reason"]: meaning_of(None, "", "", row["reason"]) for row in found}
    known = {reason: meaning.title for reason, meaning in meanings.items() if meaning.key != UNKNOWN}
    return [{**row, "meaning": known.get(row["reason"], "")} for row in found]


@staff_page("GET", "POST")
def queue_verb(request: HttpRequest, verb: str) -> HttpResponse:
    """What the verb would do to the filter's mail, in numbers; POST does it."""
    form = FilterForm(request.GET or None)
    wanted = form.wanted()
    back = f"{reverse('support_queue')}?{request.GET.urlencode()}"
    if verb not in VERBS or wanted.is_empty or form.errors:
        notes.error(request, _("Choose a filter first: nothing is done to the whole queue at once."))
        return redirect(back)
    rows = wanted.rows()
    confirm = ConfirmForm(request.POST or None)
    if request.method == "POST" and confirm.is_valid():
        changed = apply(verb, rows, actor=actor(request), reason=confirm.cleaned_data["reason"])
        text = ngettext("Done for one recipient.", "Done for %(count)d recipients.", changed) % {
            "count": changed
        }
        notes.success(request, text)
        return redirect(back)
    changing = touched(verb, rows)
    context = {
        "verb": verb, "title": TITLES[verb], "number": changing.count(),
        "destinations": by_destination(changing)[:10], "customers": _customers(changing),
        "form": confirm, "back": back, "asks_reason": verb in ("hold", "cancel"),
    }  # fmt: skip
    return render(request, "support/queue_verb.html", context)


def by_destination(rows: QuerySet[Recipient]) -> list[dict[str, Any]]:
    """The destinations with the most waiting mail: [{domain, number, held, oldest, attempts}]."""
    grouped = (
        rows.order_by()
        .values("domain")
        .annotate(number=Count("pk"), held=Count("pk", filter=Q(state="held")), first=Min("message"))
    )
    return [{**row, "oldest": _made(row["first"])} for row in grouped.order_by("-number")[:TOP]]


def by_age(rows: QuerySet[Recipient]) -> list[tuple[str, int]]:
    """How many have been waiting for at most so long, and the rest."""
    now_ms = int(timezone.now().timestamp() * 1000)
    from gateway.rules.ids import first_id

    since = [first_id(now_ms - hours * 3_600_000) for hours in AGES_H]
    edges = [*since, 0]
    upper: list[int | None] = [None, *since]
    sums = {
        f"age_{place}": Count(
            "pk", filter=Q(message__gte=low) & (Q(message__lt=high) if high is not None else Q())
        )
        for place, (low, high) in enumerate(zip(edges, upper, strict=True))
    }
    found = rows.order_by().aggregate(**sums)
    labels = [_("up to %(hours)d h") % {"hours": hours} for hours in AGES_H] + [_("longer")]
    return [(label, found[f"age_{place}"]) for place, label in enumerate(labels)]


def _customers(rows: QuerySet[Recipient]) -> Any:
    return rows.order_by().values("customer__name").annotate(number=Count("pk")).order_by("-number")[:10]


def _made(message_id: int | None) -> datetime | None:
    if message_id is None:
        return None
    return datetime.fromtimestamp(created_ms(message_id) / 1000, tz=timezone.get_current_timezone())
