"""Who may look at subjects and bodies, and the log of every look.

Support sees metadata. Content needs a grant: given by the customer for some time, or taken in an emergency
(break-glass) by one person for one message, with a reason, for an hour; the customer is told at once. Every look
adds a row that is chained to the one before it by a hash, so that a row that was changed or taken away is found.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Q
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from gateway.control.audit import record
from gateway.models import Customer, Message
from gateway.rules.ids import to_text
from portal.models import ContentGrant, ContentLook, Membership

LONGEST_GRANT_H = 7 * 24
BREAK_GLASS = timedelta(hours=1)
SHORTEST_REASON = 10  # characters; "x" explains nothing to the customer who reads it
Kind = ContentGrant.Kind


@transaction.atomic
def grant(
    customer: Customer, *, hours: int, reason: str = "", message: Message | None = None, actor: str
) -> ContentGrant:
    """The customer allows support to look, at one message or at all, for some hours. Raises ValidationError."""
    if not 1 <= hours <= LONGEST_GRANT_H:
        raise ValidationError({"hours": _("Between 1 and %(hours)d hours.") % {"hours": LONGEST_GRANT_H}})
    if message is not None and message.customer_id != customer.pk:
        raise ValidationError({"message": _("There is no such message.")})
    made = ContentGrant.objects.create(
        customer=customer, granted_by=actor, reason=reason.strip()[:500], message_id=message.pk if message else None,
        expires_at=timezone.now() + timedelta(hours=hours),
    )  # fmt: skip
    record(actor, "content.grant", _target(made), customer=customer, detail={"hours": ["", str(hours)]})
    return made


@transaction.atomic
def revoke(given: ContentGrant, *, actor: str) -> bool:
    """Take leave back. True if something changed."""
    if not ContentGrant.objects.filter(pk=given.pk, revoked_at=None).update(revoked_at=timezone.now()):
        return False
    given.refresh_from_db()
    record(actor, "content.revoke", _target(given), customer=given.customer)
    return True


@transaction.atomic
def break_glass(message: Message, *, reason: str, actor: str) -> ContentGrant:
    """Support takes leave for one message and one hour; the customer is told at once. Raises ValidationError."""
    if message.customer is None:
        raise ValidationError(_("This message has no customer."))
    if len(reason.strip()) < SHORTEST_REASON:
        raise ValidationError({"reason": _("Say why, so that the customer understands it.")})
    taken = ContentGrant.objects.create(
        customer=message.customer, kind=Kind.BREAK_GLASS, message_id=message.pk, granted_by=actor, granted_to=actor,
        reason=reason.strip()[:500], expires_at=timezone.now() + BREAK_GLASS,
    )  # fmt: skip
    detail = {"reason": ["", taken.reason]}
    record(actor, "content.break_glass", _target(taken), customer=message.customer, detail=detail)
    transaction.on_commit(lambda: _tell(taken), robust=True)
    return taken


def valid_grant(message: Message, actor: str) -> ContentGrant | None:
    """The grant by which this person may look at this message now; the customer's own before one that was taken."""
    grants = ContentGrant.objects.filter(
        Q(message_id=None) | Q(message_id=message.pk),
        Q(granted_to="") | Q(granted_to=actor),
        customer=message.customer_id,
        revoked_at=None,
        expires_at__gt=timezone.now(),
    )
    return min(grants, key=lambda one: one.kind != Kind.CUSTOMER) if grants else None


@transaction.atomic
def look(message: Message, *, what: str, actor: str) -> ContentLook:
    """Write down a look before anything is shown. Raises PermissionDenied without a valid grant."""
    found = valid_grant(message, actor)
    if found is None:
        raise PermissionDenied("no grant")
    # The customer's row is the lock: of two looks at once the second must see the hash of the first.
    Customer.objects.select_for_update().get(pk=found.customer_id)
    last = (
        ContentLook.objects.filter(customer=found.customer_id)
        .order_by("-id")
        .values_list("hash", flat=True)
        .first()
    )
    row = ContentLook(
        customer_id=found.customer_id, grant=found, at=timezone.now(), who=actor, message_id=message.pk, what=what,
        previous=last or "",
    )  # fmt: skip
    row.hash = hash_of(row)
    row.save(force_insert=True)
    return row


def hash_of(row: ContentLook) -> str:
    """SHA-256 over the row and the hash of the one before it."""
    at: datetime = row.at.astimezone(UTC)
    parts = [row.previous, row.customer_id, row.grant_id, at.isoformat(), row.who, row.message_id, row.what]
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def broken_link(customer: Customer) -> ContentLook | None:
    """The first look whose chain is broken; None when the log is whole."""
    previous = ""
    for row in ContentLook.objects.filter(customer=customer).order_by("id").iterator():
        if row.previous != previous or row.hash != hash_of(row):
            return row
        previous = row.hash
    return None


def _target(given: ContentGrant) -> str:
    return to_text(given.message_id) if given.message_id else "*"


def _tell(taken: ContentGrant) -> None:
    """By mail to the address for alerts; to the owners where there is none."""
    customer = taken.customer
    owners = customer.memberships.filter(role=Membership.Role.OWNER, user__is_active=True)
    to = (
        [customer.alert_email] if customer.alert_email else list(owners.values_list("user__email", flat=True))
    )
    with translation.override(customer.language):
        subject = _("Support looked at a message of yours")
        text = _(
            "%(who)s may look at subject and content of message %(message)s for an hour,\n"
            "without having asked you first.\n"
            "Reason: %(reason)s\n"
            "Every look is listed here: %(page)s"
        ) % {
            "who": taken.granted_by,
            "message": _target(taken),
            "reason": taken.reason,
            "page": f"{settings.SMG.public_url}/tickets/requests/consent/",
        }
    send_mail(subject, text, None, to)
