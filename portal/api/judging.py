"""Appeals against a verdict, and the dry run of the whole policy."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.models import Appeal
from portal.api.base import CustomerView, ReadViewSet


class AppealSerializer(serializers.ModelSerializer[Appeal]):
    message = serializers.SerializerMethodField(help_text="Message id; null once the log forgot it.")
    flip = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="The smallest set of symbols that would have to go for Good.",
    )

    class Meta:
        model = Appeal
        fields = [
            "id", "message", "state", "comment", "flip", "created_by", "created_at", "answer", "decided_by",
            "decided_at",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_message(self, appeal: Appeal) -> str | None:
        return appeal.message.text_id if appeal.message else None


class AppealViewSet(ReadViewSet):
    """Appeals; a new one is made with POST /messages/{id}/appeal/."""

    model = Appeal
    serializer_class = AppealSerializer

    def narrow(self, rows: QuerySet[Appeal]) -> QuerySet[Appeal]:
        return rows.select_related("message").defer("vector")


class ExplainWrite(serializers.Serializer[Any]):
    credential = serializers.CharField(max_length=100, help_text="User name of one of your SMTP logins.")
    sender = serializers.CharField(
        max_length=320, allow_blank=True, help_text="MAIL FROM; empty for the null sender."
    )
    recipients = serializers.ListField(
        child=serializers.CharField(max_length=320), min_length=1, max_length=100
    )
    message = serializers.CharField(
        required=False, trim_whitespace=False, help_text="The message as text ..."
    )
    message_base64 = serializers.CharField(required=False, help_text="... or its octets.")

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        if ("message" in given) == ("message_base64" in given):
            raise serializers.ValidationError({"message": ["Give either message or message_base64."]})
        given["raw"] = _octets(given)
        if len(given["raw"]) > settings.SMG.max_message_size_bytes:
            raise serializers.ValidationError({"message": ["Too big."]})
        return given


def _octets(given: dict[str, Any]) -> bytes:
    if "message" in given:
        return str(given["message"]).encode("utf-8", "surrogateescape")
    try:
        return base64.b64decode(given["message_base64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise serializers.ValidationError({"message_base64": ["This is not base64."]}) from error


class ExplainAnswer(serializers.Serializer[Any]):
    accepted = serializers.BooleanField()
    reply = serializers.CharField(help_text="What the client would be told.")
    reason = serializers.CharField(required=False)
    category = serializers.CharField(required=False)
    score = serializers.FloatField(required=False)
    kind = serializers.CharField(required=False, allow_null=True)
    symbols = serializers.ListField(child=serializers.DictField(), required=False)
    threshold = serializers.DictField(required=False)
    pool = serializers.CharField(required=False)
    dkim = serializers.DictField(required=False, allow_null=True)
    routes = serializers.ListField(child=serializers.DictField(), required=False)
    trace = serializers.ListField(child=serializers.DictField())
    limit = serializers.DictField()


class ExplainView(CustomerView):
    """What would the gateway say? The relay's own checks; nothing is queued, no counter spent."""

    viewers_post = True

    @extend_schema(request=ExplainWrite, responses={200: ExplainAnswer}, operation_id="explain")
    def post(self, request: Request) -> Response:
        """Dry run of one message."""
        from gateway.explain import ExplainError, explain  # loads the spam tables: only when somebody asks

        given = ExplainWrite(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = given.validated_data
        if not self.customer.credentials.filter(username__iexact=wanted["credential"]).exists():
            raise ValidationError({"credential": ["You have no such SMTP login."]})
        try:
            told = explain(
                wanted["raw"],
                sender=wanted["sender"],
                recipients=wanted["recipients"],
                credential=wanted["credential"],
            )
        except ExplainError as error:
            raise ValidationError({"non_field_errors": [str(error)]}) from error
        return Response(told)
