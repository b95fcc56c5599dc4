"""/healthz: this process answers. /readyz: the whole works; 503 when mail cannot be taken."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from portal import status


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """{"status": ..., "components": {name: {"status": ...}}}; sentences for support only, they name inner parts."""
    found = status.parts()
    state = status.overall(found)
    detailed = state != status.DOWN and request.user.is_authenticated and request.user.is_staff
    components = {part.name: _component(part, detailed) for part in found}
    body = {"status": state, "components": components}
    return JsonResponse(body, status=503 if state == status.DOWN else 200)


def _component(part: status.Part, detailed: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"status": part.state}
    if detailed:
        shown |= {"text": str(part.text), "since": part.since}
    return shown


urlpatterns = [path("healthz", healthz, name="healthz"), path("readyz", readyz, name="readyz")]
