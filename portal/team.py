"""Verbs on people: invite, accept, change a role, remove. Each leaves an audit entry of the customer.

An invitation is a link that works once and for a week; only the hash of its token is stored. A customer keeps at least
one owner.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy as _

from gateway.control.audit import record
from gateway.models import Customer
from portal.models import Invitation, Membership, User

VALID = timedelta(days=7)
MAX_OPEN = 50


@transaction.atomic
def invite(customer: Customer, email: str, role: str, *, actor: str, link: str) -> Invitation:
    """Invite somebody by mail; an open invitation of the same address is replaced.

    `link` is the address of the accepting page with '{token}' in it. Raises ValidationError.
    """
    email = email.strip().lower()
    validate_email(email)
    if role not in Membership.Role.values:
        raise ValidationError({"role": _("Unknown role.")})
    if customer.memberships.filter(user__email=email).exists():
        raise ValidationError({"email": _("This person is in the team already.")})
    Invitation.objects.filter(customer=customer, email=email, accepted_at__isnull=True).delete()
    if customer.invitations.filter(accepted_at__isnull=True).count() >= MAX_OPEN:
        raise ValidationError(_("There are too many open invitations. Withdraw some first."))
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        customer=customer, email=email, role=role, token_hash=hash_token(token), invited_by=actor,
        expires_at=timezone.now() + VALID,
    )  # fmt: skip
    record(actor, "team.invite", email, customer=customer, detail={"role": ["", role]})
    _send(invitation, link.replace("{token}", token))
    return invitation


def open_invitation(token: str) -> Invitation | None:
    """The invitation behind a link, if it is still good."""
    now = timezone.now()
    found = Invitation.objects.filter(
        token_hash=hash_token(token), accepted_at__isnull=True, expires_at__gt=now
    )
    return found.select_related("customer").first()


@transaction.atomic
def accept(invitation: Invitation, *, user: User) -> Membership:
    """Join with an existing account, whose address must be the invited one. Works once. Raises ValidationError."""
    if user.email.lower() != invitation.email:
        raise ValidationError(
            _("This invitation is for another address. Sign out first."), code="other_address"
        )
    changed = Invitation.objects.filter(pk=invitation.pk, accepted_at__isnull=True).update(
        accepted_at=timezone.now()
    )
    if not changed:
        raise ValidationError(_("This invitation was used already."), code="used")
    defaults = {"role": invitation.role}
    member, _created = Membership.objects.get_or_create(
        user=user, customer=invitation.customer, defaults=defaults
    )
    record(
        user.email, "team.join", user.email, customer=invitation.customer, detail={"role": ["", member.role]}
    )
    return member


@transaction.atomic
def accept_as_new(invitation: Invitation, *, password: str, language: str) -> User:
    """Make the account of an invited person, who chooses the password. Raises ValidationError."""
    if User.objects.filter(email__iexact=invitation.email).exists():
        raise ValidationError(_("There is an account with this address. Sign in first."), code="exists")
    user = User(email=invitation.email, language=language, time_zone=invitation.customer.time_zone)
    validate_password(password, user)
    user.set_password(password)
    user.save()
    accept(invitation, user=user)
    return user


@transaction.atomic
def withdraw(invitation: Invitation, *, actor: str) -> None:
    """Take an open invitation back: its link no longer works."""
    deleted, _rows = Invitation.objects.filter(pk=invitation.pk, accepted_at__isnull=True).delete()
    if deleted:
        record(actor, "team.withdraw", invitation.email, customer=invitation.customer)


@transaction.atomic
def change_role(member: Membership, role: str, *, actor: str) -> bool:
    """True if something changed. Raises ValidationError for an unknown role, and for the last owner."""
    if role not in Membership.Role.values:
        raise ValidationError({"role": _("Unknown role.")})
    if role == member.role:
        return False
    if role != Membership.Role.OWNER:
        _keep_an_owner(member)
    before, member.role = member.role, role
    member.save(update_fields=["role"])
    record(actor, "team.role", member.user.email, customer=member.customer, detail={"role": [before, role]})
    return True


@transaction.atomic
def remove(member: Membership, *, actor: str) -> None:
    """Out of the team, at once. Raises ValidationError for the last owner."""
    _keep_an_owner(member)
    record(
        actor, "team.remove", member.user.email, customer=member.customer, detail={"role": [member.role, ""]}
    )
    member.delete()


def hash_token(token: str) -> str:
    """Tokens are long and random: a plain hash is enough to make the stored form useless."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _keep_an_owner(member: Membership) -> None:
    owners = Membership.objects.select_for_update().filter(
        customer=member.customer, role=Membership.Role.OWNER
    )
    if {row.pk for row in owners} == {member.pk}:
        raise ValidationError(
            _("The last owner stays: make somebody else an owner first."), code="last_owner"
        )


def _send(invitation: Invitation, link: str) -> None:
    with translation.override(invitation.customer.language):
        context = {"invitation": invitation, "link": link, "days": VALID.days}
        subject = render_to_string("mail/invitation_subject.txt", context).strip()
        text = render_to_string("mail/invitation.txt", context)
    send_mail(subject, text, None, [invitation.email])
