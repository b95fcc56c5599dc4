"""People in the admin: who may log in, in which team they are. The log-in is the portal's, with its second factor."""

from __future__ import annotations

from typing import Any

from allauth.account.decorators import secure_admin_login
from allauth.usersessions.admin import UserSessionAdmin
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from gateway.admin.base import StaffAdmin, actor, at_once, confirmed
from gateway.control.audit import record
from portal import team, tokens
from portal.models import ApiToken, ContentGrant, ContentLook, Membership, User

admin.site.site_header = admin.site.site_title = "Secure Mail Gateway"
# The lists' columns need its width; the first page has all that it holds.
admin.site.enable_nav_sidebar = False
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.unregister(Group)  # roles are memberships; groups would be a second, unread truth
# allauth's own asks for a user name, which our people have not
UserSessionAdmin.search_fields = ["user__email", "ip"]


def lock(user: User, *, actor: str) -> bool:
    """No log-in and no API token of this person works any more."""
    return _set_active(user, False, actor)


def unlock(user: User, *, actor: str) -> bool:
    return _set_active(user, True, actor)


def _set_active(user: User, active: bool, actor: str) -> bool:
    if not User.objects.filter(pk=user.pk, is_active=not active).update(is_active=active):
        return False
    record(actor, "user.unlock" if active else "user.lock", user.email)
    return True


class SeatInline(admin.TabularInline):  # type: ignore[type-arg]
    """Read-only: the team is changed by its owners, or on the customer's support page."""

    model = Membership
    fields = ("customer", "role", "created_at")
    readonly_fields = ("customer", "role", "created_at")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_staff)


@admin.register(User)
class UserAdmin(StaffAdmin):
    list_display = ["email", "is_active", "is_staff", "is_superuser", "last_login", "date_joined"]
    list_filter = ["is_staff", "is_active"]
    search_fields = ["email", "memberships__customer__name"]
    ordering = ["email"]
    fields = [
        "email",
        "language",
        "time_zone",
        "is_active",
        "is_staff",
        "is_superuser",
        "last_login",
        "date_joined",
    ]
    inlines = [SeatInline]
    actions = [
        confirmed("lock", _("Lock: no log-in works any more"), lock),
        confirmed("unlock", _("Unlock"), unlock),
        "make_support",
    ]

    @admin.action(description=_("Make them support staff"))
    def make_support(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Superusers only: support sees all customers."""
        for user in queryset if request.user.is_superuser else []:
            if User.objects.filter(pk=user.pk, is_staff=False).update(is_staff=True):
                record(actor(request), "user.make_support", user.email)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        if not request.user.is_superuser:
            actions.pop("make_support", None)
        return actions


@admin.register(Membership)
class MembershipAdmin(StaffAdmin):
    list_display = ["user", "customer", "role", "created_at"]
    list_filter = ["role"]
    search_fields = ["user__email", "customer__name"]
    list_select_related = ["user", "customer"]
    actions = [confirmed("remove", _("Take them out of the team"), team.remove)]


@admin.register(ApiToken)
class ApiTokenAdmin(StaffAdmin):
    list_display = [
        "name",
        "prefix",
        "customer",
        "user",
        "scopes",
        "last_used_at",
        "expires_at",
        "revoked_at",
    ]
    search_fields = ["name", "prefix", "user__email", "customer__name"]
    list_select_related = ["user", "customer"]
    fields = [
        "name",
        "prefix",
        "customer",
        "user",
        "scopes",
        "expires_at",
        "last_used_at",
        "last_used_ip",
        "revoked_at",
    ]
    actions = [at_once("revoke", _("Revoke"), tokens.revoke)]


@admin.register(ContentGrant)
class ContentGrantAdmin(StaffAdmin):
    list_display = ["customer", "kind", "granted_by", "reason", "created_at", "expires_at", "revoked_at"]
    list_filter = ["kind"]
    search_fields = ["customer__name", "granted_by"]
    list_select_related = ["customer"]


@admin.register(ContentLook)
class ContentLookAdmin(StaffAdmin):
    list_display = ["at", "who", "customer", "message", "what"]
    search_fields = ["who", "customer__name"]
    list_select_related = ["customer"]
    fields = ["at", "who", "customer", "grant", "message", "what", "previous", "hash"]
    readonly_fields = ["message"]

    @admin.display(description=_("message"))
    def message(self, obj: ContentLook) -> str:
        return obj.text_id
