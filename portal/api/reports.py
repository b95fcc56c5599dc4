"""What did not get through: refusals, non-delivery reports, suppressed recipients; and the numbers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db.models import QuerySet, Sum
from django.db.models.functions import TruncDay, TruncHour
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.control import suppressions
from gateway.models import HourlyCount, NdrReport, Refusal, Suppression
from gateway.rules.ids import to_text
from portal.api.base import CustomerView, ReadViewSet
from portal.api.domains import NOTHING

LONGEST_DAYS = 92
COUNTERS = (
    "accepted", "refused", "infected", "suspect", "spam", "recipients", "delivered", "deferred", "bounced", "expired",
    "held", "unknown_user", "size_kib",
)  # fmt: skip


class SinceUntil(serializers.Serializer[Any]):
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)


def within(rows: QuerySet[Any], request: Request, *equal: str) -> QuerySet[Any]:
    """The filters of a list: `since`, `until`, and fields that must be equal."""
    given = SinceUntil(data=request.query_params)
    given.is_valid(raise_exception=True)
    times = given.validated_data
    if "since" in times:
        rows = rows.filter(at__gte=times["since"])
    if "until" in times:
        rows = rows.filter(at__lt=times["until"])
    return rows.filter(
        **{name: request.query_params[name] for name in equal if request.query_params.get(name)}
    )


def filters(*equal: str) -> list[OpenApiParameter]:
    times = [OpenApiParameter(name, OpenApiTypes.DATETIME) for name in ("since", "until")]
    return times + [OpenApiParameter(name, OpenApiTypes.STR, description="Exactly this.") for name in equal]


class RefusalSerializer(serializers.ModelSerializer[Refusal]):
    login = serializers.CharField(source="username", read_only=True)
    detail = serializers.DictField(read_only=True)
    trace = serializers.ListField(child=serializers.DictField(), read_only=True)

    class Meta:
        model = Refusal
        fields = [
            "id", "at", "login", "stage", "client_ip", "helo", "sender", "recipient", "code", "enhanced",
            "text", "reason",
            "detail", "trace",
        ]  # fmt: skip
        read_only_fields = fields


class RefusalViewSet(ReadViewSet):
    """Messages and commands that the gateway did not accept."""

    model = Refusal
    serializer_class = RefusalSerializer

    def narrow(self, rows: QuerySet[Refusal]) -> QuerySet[Refusal]:
        return within(rows, self.request, "reason", "sender", "stage")

    @extend_schema(parameters=filters("reason", "sender", "stage"))
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)


class NdrSerializer(serializers.ModelSerializer[NdrReport]):
    message = serializers.SerializerMethodField()
    report = serializers.SerializerMethodField(
        help_text="Id of the mail to the sender; empty if none was sent."
    )
    gateway = serializers.CharField(source="gateway.name", read_only=True, allow_null=True, default=None)

    class Meta:
        model = NdrReport
        fields = [
            "id", "at", "kind", "message", "report", "sender", "address", "domain", "cause", "code",
            "enhanced", "text", "gateway",
        ]  # fmt: skip
        read_only_fields = fields

    def get_message(self, row: NdrReport) -> str:
        return to_text(row.message_id)

    def get_report(self, row: NdrReport) -> str:
        return to_text(row.report) if row.report else ""


class NdrViewSet(ReadViewSet):
    """Non-delivery reports, one entry per failed recipient."""

    model = NdrReport
    serializer_class = NdrSerializer

    def narrow(self, rows: QuerySet[NdrReport]) -> QuerySet[NdrReport]:
        return within(rows, self.request, "kind", "cause", "domain", "address").select_related("gateway")

    @extend_schema(parameters=filters("kind", "cause", "domain", "address"))
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)


class SuppressionSerializer(serializers.ModelSerializer[Suppression]):
    class Meta:
        model = Suppression
        fields = ["id", "address", "reason", "text", "created_at"]
        read_only_fields = fields


class SuppressionWrite(serializers.Serializer[Any]):
    address = serializers.CharField(max_length=320)
    text = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class SuppressionViewSet(ReadViewSet):
    """Recipients that are not tried again."""

    model = Suppression
    serializer_class = SuppressionSerializer

    @extend_schema(request=SuppressionWrite, responses={201: SuppressionSerializer})
    def create(self, request: Request) -> Response:
        """Do not send to an address any more."""
        return self.shown(
            suppressions.add(self.customer, actor=self.actor, **self.checked(SuppressionWrite)), 201
        )

    @extend_schema(responses={204: NOTHING})
    def destroy(self, request: Request, pk: str) -> Response:
        """Send to the address again."""
        suppressions.remove(self.get_object(), actor=self.actor)
        return Response(status=204)


class StatisticsQuery(serializers.Serializer[Any]):
    by = serializers.ChoiceField(["hour", "day", "domain"], default="day")
    since = serializers.DateField(required=False)
    until = serializers.DateField(required=False)

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        today = timezone.now().date()
        until: date = given.get("until") or today
        since: date = given.get("since") or until - timedelta(days=6)
        if not 0 <= (until - since).days <= LONGEST_DAYS:
            raise serializers.ValidationError({"since": [f"0 to {LONGEST_DAYS} days before until."]})
        return {"by": given["by"], "since": since, "until": until}


class CountsSerializer(serializers.Serializer[Any]):
    key = serializers.CharField(help_text="The hour or day (UTC), or the sender domain.")
    accepted = serializers.IntegerField(help_text="messages")
    refused = serializers.IntegerField()
    infected = serializers.IntegerField()
    clean = serializers.IntegerField()
    suspect = serializers.IntegerField()
    spam = serializers.IntegerField()
    recipients = serializers.IntegerField()
    delivered = serializers.IntegerField(help_text="recipients")
    deferred = serializers.IntegerField(help_text="attempts")
    bounced = serializers.IntegerField()
    expired = serializers.IntegerField()
    held = serializers.IntegerField()
    unknown_user = serializers.IntegerField()
    size_kib = serializers.IntegerField()


class StatisticsSerializer(serializers.Serializer[Any]):
    since = serializers.DateField()
    until = serializers.DateField(help_text="Included.")
    results = CountsSerializer(many=True)


class StatisticsView(CustomerView):
    """Numbers by hour, day or sender domain."""

    @extend_schema(
        parameters=[StatisticsQuery], responses={200: StatisticsSerializer}, operation_id="statistics"
    )
    def get(self, request: Request) -> Response:
        """Counts of a time range; the last seven days by day unless asked otherwise."""
        given = StatisticsQuery(data=request.query_params)
        given.is_valid(raise_exception=True)
        wanted = given.validated_data
        rows = self.customer.hourly_counts.filter(
            hour__gte=_midnight(wanted["since"]), hour__lt=_midnight(wanted["until"] + timedelta(days=1))
        )
        return Response(
            {"since": wanted["since"], "until": wanted["until"], "results": _counts(rows, wanted["by"])}
        )


def _counts(rows: QuerySet[HourlyCount], by: str) -> list[dict[str, Any]]:
    moments = {"hour": TruncHour("hour", tzinfo=UTC), "day": TruncDay("hour", tzinfo=UTC)}
    keyed: Any = rows.annotate(key=moments[by]).values("key") if by in moments else rows.values("domain")
    sums = keyed.annotate(**{f"sum_{name}": Sum(name) for name in COUNTERS}).order_by(
        "key" if by in moments else "domain"
    )
    return [{"key": _key(row), **_sums(row)} for row in sums]


def _sums(row: dict[str, Any]) -> dict[str, int]:
    sums = {name: row[f"sum_{name}"] for name in COUNTERS}
    return sums | {"clean": sums["accepted"] - sums["suspect"] - sums["spam"]}


def _key(row: dict[str, Any]) -> str:
    return row["key"].isoformat() if "key" in row else row["domain"]


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
