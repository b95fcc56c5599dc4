"""The documentation page: Swagger UI from our own host, its script apart from the page, as the CSP wants it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class SchemaView(SpectacularAPIView):
    """For everybody: it says nothing about any customer."""

    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]


class DocsView(SpectacularSwaggerSplitView):
    template_name = "api/docs.html"
    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]
    url_name = "api-schema"
    url_self = None


class NothingView(APIView):
    """Whatever has no address below /api/v1/ is a problem+json 404, not a page."""

    schema = None
    permission_classes = [AllowAny]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        raise NotFound

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:
        raise NotFound

    post = put = patch = delete = get
