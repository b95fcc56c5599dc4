"""What every page knows: who looks at it, for which customer, the navigation, the appearance."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from portal import nav
from portal.access import OPENED_AS, current_membership, may_write, memberships

THEMES = ("system", "light", "dark")


def page(request: HttpRequest) -> dict[str, Any]:
    shared = {
        "theme": theme_of(request),
        "demo": settings.SMG.demo,
        "support_email": settings.SMG.support_email,
    }
    if not getattr(request, "user", None) or not request.user.is_authenticated:
        return shared
    member = current_membership(request)
    mine = memberships(request)
    return shared | {
        "customer": member.customer if member else None,
        "role": member.role if member else "",
        "may_write": may_write(member),
        "opened_as": OPENED_AS in request.session and request.user.is_staff,
        "other_customers": [
            other.customer for other in mine if member and other.customer_id != member.customer_id
        ],
        "main_nav": nav.links(nav.MAIN, request) if member else [],
        "more_nav": nav.links(nav.MORE, request) if member else [],
        "staff_nav": nav.links(nav.STAFF, request) if request.user.is_staff else [],
    }


def theme_of(request: HttpRequest) -> str:
    """'system', 'light' or 'dark': the person's choice, before log-in the browser's cookie."""
    user = getattr(request, "user", None)
    chosen = user.theme if user and user.is_authenticated else request.COOKIES.get("theme", "system")
    return chosen if chosen in THEMES else "system"
