"""Would forced TLS to a domain work? Its servers are asked in the background; the test is read until it is done."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from gateway.rules.domain_names import AddressError, parse_domain
from portal import tls_tests
from portal.api.base import ReadViewSet
from portal.api.throttling import ProbeThrottle
from portal.models import TlsTest


class TlsTestWrite(serializers.Serializer[Any]):
    recipient_domain = serializers.CharField(max_length=254)


class TlsTestReport(serializers.Serializer[Any]):
    domain = serializers.CharField()
    at = serializers.DateTimeField()
    hosts = serializers.ListField(
        child=serializers.DictField(), help_text="Each server, address and certificate."
    )
    sts_mode = serializers.CharField(help_text="MTA-STS: none, testing or enforce.")
    sts_problem = serializers.CharField()
    dnssec = serializers.BooleanField()
    verdicts = serializers.DictField(
        child=serializers.DictField(), help_text="Per level: works, partly, fails, unavailable."
    )
    expires_at = serializers.DateTimeField(allow_null=True, help_text="The first certificate that ends.")
    problem = serializers.CharField()


class TlsTestSerializer(serializers.ModelSerializer[TlsTest]):
    status = serializers.SerializerMethodField(help_text="running, done, or lost: nobody ran it.")
    report = serializers.SerializerMethodField(help_text="Null until it is done.")

    class Meta:
        model = TlsTest
        fields = ["id", "domain", "rule", "status", "asked_at", "done_at", "report"]
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(choices=["running", "done", "lost"]))
    def get_status(self, test: TlsTest) -> str:
        return "running" if test.is_running else "lost" if test.is_lost else "done"

    @extend_schema_field(TlsTestReport(allow_null=True))
    def get_report(self, test: TlsTest) -> dict[str, Any] | None:
        return test.report or None


class TlsTestViewSet(ReadViewSet):
    """Tests of the last day."""

    model = TlsTest
    serializer_class = TlsTestSerializer
    viewers_post = True

    def get_throttles(self) -> list[BaseThrottle]:
        return [*super().get_throttles(), *([ProbeThrottle()] if self.action == "create" else [])]

    @extend_schema(request=TlsTestWrite, responses={202: TlsTestSerializer})
    def create(self, request: Request) -> Response:
        """Have the servers of a domain asked; read the test until its status is not `running` (45 seconds at most)."""
        text = self.checked(TlsTestWrite)["recipient_domain"].strip().removeprefix(".")
        try:
            domain = parse_domain(text)
        except AddressError as error:
            raise serializers.ValidationError({"recipient_domain": ["This is not a domain name."]}) from error
        return self.shown(tls_tests.start(self.customer, domain), 202)
