"""Listings, alerts and delisting tickets, as far as they concern the customer. Other customers are never named."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, Q, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from blacklist.control import alerts
from blacklist.models import Alert, DelistingTicket, Listing, TicketEvent
from portal.api.base import ReadViewSet

PUBLIC_EVENTS = Prefetch("events", TicketEvent.objects.filter(is_public=True), to_attr="public_events")


class ListingSerializer(serializers.ModelSerializer[Listing]):
    target = serializers.CharField(source="target.value", read_only=True)
    role = serializers.CharField(source="target.role", read_only=True)
    provider = serializers.CharField(source="provider.name", read_only=True)
    codes = serializers.ListField(child=serializers.CharField(), read_only=True)
    labels = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Listing
        fields = [
            "id", "target", "role", "provider", "severity", "codes", "labels", "reason", "first_seen",
            "last_seen", "last_checked",
            "times_listed", "delisted_at",
        ]  # fmt: skip
        read_only_fields = fields


class ListingViewSet(ReadViewSet):
    """Addresses and domains found in blocklists."""

    model = Listing
    serializer_class = ListingSerializer
    owner_path = ""

    def get_queryset(self) -> QuerySet[Listing]:
        rows = Listing.objects.select_related("target", "provider")
        if getattr(self, "swagger_fake_view", False):
            return rows.none()
        mine = Q(target__customers=self.customer) | Q(alerts__customers=self.customer)
        return rows.filter(pk__in=Listing.objects.filter(mine).values("pk"))


class AlertSerializer(serializers.ModelSerializer[Alert]):
    listing = ListingSerializer(read_only=True)
    acknowledged = serializers.SerializerMethodField()

    class Meta:
        model = Alert
        fields = ["id", "kind", "severity", "at", "acknowledged", "acknowledged_at", "listing"]
        read_only_fields = fields

    def get_acknowledged(self, alert: Alert) -> bool:
        return alert.acknowledged_at is not None


class AlertViewSet(ReadViewSet):
    """What the daily check told you."""

    model = Alert
    serializer_class = AlertSerializer
    owner_path = "customers"

    def narrow(self, rows: QuerySet[Alert]) -> QuerySet[Alert]:
        return rows.select_related("listing__target", "listing__provider")

    @extend_schema(request=None, responses={200: AlertSerializer})
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, pk: str) -> Response:
        """Take note of an alert."""
        alert = self.get_object()
        alerts.acknowledge(alert, actor=self.actor)
        return self.shown(alert)


class TicketEventSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    kind = serializers.CharField()
    state = serializers.CharField(source="new_state")
    text = serializers.CharField()


class TicketSerializer(serializers.ModelSerializer[DelistingTicket]):
    listing = ListingSerializer(read_only=True)
    history = serializers.SerializerMethodField()

    class Meta:
        model = DelistingTicket
        fields = [
            "id", "listing", "state", "state_since", "opened_at", "closed_at", "expected_end", "cause", "cause_text",
            "action_text", "requested_at", "close_reason", "history",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(TicketEventSerializer(many=True))
    def get_history(self, ticket: DelistingTicket) -> Any:
        return TicketEventSerializer(ticket.public_events, many=True).data  # type: ignore[attr-defined]


class TicketViewSet(ReadViewSet):
    """Delisting tickets: what support does about a listing."""

    model = DelistingTicket
    serializer_class = TicketSerializer

    def get_queryset(self) -> QuerySet[DelistingTicket]:
        rows = DelistingTicket.objects.select_related("listing__target", "listing__provider")
        if getattr(self, "swagger_fake_view", False):
            return rows.none()
        mine = Q(listing__target__customers=self.customer) | Q(listing__alerts__customers=self.customer)
        own = DelistingTicket.objects.filter(mine).values("pk")
        return rows.filter(pk__in=own).prefetch_related(PUBLIC_EVENTS)
