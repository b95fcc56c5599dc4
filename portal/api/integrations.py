"""Webhooks with their deliveries, and API tokens."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from portal import tokens
from portal.api.base import ID, ReadViewSet
from portal.api.domains import NOTHING
from portal.models import ApiToken, WebhookDelivery, WebhookEndpoint
from portal.webhooks import endpoints
from portal.webhooks.events import EVENTS


class WebhookSerializer(serializers.ModelSerializer[WebhookEndpoint]):
    events = serializers.ListField(child=serializers.CharField(), read_only=True, help_text="Empty: all.")
    active = serializers.BooleanField(source="is_active", read_only=True)

    class Meta:
        model = WebhookEndpoint
        fields = [
            "id", "url", "description", "events", "active", "disabled_at", "disabled_reason", "failures",
            "failing_since",
            "last_success_at", "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class WebhookWithSecret(WebhookSerializer):
    secret = serializers.CharField(read_only=True, help_text="Shown once; for the signature.")

    class Meta(WebhookSerializer.Meta):
        fields = [*WebhookSerializer.Meta.fields, "secret"]
        read_only_fields = fields


class WebhookChange(serializers.Serializer[Any]):
    url = serializers.CharField(max_length=500, required=False)
    description = serializers.CharField(max_length=200, required=False, allow_blank=True)
    events = serializers.ListField(child=serializers.ChoiceField(list(EVENTS)), required=False)


class WebhookWrite(WebhookChange):
    url = serializers.CharField(max_length=500, help_text="https, a public address.")


class DeliverySerializer(serializers.ModelSerializer[WebhookDelivery]):
    webhook = serializers.IntegerField(source="endpoint_id", read_only=True)
    payload = serializers.DictField(read_only=True)
    log = serializers.ListField(
        child=serializers.DictField(), read_only=True, help_text="One entry per attempt."
    )

    class Meta:
        model = WebhookDelivery
        fields = [
            "id", "webhook", "event", "state", "attempts", "next_attempt_at", "created_at", "settled_at",
            "payload", "log",
        ]  # fmt: skip
        read_only_fields = fields


class WebhookViewSet(ReadViewSet):
    """Addresses of yours that are told of events (Standard Webhooks signatures)."""

    model = WebhookEndpoint
    serializer_class = WebhookSerializer

    @extend_schema(request=WebhookWrite, responses={201: WebhookWithSecret})
    def create(self, request: Request) -> Response:
        """Add a webhook; the answer holds its secret."""
        row, secret = endpoints.create(self.customer, actor=self.actor, **self.checked(WebhookWrite))
        return self.shown(row, 201, secret=secret)

    @extend_schema(request=WebhookChange, responses={200: WebhookSerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change URL, events or description."""
        row = self.get_object()
        endpoints.change(row, actor=self.actor, **self.checked(WebhookChange, partial=True))
        return self.shown(row)

    @extend_schema(responses={204: NOTHING})
    def destroy(self, request: Request, pk: str) -> Response:
        """Remove a webhook with its delivery log."""
        endpoints.remove(self.get_object(), actor=self.actor)
        return Response(status=204)

    @extend_schema(request=None, responses={200: WebhookWithSecret})
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """Make a new secret, valid at once."""
        row = self.get_object()
        secret = endpoints.rotate_secret(row, actor=self.actor)
        return self.shown(row, secret=secret)

    @extend_schema(request=None, responses={200: WebhookSerializer})
    @action(detail=True, methods=["post"])
    def enable(self, request: Request, pk: str) -> Response:
        """Send to it (again)."""
        row = self.get_object()
        endpoints.enable(row, actor=self.actor)
        return self.shown(row)

    @extend_schema(request=None, responses={200: WebhookSerializer})
    @action(detail=True, methods=["post"])
    def disable(self, request: Request, pk: str) -> Response:
        """Send nothing to it until it is enabled."""
        row = self.get_object()
        endpoints.disable(row, actor=self.actor, reason=f"by {self.actor}")
        return self.shown(row)

    @extend_schema(request=None, responses={202: DeliverySerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Send a test event within a minute."""
        return Response(
            DeliverySerializer(endpoints.send_test(self.get_object(), actor=self.actor)).data, status=202
        )


class DeliveryViewSet(ReadViewSet):
    """The delivery log of all webhooks, newest first; kept for 30 days."""

    model = WebhookDelivery
    owner_path = "endpoint__customer"
    serializer_class = DeliverySerializer
    lookup_value_regex = r"[0-9a-f-]{36}"
    ordering = ("-created_at", "-pk")

    def narrow(self, rows: QuerySet[WebhookDelivery]) -> QuerySet[WebhookDelivery]:
        webhook = self.request.query_params.get("webhook", "")
        if webhook.isascii() and webhook.isdigit() and len(webhook) < 19:
            rows = rows.filter(endpoint=int(webhook))
        return rows.select_related("endpoint")

    @extend_schema(
        parameters=[OpenApiParameter("webhook", OpenApiTypes.INT, description="Of this webhook only.")]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=None, responses={202: DeliverySerializer})
    @action(detail=True, methods=["post"])
    def resend(self, request: Request, pk: str) -> Response:
        """Send a settled delivery again, under the same id."""
        delivery = self.get_object()
        endpoints.send_again(delivery, actor=self.actor)
        return self.shown(delivery, 202)


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    scopes = serializers.ListField(child=serializers.CharField(), read_only=True)
    user = serializers.CharField(source="user.email", read_only=True)
    active = serializers.BooleanField(source="is_active", read_only=True)

    class Meta:
        model = ApiToken
        fields = [
            "id", "name", "prefix", "scopes", "user", "active", "expires_at", "last_used_at", "last_used_ip",
            "revoked_at",
            "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class TokenWithText(TokenSerializer):
    token = serializers.CharField(read_only=True, help_text="Shown once.")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]
        read_only_fields = fields


class TokenWrite(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(child=serializers.ChoiceField(list(tokens.SCOPES)), min_length=1)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class TokenViewSet(ReadViewSet):
    """API tokens. Only a person who is logged in makes and revokes them."""

    model = ApiToken
    serializer_class = TokenSerializer
    people_write = True
    lookup_value_regex = ID

    def narrow(self, rows: QuerySet[ApiToken]) -> QuerySet[ApiToken]:
        return rows.select_related("user")

    @extend_schema(request=TokenWrite, responses={201: TokenWithText})
    def create(self, request: Request) -> Response:
        """Make a token; the answer holds its text."""
        row, text = tokens.create(self.customer, request.user, actor=self.actor, **self.checked(TokenWrite))  # type: ignore[arg-type]
        return self.shown(row, 201, token=text)

    @extend_schema(responses={204: NOTHING})
    def destroy(self, request: Request, pk: str) -> Response:
        """Revoke a token; its entry stays in the list."""
        tokens.revoke(self.get_object(), actor=self.actor)
        return Response(status=204)
