"""Who asks: a token, or a person's session (with CSRF)."""

from __future__ import annotations

from typing import Any

from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from portal import tokens
from portal.models import ApiToken, User

REALM = 'Bearer realm="api"'


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer smg_...`; the membership it stands for goes to `request.api_membership`."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        found = tokens.recognise(text.strip())
        if found is None:
            raise AuthenticationFailed("The token is unknown, expired or revoked.")
        token, membership = found
        request._request.api_membership = membership  # type: ignore[attr-defined]
        tokens.note_use(token, request.META.get("REMOTE_ADDR"))
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return REALM


class SessionAuthentication(authentication.SessionAuthentication):
    """A person who is logged in to the portal; writing needs the CSRF token."""

    def authenticate(self, request: Request) -> Any:
        return super().authenticate(request)
