"""What all resources share: the customer, rows of that customer only, who may write, idempotent POST."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from django.db.models import Model, QuerySet
from django.utils import timezone
from rest_framework import mixins, viewsets
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from gateway.models import Customer
from portal import access
from portal.api import idempotency
from portal.models import ApiToken, IdempotencyKey

ID = r"[0-9]{1,18}"  # more digits fit no key of the database
SAFE = ("GET", "HEAD", "OPTIONS")


class Replay(Exception):
    """The request was answered before."""

    def __init__(self, response: Response) -> None:
        self.response = response


class CustomerView(APIView):
    """A view on one customer's things. Reading is for every member, writing for owners and admins (`writers`)."""

    customer: Customer
    owners_write = False  # owners only, for the team
    people_write = False  # not with a token
    viewers_post = False  # POST changes nothing here (a dry run)
    _idempotency: IdempotencyKey | None = None

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with timezone.override(UTC):  # a program is told UTC, whatever its person's zone is
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        refuse_nul(request)
        self.customer = self._access(request)
        begun = idempotency.begin(request, self.customer)
        if isinstance(begun, Response):
            raise Replay(begun)
        self._idempotency = begun

    def _access(self, request: Request) -> Customer:
        if access.OPENED_AS in request.session and not isinstance(request.auth, ApiToken):
            raise PermissionDenied(
                "Support reads the pages of a customer, not the API: it would show subjects."
            )
        if request.method in SAFE or self.viewers_post:
            return access.access_customer(request)  # type: ignore[arg-type]
        if self.people_write and isinstance(request.auth, ApiToken):
            raise PermissionDenied("Only a person who is logged in may do this, not a token.")
        if self.owners_write:
            return access.access_owner(request)  # type: ignore[arg-type]
        return access.access_customer(request, write=True)  # type: ignore[arg-type]

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Replay):
            return exc.response
        try:
            return super().handle_exception(exc)
        except Exception:
            if self._idempotency:
                idempotency.forget(self._idempotency)
            raise

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        final = super().finalize_response(request, response, *args, **kwargs)
        if self._idempotency:
            idempotency.finish(self._idempotency, response)
            self._idempotency = None
        final["Cache-Control"] = "no-store"
        return final

    @property
    def actor(self) -> str:
        """Who acts, for the audit log: the person, and by which token."""
        token = self.request.auth
        by = f" (API: {token.name})" if isinstance(token, ApiToken) else ""
        return f"{self.request.user.email}{by}"[:254]  # type: ignore[union-attr]


class CustomerViewSet(CustomerView, viewsets.GenericViewSet):  # type: ignore[type-arg]
    """Rows of `model` that belong to the customer, by `owner_path` (a look-up path to the customer)."""

    model: type[Model]
    owner_path = "customer"
    lookup_value_regex = ID

    def get_queryset(self) -> QuerySet[Any]:
        rows = self.model._default_manager.all()
        if getattr(self, "swagger_fake_view", False):
            return rows.none()
        return self.narrow(rows.filter(**{self.owner_path: self.customer}))

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Filters and joins of the resource; gets the customer's rows only."""
        return rows

    def checked(
        self, serializer_class: type[BaseSerializer[Any]], *, partial: bool = False
    ) -> dict[str, Any]:
        """The request's body, validated."""
        given = serializer_class(
            data=self.request.data, partial=partial, context=self.get_serializer_context()
        )
        given.is_valid(raise_exception=True)
        return dict(given.validated_data)

    def shown(self, obj: Any, status: int = 200, **extra: Any) -> Response:
        """One object as the resource's serializer shows it, and what is shown once."""
        return Response({**self.get_serializer(obj).data, **extra}, status=status)


class ReadViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, CustomerViewSet):
    """A list and its entries."""


def refuse_nul(request: Request) -> None:
    """No text holds NUL, and PostgreSQL ends the query for it: as a filter it is the caller's mistake."""
    for name, values in request.query_params.lists():
        if any("\x00" in value for value in values):
            raise ValidationError({name: ["Null characters are not allowed."]})
