"""The customer's own: settings, team, audit log, support requests, consent."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Prefetch, QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.control import customers
from gateway.models import AuditEntry, Customer, Message
from gateway.rules.ids import to_text
from portal import consent, support_requests, team
from portal.api.base import CustomerView, ReadViewSet
from portal.api.domains import NOTHING
from portal.api.messages import number_or_404
from portal.api.reports import filters, within
from portal.models import ContentGrant, ContentLook, Invitation, Membership, SupportReply, SupportRequest

SHOWN_REPLIES = Prefetch("replies", SupportReply.objects.filter(internal=False), to_attr="shown_replies")


class SettingsSerializer(serializers.ModelSerializer[Customer]):
    class Meta:
        model = Customer
        fields = [
            "name", "slug", "alert_email", "language", "time_zone", "rate_limit", "ndr_enabled", "ndr_on_refusal",
            "delay_warning_h", "keep_subjects", "retention_days", "suspect_threshold", "spam_threshold",
            "suspended_at",
            "suspended_reason",
        ]  # fmt: skip
        read_only_fields = [
            "name", "slug", "rate_limit", "suspect_threshold", "spam_threshold", "suspended_at", "suspended_reason",
        ]  # fmt: skip


class SettingsView(CustomerView):
    """What the customer may set; limits and thresholds are support's."""

    @extend_schema(responses={200: SettingsSerializer}, operation_id="settings_retrieve")
    def get(self, request: Request) -> Response:
        """The settings in force."""
        return Response(SettingsSerializer(self.customer).data)

    @extend_schema(
        request=SettingsSerializer, responses={200: SettingsSerializer}, operation_id="settings_update"
    )
    def patch(self, request: Request) -> Response:
        """Change some of them."""
        given = SettingsSerializer(self.customer, data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        customers.change(self.customer, actor=self.actor, **given.validated_data)
        return Response(SettingsSerializer(self.customer).data)


class MemberSerializer(serializers.ModelSerializer[Membership]):
    email = serializers.CharField(source="user.email", read_only=True)

    class Meta:
        model = Membership
        fields = ["id", "email", "role", "created_at"]
        read_only_fields = fields


class RoleWrite(serializers.Serializer[Any]):
    role = serializers.ChoiceField(Membership.Role.choices)


class InviteWrite(RoleWrite):
    email = serializers.EmailField(max_length=254)


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    class Meta:
        model = Invitation
        fields = ["email", "role", "invited_by", "expires_at"]
        read_only_fields = fields


class MemberViewSet(ReadViewSet):
    """Who works for the customer, in which role. Only owners change the team."""

    model = Membership
    serializer_class = MemberSerializer
    owners_write = True

    @extend_schema(request=InviteWrite, responses={202: InvitationSerializer})
    def create(self, request: Request) -> Response:
        """Invite somebody: a mail with a link that works once, for a week."""
        link = f"{settings.SMG.public_url}{reverse('invitation', args=['TOKEN'])}".replace("TOKEN", "{token}")
        made = team.invite(self.customer, actor=self.actor, link=link, **self.checked(InviteWrite))
        return Response(InvitationSerializer(made).data, status=202)

    @extend_schema(request=RoleWrite, responses={200: MemberSerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change a role; a customer keeps at least one owner."""
        member = self.get_object()
        team.change_role(member, self.checked(RoleWrite)["role"], actor=self.actor)
        return self.shown(member)

    @extend_schema(responses={204: NOTHING})
    def destroy(self, request: Request, pk: str) -> Response:
        """Out of the team, at once; their API tokens end with it."""
        team.remove(self.get_object(), actor=self.actor)
        return Response(status=204)

    def narrow(self, rows: QuerySet[Membership]) -> QuerySet[Membership]:
        return rows.select_related("user")


class AuditSerializer(serializers.ModelSerializer[AuditEntry]):
    detail = serializers.DictField(read_only=True)

    class Meta:
        model = AuditEntry
        fields = ["id", "at", "actor", "action", "target", "detail"]
        read_only_fields = fields


class AuditViewSet(ReadViewSet):
    """Who changed what."""

    model = AuditEntry
    serializer_class = AuditSerializer

    def narrow(self, rows: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return within(rows, self.request, "action", "actor")

    @extend_schema(parameters=filters("action", "actor"))
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)


class ReplySerializer(serializers.ModelSerializer[SupportReply]):
    class Meta:
        model = SupportReply
        fields = ["author", "from_support", "text", "created_at"]
        read_only_fields = fields


class RequestSerializer(serializers.ModelSerializer[SupportRequest]):
    message = serializers.SerializerMethodField(help_text="Message id, if it is about one.")
    replies = serializers.SerializerMethodField()

    class Meta:
        model = SupportRequest
        fields = [
            "id", "subject", "topic", "state", "message", "created_by", "created_at", "updated_at",
            "closed_at", "replies",
        ]  # fmt: skip
        read_only_fields = fields

    def get_message(self, row: SupportRequest) -> str:
        return to_text(row.message_id) if row.message_id else ""

    @extend_schema_field(ReplySerializer(many=True))
    def get_replies(self, row: SupportRequest) -> Any:
        return ReplySerializer(row.shown_replies, many=True).data  # type: ignore[attr-defined]


class TextWrite(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=support_requests.LONGEST_TEXT)


class RequestWrite(TextWrite):
    subject = serializers.CharField(max_length=200)
    topic = serializers.ChoiceField(SupportRequest.Topic.choices, default=SupportRequest.Topic.QUESTION)
    message = serializers.CharField(max_length=13, required=False, default="", allow_blank=True)


class RequestViewSet(ReadViewSet):
    """Questions to support, with the answers."""

    model = SupportRequest
    serializer_class = RequestSerializer

    def narrow(self, rows: QuerySet[SupportRequest]) -> QuerySet[SupportRequest]:
        return rows.prefetch_related(SHOWN_REPLIES)

    @extend_schema(request=RequestWrite, responses={201: RequestSerializer})
    def create(self, request: Request) -> Response:
        """Ask support."""
        given = self.checked(RequestWrite)
        given["message"] = own_message(self.customer, given["message"])
        made = support_requests.create(self.customer, actor=self.actor, **given)
        return self.shown(self.get_queryset().get(pk=made.pk), 201)

    @extend_schema(request=TextWrite, responses={201: RequestSerializer})
    @action(detail=True, methods=["post"])
    def reply(self, request: Request, pk: str) -> Response:
        """Say something more; a closed request is open again."""
        row = self.get_object()
        support_requests.reply(row, actor=self.actor, **self.checked(TextWrite))
        return self.shown(self.get_queryset().get(pk=row.pk), 201)

    @extend_schema(request=None, responses={200: RequestSerializer})
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """Nothing is left to do."""
        row = self.get_object()
        support_requests.close(row, actor=self.actor)
        return self.shown(row)


class GrantSerializer(serializers.ModelSerializer[ContentGrant]):
    message = serializers.SerializerMethodField(help_text="Empty: every message.")
    valid = serializers.BooleanField(source="is_valid", read_only=True)

    class Meta:
        model = ContentGrant
        fields = [
            "id",
            "kind",
            "message",
            "granted_by",
            "reason",
            "valid",
            "created_at",
            "expires_at",
            "revoked_at",
        ]
        read_only_fields = fields

    def get_message(self, row: ContentGrant) -> str:
        return to_text(row.message_id) if row.message_id else ""


class GrantWrite(serializers.Serializer[Any]):
    hours = serializers.IntegerField(min_value=1, max_value=consent.LONGEST_GRANT_H)
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)
    message = serializers.CharField(max_length=13, required=False, default="", allow_blank=True)


class GrantViewSet(ReadViewSet):
    """Leave for support to look at subjects and bodies."""

    model = ContentGrant
    serializer_class = GrantSerializer

    @extend_schema(request=GrantWrite, responses={201: GrantSerializer})
    def create(self, request: Request) -> Response:
        """Allow support to look for some hours."""
        given = self.checked(GrantWrite)
        given["message"] = own_message(self.customer, given["message"])
        return self.shown(consent.grant(self.customer, actor=self.actor, **given), 201)

    @extend_schema(responses={204: NOTHING})
    def destroy(self, request: Request, pk: str) -> Response:
        """Take leave back, at once."""
        consent.revoke(self.get_object(), actor=self.actor)
        return Response(status=204)


class LookSerializer(serializers.ModelSerializer[ContentLook]):
    message = serializers.SerializerMethodField()

    class Meta:
        model = ContentLook
        fields = ["id", "at", "who", "message", "what", "grant", "previous", "hash"]
        read_only_fields = fields

    def get_message(self, row: ContentLook) -> str:
        return to_text(row.message_id)


class LookViewSet(ReadViewSet):
    """Every look of support at a subject or body; each entry is chained to the one before it by its hash."""

    model = ContentLook
    serializer_class = LookSerializer


def own_message(customer: Customer, text: str) -> Message | None:
    """The customer's message of this id, None for '', else 404."""
    return get_object_or_404(Message, customer=customer, pk=number_or_404(text)) if text else None
