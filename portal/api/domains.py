"""Domains, their DKIM keys, and the customer's source networks."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.control import customers, dkim, domain_checks, domains
from gateway.models import DkimKey, Domain, SourceNetwork
from portal.api.base import ReadViewSet

NAME = r"[A-Za-z0-9._-]{1,253}"
NOTHING = OpenApiResponse(description="Done, no content.")


class DomainSerializer(serializers.ModelSerializer[Domain]):
    records = serializers.DictField(
        read_only=True,
        child=serializers.DictField(),
        help_text="Each DNS record: expected, found, and what is wrong with it.",
    )
    is_verified = serializers.BooleanField(read_only=True)

    class Meta:
        model = Domain
        fields = [
            "name", "is_verified", "verified_at", "verified_by", "challenge", "health", "records",
            "checked_at", "next_check_at",
            "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class DomainWrite(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=253, help_text="acme.example; international names are converted.")


class DomainViewSet(ReadViewSet):
    """Sender domains. One counts once it is proven by its DNS record."""

    model = Domain
    serializer_class = DomainSerializer
    lookup_field = "name"
    lookup_value_regex = NAME

    @extend_schema(request=DomainWrite, responses={201: DomainSerializer})
    def create(self, request: Request) -> Response:
        """Enter a domain. Entering it again changes nothing."""
        domain = domains.add(self.customer, self.checked(DomainWrite)["name"], actor=self.actor)
        return self.shown(domain, 201)

    @extend_schema(responses={204: NOTHING})
    def destroy(self, request: Request, name: str) -> Response:
        """Forget the domain with its DKIM keys; mail from it is refused from now on."""
        domains.remove(self.get_object(), actor=self.actor)
        return Response(status=204)

    @extend_schema(request=None, responses={200: DomainSerializer})
    @action(detail=True, methods=["post"])
    def check(self, request: Request, name: str) -> Response:
        """Ask the DNS now; at most every ten seconds."""
        domain = self.get_object()
        if not domain_checks.may_check(domain):
            raise Throttled(10, "This domain was checked seconds ago.")
        domain_checks.check(domain, actor=self.actor)
        return self.shown(domain)


class DkimKeySerializer(serializers.ModelSerializer[DkimKey]):
    domain = serializers.CharField(source="domain.name", read_only=True)
    record_name = serializers.SerializerMethodField(
        help_text="Where to publish; empty until the request is approved."
    )
    record_value = serializers.SerializerMethodField(help_text="The TXT text, or the CNAME's target.")

    class Meta:
        model = DkimKey
        fields = [
            "id", "domain", "state", "kind", "selector", "record_name", "record_value", "note",
            "requested_by", "requested_at",
            "approved_at", "checked_at", "problem", "activated_at", "retired_at", "rotate_at",
        ]  # fmt: skip
        read_only_fields = fields

    def get_record_name(self, key: DkimKey) -> str:
        return dkim.record_name(key) if key.selector else ""

    def get_record_value(self, key: DkimKey) -> str:
        return dkim.record_value(key) if key.selector else ""


class DkimWrite(serializers.Serializer[Any]):
    domain = serializers.CharField(max_length=253)
    kind = serializers.ChoiceField(DkimKey.Kind.choices, default=DkimKey.Kind.TXT)
    note = serializers.CharField(max_length=300, required=False, default="", allow_blank=True)


class ReasonWrite(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=300, required=False, default="", allow_blank=True)


class DkimKeyViewSet(ReadViewSet):
    """DKIM keys, from the request to the revocation. The private key never leaves the gateway."""

    model = DkimKey
    owner_path = "domain__customer"
    serializer_class = DkimKeySerializer

    def narrow(self, rows: QuerySet[DkimKey]) -> QuerySet[DkimKey]:
        return rows.select_related("domain__customer").defer("private_key")

    @extend_schema(request=DkimWrite, responses={201: DkimKeySerializer})
    def create(self, request: Request) -> Response:
        """Ask for a key. An open request is returned instead of a second one."""
        given = self.checked(DkimWrite)
        domain = get_object_or_404(self.customer.domains, name=given["domain"].lower())
        return self.shown(dkim.request(domain, actor=self.actor, kind=given["kind"], note=given["note"]), 201)

    @extend_schema(request=None, responses={200: DkimKeySerializer})
    @action(detail=True, methods=["post"])
    def activate(self, request: Request, pk: str) -> Response:
        """Sign with this key. Refused until the public DNS shows its record."""
        key = self.get_object()
        dkim.activate(key, actor=self.actor)
        return self.shown(key)

    @extend_schema(request=ReasonWrite, responses={200: DkimKeySerializer})
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        """End the key for good; its private part is deleted."""
        key = self.get_object()
        dkim.revoke(key, actor=self.actor, reason=self.checked(ReasonWrite)["reason"])
        return self.shown(key)


class NetworkSerializer(serializers.ModelSerializer[SourceNetwork]):
    class Meta:
        model = SourceNetwork
        fields = ["id", "network", "may_relay", "note"]
        read_only_fields = ["may_relay"]


class NetworkWrite(serializers.Serializer[Any]):
    network = serializers.CharField(max_length=50, help_text="192.0.2.0/28 or one address")
    note = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)


class NetworkViewSet(ReadViewSet):
    """Source networks: watched in the blocklists. Relaying without a login is support's to allow."""

    model = SourceNetwork
    serializer_class = NetworkSerializer
    lookup_value_regex = r"[0-9a-fA-F-]{36}"

    @extend_schema(request=NetworkWrite, responses={201: NetworkSerializer})
    def create(self, request: Request) -> Response:
        """Register a network."""
        return self.shown(
            customers.add_network(self.customer, actor=self.actor, **self.checked(NetworkWrite)), 201
        )

    @extend_schema(responses={204: NOTHING})
    def destroy(self, request: Request, pk: str) -> Response:
        """Forget a network."""
        customers.remove_network(self.get_object(), actor=self.actor)
        return Response(status=204)
