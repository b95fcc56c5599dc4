"""Pages by key, never by offset: the last page of a long log costs what the first one costs."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request


class Pagination(CursorPagination):
    ordering = "-pk"
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200
    cursor_query_description = "Where the page begins: from `next` or `previous` of another page."
    page_size_query_description = "Entries per page, at most 200."

    def get_ordering(self, request: Request, queryset: Any, view: Any) -> tuple[str, ...]:
        """A view may know a better order: one that an index gives."""
        return tuple(getattr(view, "ordering", (self.ordering,)))

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        """A position may be made up: the order's column says what it can be."""
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValueError, DjangoValidationError) as error:
            if self.cursor_query_param not in request.query_params:
                raise
            raise _bad_cursor() from error

    def decode_cursor(self, request: Request) -> Any:
        """A page that cannot be is a bad request; 404 is for objects."""
        try:
            return super().decode_cursor(request)
        except NotFound as error:
            raise _bad_cursor() from error


def _bad_cursor() -> ValidationError:
    return ValidationError({"cursor": ["This is not the cursor of a page."]})
