"""SMTP logins and forced TLS rules."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.control import credentials, tls_rules
from gateway.models import Credential, TlsRule
from portal.api.base import ReadViewSet
from portal.api.domains import NOTHING, ReasonWrite

Texts = serializers.ListField


class CredentialSerializer(serializers.ModelSerializer[Credential]):
    networks = Texts(child=serializers.CharField(), read_only=True)
    senders = Texts(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Credential
        fields = [
            "id", "username", "label", "networks", "senders", "expires_at", "block", "block_reason", "blocked_at",
            "previous_until", "last_used_at", "last_used_ip", "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class CredentialWithSecret(CredentialSerializer):
    secret = serializers.CharField(read_only=True, help_text="Shown once.")

    class Meta(CredentialSerializer.Meta):
        fields = [*CredentialSerializer.Meta.fields, "secret"]
        read_only_fields = fields


class CredentialChange(serializers.Serializer[Any]):
    label = serializers.CharField(  # type: ignore[assignment]  # a field, not the serializer's own label
        max_length=200, required=False, allow_blank=True
    )
    networks = Texts(child=serializers.CharField(max_length=50), required=False, max_length=100)
    senders = Texts(child=serializers.CharField(max_length=320), required=False, max_length=100)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class CredentialWrite(CredentialChange):
    username = serializers.CharField(max_length=100)


class RotateWrite(serializers.Serializer[Any]):
    overlap_h = serializers.IntegerField(
        default=credentials.OVERLAP_H, min_value=0, max_value=credentials.LONGEST_OVERLAP_H,
        help_text="How many hours the old secret stays good.",
    )  # fmt: skip


class CredentialViewSet(ReadViewSet):
    """SMTP logins. A secret is shown once, when it is made."""

    model = Credential
    serializer_class = CredentialSerializer

    @extend_schema(request=CredentialWrite, responses={201: CredentialWithSecret})
    def create(self, request: Request) -> Response:
        """Make a login; the answer holds its secret."""
        row, secret = credentials.create(self.customer, actor=self.actor, **self.checked(CredentialWrite))
        return self.shown(row, 201, secret=secret)

    @extend_schema(request=CredentialChange, responses={200: CredentialSerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change label, networks, senders or expiry."""
        row = self.get_object()
        credentials.change(row, actor=self.actor, **self.checked(CredentialChange, partial=True))
        return self.shown(row)

    @extend_schema(request=RotateWrite, responses={200: CredentialWithSecret})
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """Make a new secret; the old one stays good for some hours."""
        row = self.get_object()
        secret = credentials.rotate(row, actor=self.actor, **self.checked(RotateWrite))
        return self.shown(row, secret=secret)

    @extend_schema(request=ReasonWrite, responses={200: CredentialSerializer})
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        """End the login for good."""
        row = self.get_object()
        credentials.revoke(row, actor=self.actor, reason=self.checked(ReasonWrite)["reason"])
        return self.shown(row)

    @extend_schema(request=None, responses={200: CredentialSerializer})
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Let a login that the abuse fuse had stopped send again."""
        row = self.get_object()
        credentials.release_fuse(row, actor=self.actor)
        return self.shown(row)


class TlsRuleSerializer(serializers.ModelSerializer[TlsRule]):
    probe = serializers.DictField(
        read_only=True, help_text="The last test: state, checked_at, expires_at, problem."
    )

    class Meta:
        model = TlsRule
        fields = [
            "id", "sender_domain", "recipient_domain", "level", "on_failure", "min_version", "fingerprint",
            "shadow", "note",
            "probe", "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class TlsRuleChange(serializers.Serializer[Any]):
    sender_domain = serializers.CharField(max_length=253, required=False, allow_blank=True)
    recipient_domain = serializers.CharField(max_length=254, required=False)
    level = serializers.ChoiceField(TlsRule.Level.choices, required=False)
    on_failure = serializers.ChoiceField(TlsRule.OnFailure.choices, required=False)
    min_version = serializers.ChoiceField([("TLSv1.2", "TLS 1.2"), ("TLSv1.3", "TLS 1.3")], required=False)
    fingerprint = serializers.CharField(max_length=95, required=False, allow_blank=True)
    shadow = serializers.BooleanField(required=False)
    note = serializers.CharField(max_length=200, required=False, allow_blank=True)


class TlsRuleWrite(TlsRuleChange):
    recipient_domain = serializers.CharField(
        max_length=254, help_text="bank.example, or .bank.example for all below it"
    )


class TlsRuleViewSet(ReadViewSet):
    """Forced TLS: mail from one of your domains to a partner is encrypted, or it does not leave."""

    model = TlsRule
    serializer_class = TlsRuleSerializer

    @extend_schema(request=TlsRuleWrite, responses={201: TlsRuleSerializer})
    def create(self, request: Request) -> Response:
        """Add a rule."""
        return self.shown(tls_rules.add(self.customer, actor=self.actor, **self.checked(TlsRuleWrite)), 201)

    @extend_schema(request=TlsRuleChange, responses={200: TlsRuleSerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change a rule."""
        rule = self.get_object()
        tls_rules.change(rule, actor=self.actor, **self.checked(TlsRuleChange, partial=True))
        return self.shown(rule)

    @extend_schema(responses={204: NOTHING})
    def destroy(self, request: Request, pk: str) -> Response:
        """Remove a rule: encrypted only if the partner's server offers it."""
        tls_rules.remove(self.get_object(), actor=self.actor)
        return Response(status=204)
