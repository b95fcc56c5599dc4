"""Settings of the API's libraries, imported by portal/settings.py. No Django here."""

from __future__ import annotations

from typing import Any

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "portal.api.authentication.TokenAuthentication",
        "portal.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "portal.api.schema.Schema",
    "DEFAULT_PAGINATION_CLASS": "portal.api.pagination.Pagination",
    "DEFAULT_THROTTLE_CLASSES": ["portal.api.throttling.Throttle"],
    "DEFAULT_THROTTLE_RATES": {"api": "600/min", "probe": "10/min"},
    "EXCEPTION_HANDLER": "portal.api.problems.handler",
    "DEFAULT_VERSIONING_CLASS": None,
    "NUM_PROXIES": 0,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}

DESCRIPTION = """Everything the portal can do, for programs.

**Log-in.** `Authorization: Bearer smg_...` with a token from *SMTP access → API & webhooks*. A token acts for
the person who made it, at one customer, and never may do more than that person. `read` tokens only read.

**Errors** are `application/problem+json` (RFC 9457); `errors` names the fields. What belongs to somebody else is 404.

**Lists** are pages: follow `next` until it is null. `limit` sets the size (at most 200).

**Repeating safely.** Send an `Idempotency-Key` with a POST: the same key and request within a day gets the first answer
again and changes nothing; the same key with another request is refused (422).

**Limits.** 600 requests a minute for each token; then 429 with `Retry-After`.

Times are UTC in ISO 8601. Message ids are the 13 characters of the SMTP reply `queued as <id>`.
"""

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Secure Mail Gateway",
    "DESCRIPTION": DESCRIPTION,
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": None,
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False, "validatorUrl": None},
    "SORT_OPERATIONS": True,
    "ENUM_NAME_OVERRIDES": {
        "MessageKind": "gateway.models.Message.Kind",
        "MessageCategory": "gateway.models.Message.CategoryChoice",
        "RecipientState": "gateway.models.Recipient.StateChoice",
        "DkimKind": "gateway.models.DkimKey.Kind",
        "DkimState": "gateway.models.DkimKey.State",
        "AppealState": "gateway.models.Appeal.State",
        "AlertKind": "blacklist.models.Alert.KindChoice",
        "TicketState": "blacklist.models.DelistingTicket.StateChoice",
        "GrantKind": "portal.models.ContentGrant.Kind",
        "RequestState": "portal.models.SupportRequest.State",
        "DeliveryState": "portal.models.WebhookDelivery.State",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "portal.api.schema.add_problems",
    ],
    "TAGS": [],
}
