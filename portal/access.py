"""The door for reading: objects that this request's person may see, or 404.

Every view of a customer's page begins with `access_customer`; whatever belongs to a customer comes from one of the
`access_*` functions. They never tell "not yours" from "not there". Owners and admins write, viewers read only (403);
support reads as a viewer while it has opened a customer (session key OPENED_AS, set and audited by the support desk).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from gateway.models import (
    Credential,
    Customer,
    DkimKey,
    Domain,
    Message,
    NdrReport,
    Refusal,
    Suppression,
    TlsRule,
)
from gateway.rules.ids import from_text
from portal.models import Membership, TlsTest

if TYPE_CHECKING:
    from portal.models import User

CHOSEN = "customer_id"  # session: which of their customers the person works for
OPENED_AS = "opened_as"  # session of support: the customer whose pages are looked at, read only
MAX_ID = 2**63 - 1

View = Callable[..., HttpResponseBase]
AnyModel = TypeVar("AnyModel", bound=Model)


def page(*methods: str) -> Callable[[View], View]:
    """A page for people who are logged in; other methods than these are 405, and nothing of it is kept in caches."""

    def decorate(view: View) -> View:
        return wraps(view)(never_cache(require_http_methods(methods)(login_required(view))))

    return decorate


def memberships(request: HttpRequest) -> list[Membership]:
    """All customers this person belongs to, with their role; asked once per request."""
    known: list[Membership] | None = getattr(request, "_memberships", None)
    if known is None:
        known = list(
            _user(request).memberships.select_related("customer__rate_window").order_by("customer__name")
        )
        request._memberships = known  # type: ignore[attr-defined]
    return known


def current_membership(request: HttpRequest) -> Membership | None:
    """The role in force: the opened customer's for support (a viewer's, never saved), else the chosen or first one."""
    if not request.user.is_authenticated:
        return None
    granted: Membership | None = getattr(request, "api_membership", None)  # by an API token, see portal/api
    if granted is not None:
        return granted
    opened = _opened_by_support(request)
    if opened is not None:
        return opened
    mine = memberships(request)
    chosen = request.session.get(CHOSEN)
    return next((member for member in mine if member.customer_id == chosen), mine[0] if mine else None)


def access_customer(request: HttpRequest, *, write: bool = False) -> Customer:
    """The customer whose page this is. 403 for people without one, and with `write` for viewers."""
    member = current_membership(request)
    if member is None:
        raise PermissionDenied("no customer")
    if write and not may_write(member):
        raise PermissionDenied("read only")
    return member.customer


def access_owner(request: HttpRequest) -> Customer:
    """The customer, for owners only: the team and its roles are theirs alone."""
    customer = access_customer(request, write=True)
    member = current_membership(request)
    if member is None or member.role != Membership.Role.OWNER:
        raise PermissionDenied("owners only")
    return customer


def access_role(request: HttpRequest) -> str:
    """'owner', 'admin', 'viewer', or '' without a customer."""
    member = current_membership(request)
    return str(member.role) if member else ""


def sees_content(request: HttpRequest) -> bool:
    """Whether subjects are shown: not to support that looks at a customer's pages (consent has its own way)."""
    return _opened_by_support(request) is None


def may_write(member: Membership | None) -> bool:
    return member is not None and member.role in (Membership.Role.OWNER, Membership.Role.ADMIN)


def actor(request: HttpRequest) -> str:
    """Who acts, as the verbs of gateway.control and the audit log want it."""
    return _user(request).email


def access_message(request: HttpRequest, text_id: str) -> Message:
    """A message of the customer by the id that people see."""
    try:
        number = from_text(text_id)
    except ValueError as error:
        raise Http404 from error
    messages = Message.objects.filter(customer=access_customer(request)).select_related(
        "credential", "customer"
    )
    return get_object_or_404(messages, pk=number)


def access_domain(request: HttpRequest, name: str, *, write: bool = False) -> Domain:
    mine = Domain.objects.filter(customer=access_customer(request, write=write))
    return get_object_or_404(mine, name=name.lower().replace("\0", "?"))  # PostgreSQL takes NUL in no text


def access_credential(request: HttpRequest, pk: int, *, write: bool = False) -> Credential:
    return _own(request, Credential.objects.all(), pk, write=write)


def access_tls_rule(request: HttpRequest, pk: int, *, write: bool = False) -> TlsRule:
    return _own(request, TlsRule.objects.all(), pk, write=write)


def access_tls_test(request: HttpRequest, pk: int) -> TlsTest:
    return _own(request, TlsTest.objects.all(), pk)


def access_refusal(request: HttpRequest, pk: int) -> Refusal:
    return _own(request, Refusal.objects.select_related("credential"), pk)


def access_ndr(request: HttpRequest, pk: int) -> NdrReport:
    return _own(request, NdrReport.objects.select_related("message", "gateway"), pk)


def access_suppression(request: HttpRequest, pk: int, *, write: bool = False) -> Suppression:
    return _own(request, Suppression.objects.all(), pk, write=write)


def access_member(request: HttpRequest, pk: int) -> Membership:
    return _own(request, Membership.objects.select_related("user"), pk)


def access_dkim_key(request: HttpRequest, pk: int, *, write: bool = False) -> DkimKey:
    customer = access_customer(request, write=write)
    return get_object_or_404(
        DkimKey.objects.select_related("domain"), domain__customer=customer, pk=_row_id(pk)
    )


def _own(request: HttpRequest, rows: QuerySet[AnyModel], pk: int, *, write: bool = False) -> AnyModel:
    return get_object_or_404(rows.filter(customer=access_customer(request, write=write)), pk=_row_id(pk))


def _row_id(pk: int) -> int:
    if pk > MAX_ID:  # SQLite raises OverflowError, PostgreSQL DataError: both are "not there"
        raise Http404
    return pk


def _opened_by_support(request: HttpRequest) -> Membership | None:
    pk: Any = request.session.get(OPENED_AS)
    if pk is None or not request.user.is_staff:
        return None
    known: Membership | None = getattr(request, "_opened", None)
    if known is None:
        customer = Customer.objects.filter(pk=pk).first()
        if customer is None:
            return None
        known = Membership(user=_user(request), customer=customer, role=Membership.Role.VIEWER)
        request._opened = known  # type: ignore[attr-defined]
    return known


def _user(request: HttpRequest) -> User:
    return request.user  # type: ignore[return-value]
