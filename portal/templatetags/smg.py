"""What templates need: state chips, times in the reader's zone, icons, copy buttons, fields, charts, tabs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django import template
from django.forms import BoundField, CheckboxInput
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from gateway.models import Message
from portal import nav
from portal.charts import BarChart
from portal.words import chip_of

register = template.Library()
_numbers = itertools.count(1)


@register.simple_tag
@functools.cache
def icon(name: str) -> SafeString:
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>', static("icons.svg"), name
    )


@register.simple_tag
def chip(kind: str, value: object) -> SafeString:
    """{% chip "state" recipient.state %}: icon, word and colour, never colour alone."""
    return _chip(kind, str(value), get_language())


@functools.lru_cache(1000)  # a matrix has hundreds of them
def _chip(kind: str, value: str, _language: str | None) -> SafeString:
    found = chip_of(kind, value)
    return format_html('<span class="chip {}">{} {}</span>', found.tone, icon(found.icon), found.word)


@register.simple_tag
def when(moment: datetime | None, style: str = "relative") -> SafeString:
    """A <time> in the reader's zone: 'relative' words with the full time as title, or 'full', 'clock', 'date'."""
    if moment is None:
        return SafeString("–")
    local = timezone.localtime(moment)
    full = f"{date_format(local, 'j M Y' if get_language() != 'de' else 'j. M Y')}, {local:%H:%M:%S}"
    text = {"full": full, "clock": f"{local:%H:%M:%S}", "date": full.split(",", maxsplit=1)[0]}.get(
        style
    ) or _relative(moment)
    title = f"{full} {local:%Z}"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(timespec="seconds"), title, text
    )


def _relative(moment: datetime) -> str:
    now = timezone.now()
    if abs((now - moment).total_seconds()) < 60:
        return _("just now") if moment <= now else _("in a moment")
    if moment <= now:
        return _("%(span)s ago") % {"span": timesince(moment, now, depth=1)}
    return _("in %(span)s") % {"span": timeuntil(moment, now, depth=1)}


@register.simple_tag
def copy(value: object, label: str = "") -> SafeString:
    """A value in a box with its copy button; `label` names what is copied for screen readers."""
    number = f"copy-{next(_numbers) % 1_000_000}"
    button = format_html(
        '<button type="button" class="button small" data-copy="{}">{} <span data-word aria-live="polite">{}</span>'
        '<span class="visually-hidden"> {}</span></button>',
        number, icon("copy"), _("Copy"), label,
    )  # fmt: skip
    return format_html('<div class="copyable"><code id="{}">{}</code>{}</div>', number, value, button)


@register.inclusion_tag("parts/code.html")
def code_block(text: str, label: str = "") -> dict[str, Any]:
    """Several lines to copy: a configuration file, a command."""
    return {"text": text, "label": label, "id": f"code-{next(_numbers) % 1_000_000}"}


@register.inclusion_tag("parts/field.html")
def field(field: BoundField) -> dict[str, Any]:
    return {"field": field, "is_checkbox": isinstance(field.field.widget, CheckboxInput)}


@register.inclusion_tag("parts/tabs.html", takes_context=True)
def tabs(context: template.Context, area: str) -> dict[str, Any]:
    request: HttpRequest = context["request"]
    return {"links": nav.links(nav.TABS[area], request)}


@register.inclusion_tag("parts/chart.html")
def bar_chart(chart: BarChart) -> dict[str, Any]:
    """Stacked bars as SVG, and the same numbers as a table for those who cannot see them."""
    return {"chart": chart}


@register.simple_tag(takes_context=True)
def badge(context: template.Context, name: str) -> SafeString:
    number = _badges(context["request"]).get(name, 0) if name else 0
    if not number:
        return SafeString("")
    return format_html(
        '<span class="badge">{}<span class="visually-hidden"> {}</span></span>', number, _("open")
    )


def _badges(request: HttpRequest) -> dict[str, int]:
    """Counts beside navigation entries; asked once per request."""
    from portal.badges import badges

    known: dict[str, int] | None = getattr(request, "_badges", None)
    if known is None:
        known = badges(request)
        request._badges = known  # type: ignore[attr-defined]
    return known


@register.simple_tag(takes_context=True)
def subject(context: template.Context, message: Message) -> str:
    """What people see of a subject: support, on the customer's pages, sees that there is one, not what it says."""
    if context.get("opened_as"):
        return _("(hidden from support)")
    return message.subject or _("(no subject)")


@register.filter
def lines(values: Sequence[object]) -> SafeString:
    """A list, one value per line, each escaped."""
    return mark_safe("<br>".join(format_html("{}", value) for value in values))  # noqa: S308 each is escaped above
