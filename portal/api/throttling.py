"""How much one token or person may ask. Counted per web process: a bound on load, not an accounting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it loads this class


class Throttle(SimpleRateThrottle):
    scope = "api"

    def get_cache_key(self, request: Request, view: APIView) -> str:
        if request.auth is not None:  # a token; a session has none
            return f"{self.scope}-token-{request.auth.pk}"
        if request.user.is_authenticated:
            return f"{self.scope}-user-{request.user.pk}"
        return f"{self.scope}-ip-{self.get_ident(request)}"


class ProbeThrottle(Throttle):
    """For what makes the gateway speak with strangers' servers."""

    scope = "probe"
