"""Errors as application/problem+json (RFC 9457): type, title, status, detail, and `errors` by field."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

PROBLEM = "application/problem+json"
NOT_FOUND = "There is no such object, or it is not yours."


class Conflict(exceptions.APIException):
    status_code = HTTPStatus.CONFLICT
    default_detail = "A request with this Idempotency-Key is being worked on."


class Unprocessable(exceptions.APIException):
    status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    default_detail = "This Idempotency-Key was used for another request."


def handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. None lets an unknown error through: Django answers 500 without its text."""
    if isinstance(error, ValidationError):
        error = exceptions.ValidationError(errors_of(error))
    response = exception_handler(error, context)
    if response is None:
        return None
    headers = {name: response[name] for name in ("WWW-Authenticate", "Retry-After") if name in response}
    return problem(
        response.status_code,
        _detail(error, response.data),
        errors=_errors(error, response.data),
        headers=headers,
    )


def problem(
    status: int, detail: str, *, errors: Any = None, headers: dict[str, str] | None = None
) -> Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    return Response(body, status=status, headers=headers, content_type=PROBLEM)


def errors_of(error: ValidationError) -> dict[str, list[str]]:
    """A verb's refusal by field; what concerns no field is under `non_field_errors`."""
    if hasattr(error, "error_dict"):
        named = {
            "non_field_errors" if name == "__all__" else name: list(texts)
            for name, texts in error.message_dict.items()
        }
        return {name: [str(text) for text in texts] for name, texts in named.items()}
    return {"non_field_errors": [str(text) for text in error.messages]}


def _detail(error: Exception, data: Any) -> str:
    if isinstance(error, Http404 | exceptions.NotFound):
        return NOT_FOUND
    if isinstance(error, PermissionDenied):
        return str(error) or "You may not do this."
    if isinstance(error, exceptions.ValidationError):
        return "The request cannot be accepted as it is; see errors."
    return str(data.get("detail", "")) if isinstance(data, dict) else ""


def _errors(error: Exception, data: Any) -> Any:
    if not isinstance(error, exceptions.ValidationError):
        return None
    return data if isinstance(data, dict) else {"non_field_errors": data}
