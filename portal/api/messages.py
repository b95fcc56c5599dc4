"""Messages with their recipients and attempts, and what may be done with mail that waits."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.control import appeal_requests, queue_filter
from gateway.models import Attempt, Complaint, Message, Recipient
from gateway.rules.ids import from_text, to_text
from portal.api.base import CustomerViewSet, ReadViewSet
from portal.api.judging import AppealSerializer
from portal.customer.message_rows import SOME_RECIPIENTS, shown_state
from portal.customer.message_search import MessageFilter, search

TEXT_ID = r"[0-9a-hjkmnp-tv-zA-HJKMNP-TV-Z]{13}"


def number_or_none(text: str) -> int | None:
    try:
        return from_text(text)
    except ValueError:
        return None


def number_or_404(text: str) -> int:
    number = number_or_none(text)
    if number is None:
        raise Http404
    return number


class SymbolSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    share = serializers.FloatField(help_text="Points it adds to the score.")


class MessageRow(serializers.Serializer[Any]):
    """One line of the list; `row` is portal.customer.message_rows.Row."""

    id = serializers.CharField(source="message.text_id", help_text="As in `queued as <id>`.")
    received_at = serializers.DateTimeField(source="message.received_at")
    sender = serializers.CharField(source="message.sender")
    subject = serializers.CharField(source="message.subject")
    message_id = serializers.CharField(source="message.message_id")
    size_bytes = serializers.IntegerField(source="message.size_bytes")
    category = serializers.ChoiceField(Message.CategoryChoice.choices, source="message.category")
    score = serializers.FloatField(source="message.score")
    state = serializers.CharField(help_text="The one state of all recipients, or `mixed`.")
    recipient = serializers.CharField(source="first_address", help_text="The first one.")
    recipient_count = serializers.IntegerField(source="message.recipient_count")


class RecipientSerializer(serializers.ModelSerializer[Recipient]):
    id = serializers.SerializerMethodField()
    message = serializers.SerializerMethodField()
    state = serializers.SerializerMethodField(
        help_text="As in the portal; `deferred` is queued after a failed attempt."
    )
    gateway = serializers.CharField(source="gateway.name", read_only=True, allow_null=True, default=None)
    tls = serializers.DictField(read_only=True, allow_null=True)

    class Meta:
        model = Recipient
        fields = [
            "id", "message", "address", "domain", "state", "pool", "attempts", "next_attempt_at",
            "expires_at", "gateway",
            "remote_host", "code", "enhanced", "text", "reason", "tls", "settled_at",
        ]  # fmt: skip
        read_only_fields = fields

    def get_id(self, row: Recipient) -> str:
        return to_text(row.pk)

    def get_message(self, row: Recipient) -> str:
        return to_text(row.message_id)

    @extend_schema_field(serializers.ChoiceField([*Recipient.StateChoice.choices, ("deferred", "deferred")]))
    def get_state(self, row: Recipient) -> str:
        return shown_state(row)


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    recipient = serializers.SerializerMethodField()
    gateway = serializers.CharField(source="gateway.name", read_only=True, allow_null=True, default=None)
    tls = serializers.DictField(read_only=True, allow_null=True)

    class Meta:
        model = Attempt
        fields = [
            "at", "recipient", "state", "stage", "gateway", "remote_host", "remote_ip", "code", "enhanced",
            "text", "reason", "tls", "signed_by", "duration_ms",
        ]  # fmt: skip
        read_only_fields = fields

    def get_recipient(self, row: Attempt) -> str:
        return to_text(row.recipient)


class ComplaintSerializer(serializers.ModelSerializer[Complaint]):
    class Meta:
        model = Complaint
        fields = ["at", "kind", "recipient", "reporter"]
        read_only_fields = fields
        extra_kwargs = {
            "kind": {"help_text": "`not-spam` and `auth-failure` do not count against the login."},
            "recipient": {"help_text": "Empty if the provider took it out."},
        }


class MessageSerializer(serializers.ModelSerializer[Message]):
    id = serializers.CharField(source="text_id", read_only=True)
    login = serializers.CharField(source="credential.username", read_only=True, allow_null=True, default=None)
    symbols = serializers.SerializerMethodField(help_text="Why the score is what it is.")
    trace = serializers.ListField(
        child=serializers.DictField(), read_only=True, help_text="Every check and decision."
    )
    recipients = serializers.SerializerMethodField(
        help_text="The first 200; more under /recipients/?message=."
    )
    attempts = serializers.SerializerMethodField(help_text="The latest 200.")
    complaints = serializers.SerializerMethodField(
        help_text="Feedback reports of recipients, the latest 200."
    )

    class Meta:
        model = Message
        fields = [
            "id", "kind", "received_at", "login", "sender", "header_from", "subject", "message_id", "size_bytes",
            "recipient_count", "client_ip", "helo", "client_tls", "category", "score", "symbols", "trace",
            "recipients",
            "attempts", "complaints",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(SymbolSerializer(many=True))
    def get_symbols(self, message: Message) -> list[dict[str, Any]]:
        return [{"name": name, "share": share} for name, share in message.symbols]

    @extend_schema_field(RecipientSerializer(many=True))
    def get_recipients(self, message: Message) -> Any:
        return RecipientSerializer(message.recipients.select_related("gateway")[:200], many=True).data

    @extend_schema_field(AttemptSerializer(many=True))
    def get_attempts(self, message: Message) -> Any:
        return AttemptSerializer(
            message.attempts.select_related("gateway").order_by("-id")[:200], many=True
        ).data

    @extend_schema_field(ComplaintSerializer(many=True))
    def get_complaints(self, message: Message) -> Any:
        return ComplaintSerializer(message.complaints.order_by("-id")[:200], many=True).data


class CommentWrite(serializers.Serializer[Any]):
    comment = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)


class ChangedSerializer(serializers.Serializer[Any]):
    changed = serializers.IntegerField(help_text="Recipients that were in a fitting state.")


FILTERS = [
    OpenApiParameter("q", OpenApiTypes.STR, description="Subject contains."),
    OpenApiParameter("sender", OpenApiTypes.STR, description="Address, or domain."),
    OpenApiParameter("recipient", OpenApiTypes.STR, description="Address, or domain."),
    OpenApiParameter("id", OpenApiTypes.STR, description="Message id or Message-ID."),
    OpenApiParameter("status", OpenApiTypes.STR, enum=["open", *Recipient.StateChoice.values]),
    OpenApiParameter("category", OpenApiTypes.STR, enum=["clean", "suspect", "spam", "bad"]),
    OpenApiParameter(
        "reply", OpenApiTypes.STR, description="Reply code, enhanced code, or text in the reply."
    ),
    OpenApiParameter(
        "range", OpenApiTypes.STR, enum=["1h", "24h", "7d", "30d", "custom"], description="24h if absent."
    ),
    OpenApiParameter("start", OpenApiTypes.DATE, description="With range=custom."),
    OpenApiParameter("end", OpenApiTypes.DATE, description="With range=custom."),
]


class MessageViewSet(CustomerViewSet):
    """Accepted messages, newest first."""

    model = Message
    serializer_class = MessageSerializer
    lookup_value_regex = TEXT_ID

    def narrow(self, rows: QuerySet[Message]) -> QuerySet[Message]:
        return rows.select_related("credential").prefetch_related(SOME_RECIPIENTS)

    def get_object(self) -> Message:
        message: Message = get_object_or_404(self.get_queryset(), pk=number_or_404(self.kwargs["pk"]))
        return message

    @extend_schema(parameters=FILTERS, responses={200: MessageRow(many=True)})
    def list(self, request: Request) -> Response:
        """Search the log. Filters are the portal's."""
        form = MessageFilter(request.query_params or None)
        if form.is_bound and not form.is_valid():
            raise ValidationError(
                {name: [str(text) for text in texts] for name, texts in form.errors.items()}
            )
        wanted = form.cleaned_data if form.is_bound else {}
        found = search(
            self.customer, wanted, cursor=request.query_params.get("cursor", ""), size=_limit(request)
        )
        return Response(
            {
                "next": _next(request, found.next_cursor),
                "previous": None,
                "results": MessageRow(found.rows, many=True).data,
            }
        )

    @extend_schema(responses={200: MessageSerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        """One message: verdict, trace, recipients, attempts, complaints."""
        return self.shown(self.get_object())

    @extend_schema(request=None, responses={200: ChangedSerializer})
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Try its queued recipients now."""
        return self._apply("retry")

    @extend_schema(request=None, responses={200: ChangedSerializer})
    @action(detail=True, methods=["post"])
    def hold(self, request: Request, pk: str) -> Response:
        """Stop its queued recipients until they are released."""
        return self._apply("hold")

    @extend_schema(request=None, responses={200: ChangedSerializer})
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Let its held recipients go on."""
        return self._apply("release")

    @extend_schema(request=None, responses={200: ChangedSerializer})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Give its open recipients up for good; nobody gets a report."""
        return self._apply("cancel")

    @extend_schema(request=CommentWrite, responses={201: AppealSerializer})
    @action(detail=True, methods=["post"])
    def appeal(self, request: Request, pk: str) -> Response:
        """Say that it is not spam; support decides."""
        made = appeal_requests.ask(self.get_object(), actor=self.actor, **self.checked(CommentWrite))
        return Response(AppealSerializer(made).data, status=201)

    def _apply(self, verb: str) -> Response:
        rows = Recipient.objects.filter(message=self.get_object().pk, customer=self.customer)
        return Response({"changed": queue_filter.apply(verb, rows, actor=self.actor)})


RECIPIENT_FILTERS = [
    OpenApiParameter("state", OpenApiTypes.STR, enum=Recipient.StateChoice.values),
    OpenApiParameter("message", OpenApiTypes.STR, description="Message id."),
    OpenApiParameter("address", OpenApiTypes.STR),
    OpenApiParameter("domain", OpenApiTypes.STR, description="Recipient domain."),
]


INDEXED = ("state", "address", "domain")


class RecipientViewSet(ReadViewSet):
    """Recipients of all messages, newest first."""

    model = Recipient
    serializer_class = RecipientSerializer
    lookup_value_regex = TEXT_ID

    @property
    def ordering(self) -> tuple[str, ...]:
        """With a filter an index of recipients gives the order (customer, filter, id), without one that of messages."""
        return ("-pk",) if any(map(self.request.query_params.get, INDEXED)) else ("-message_id", "-pk")

    def narrow(self, rows: QuerySet[Recipient]) -> QuerySet[Recipient]:
        given = self.request.query_params
        if self.ordering != ("-pk",):
            rows = rows.filter(message__customer=self.customer)
        for name in INDEXED:
            if given.get(name):
                rows = rows.filter(**{name: given[name]})
        if given.get("message"):
            rows = rows.filter(message=number_or_none(given["message"]))
        return rows.select_related("gateway")

    def get_object(self) -> Recipient:
        row: Recipient = get_object_or_404(self.get_queryset(), pk=number_or_404(self.kwargs["pk"]))
        return row

    @extend_schema(parameters=RECIPIENT_FILTERS)
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "")
    return min(max(int(text), 1), 200) if text.isascii() and text.isdigit() and len(text) < 6 else 50


def _next(request: Request, cursor: str) -> str | None:
    if not cursor:
        return None
    query = {
        **{name: value for name, value in request.query_params.items() if name != "cursor"},
        "cursor": cursor,
    }
    return request.build_absolute_uri(f"{request.path}?{urlencode(query)}")
