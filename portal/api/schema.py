"""The OpenAPI document: what drf-spectacular cannot see by itself (tokens, problems, idempotency)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="Makes repeating safe, for a day.",
)
PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "object", "additionalProperties": True},
    },
    "required": ["type", "title", "status", "detail"],
}
ALWAYS = {"401": "No or no valid log-in.", "403": "This role may not do it.", "429": "Too many requests."}


class Schema(AutoSchema):
    def get_override_parameters(self) -> list[Any]:
        return [KEY] if self.method == "POST" else []

    def get_tags(self) -> list[str]:
        return [self.path.removeprefix("/api/v1/").split("/")[0]]


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "portal.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "smg_..."}


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "portal.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


def add_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Every operation may answer with a problem; which ones follows from what it takes."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            for status, text in _problems(path, method).items():
                operation["responses"].setdefault(status, _response(text))
    return result


def _problems(path: str, method: str) -> dict[str, str]:
    found = ALWAYS | {"400": "The request cannot be accepted; see errors."}
    if "{" in path or method == "post":
        found["404"] = "There is no such object, or it is not yours."
    if method == "post":
        found |= {
            "409": "The same request is being worked on.",
            "422": "The Idempotency-Key was used before.",
        }
    if method in ("post", "patch"):
        found["415"] = "The body must be application/json."
    return found


def _response(text: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": text, "content": content}
