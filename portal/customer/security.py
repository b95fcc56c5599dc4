"""Password, second factors and sessions: one page that leads to allauth's."""

from __future__ import annotations

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from portal.access import page


@page("GET")
def security(request: HttpRequest) -> HttpResponse:
    kinds = list(Authenticator.objects.filter(user_id=request.user.pk).values_list("type", flat=True))
    return render(
        request,
        "account/security.html",
        {
            "totp": Authenticator.Type.TOTP in kinds,
            "passkeys": kinds.count(Authenticator.Type.WEBAUTHN),
            "recovery": Authenticator.Type.RECOVERY_CODES in kinds,
            "protected": get_adapter().is_mfa_enabled(request.user),
        },
    )
