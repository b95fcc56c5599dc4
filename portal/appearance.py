"""Language and theme, for people who are logged in and for those who are not yet."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from portal.context import THEMES

A_YEAR_S = 365 * 86400


@require_POST
def change(request: HttpRequest) -> HttpResponse:
    """Keeps the choice in the account, and in a cookie for the log-in page; goes back to where the person was."""
    language, theme = request.POST.get("language", ""), request.POST.get("theme", "")
    response = redirect(_back(request))
    if language in dict(settings.LANGUAGES):
        _keep(request, response, "language", language, settings.LANGUAGE_COOKIE_NAME)
    if theme in THEMES:
        _keep(request, response, "theme", theme, "theme")
    return response


def _keep(request: HttpRequest, response: HttpResponse, name: str, value: str, cookie: str) -> None:
    response.set_cookie(
        cookie, value, max_age=A_YEAR_S, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE
    )
    if request.user.is_authenticated:
        setattr(request.user, name, value)
        request.user.save(update_fields=[name])


def _back(request: HttpRequest) -> str:
    target = request.POST.get("next", "/")
    ours = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
    return target if ours else "/"
