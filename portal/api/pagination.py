"""Pages by key, never by offset: the last page of a long log costs what the first one costs."""

from __future__ import annotations

from rest_framework.pagination import CursorPagination


class Pagination(CursorPagination):
    ordering = "-pk"
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200
    cursor_query_description = "Where the page begins: from `next` or `previous` of another page."
    page_size_query_description = "Entries per page, at most 200."
