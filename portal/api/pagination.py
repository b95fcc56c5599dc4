"""Pages by key, never by offset: the last page of a long log costs what the first one costs."""

from __future__ import annotations

from typing import Any

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

    def decode_cursor(self, request: Request) -> Any:
        """A page that cannot be is a bad request; 404 is for objects."""
        try:
            return super().decode_cursor(request)
        except NotFound as error:
            raise ValidationError({"cursor": ["This is not the cursor of a page."]}) from error
