"""Support's decisions on appeals: accept (exception and local learning), decline, undo; and ending an exception.

The learned counts and the exception come and go with the decision, in one transaction: an undone decision leaves
nothing behind but its two audit entries.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.control import learning
from gateway.control.audit import move_policy_version, record
from gateway.models import Appeal, SpamException

EXCEPTION_DAYS = 90
LONGEST_EXCEPTION_DAYS = 366


@transaction.atomic
def accept(
    appeal: Appeal, *, actor: str, answer: str = "", days: int = EXCEPTION_DAYS, with_exception: bool = True
) -> bool:
    """Not spam: learn it, and do not count the symbols of the appeal for this sender domain for `days`.

    True if something changed; a decided appeal stays as decided. Raises ValidationError for an impossible time.
    """
    if not 1 <= days <= LONGEST_EXCEPTION_DAYS:
        message = _("Between 1 and %(days)s days.")
        raise ValidationError({"days": ValidationError(message, params={"days": LONGEST_EXCEPTION_DAYS})})
    if not _decide(appeal, Appeal.State.OPEN, Appeal.State.ACCEPTED, actor, answer):
        return False
    if with_exception:
        _except(appeal, actor, timezone.now() + timedelta(days=days))
    _learn(appeal)
    return True


@transaction.atomic
def decline(appeal: Appeal, *, actor: str, answer: str) -> bool:
    """Stays as judged; the answer tells the customer why. True if something changed. Raises ValidationError."""
    if not answer.strip():
        raise ValidationError({"answer": _("Tell the customer why.")})
    return _decide(appeal, Appeal.State.OPEN, Appeal.State.DECLINED, actor, answer)


@transaction.atomic
def undo(appeal: Appeal, *, actor: str) -> bool:
    """Take an acceptance back: the learned counts and the exceptions go. True if something changed."""
    if not _decide(appeal, Appeal.State.ACCEPTED, Appeal.State.UNDONE, actor, appeal.answer):
        return False
    appeal.exceptions.all().delete()
    _unlearn(appeal)
    move_policy_version()
    return True


@transaction.atomic
def end_exception(exception: SpamException, *, actor: str) -> bool:
    """The symbols count again from now on. True if something changed."""
    now = timezone.now()
    if not SpamException.objects.filter(pk=exception.pk, expires_at__gt=now).update(expires_at=now):
        return False
    record(actor, "spam_exception.end", exception, customer=exception.customer)
    move_policy_version()
    return True


def _decide(appeal: Appeal, before: str, after: str, actor: str, answer: str) -> bool:
    """Compare-and-set, so that of two decisions at once one wins and is learned once."""
    now = timezone.now()
    values = {"state": after, "answer": answer.strip(), "decided_by": actor, "decided_at": now}
    if Appeal.objects.filter(pk=appeal.pk, state=before).update(**values) != 1:
        return False
    appeal.refresh_from_db()
    target = appeal.message.text_id if appeal.message else appeal.pk
    record(actor, f"appeal.{after}", target, customer=appeal.customer, detail={"state": [before, after]})
    return True


def _except(appeal: Appeal, actor: str, until: datetime) -> None:
    symbols = [name for name in appeal.flip if isinstance(name, str)]
    if not symbols:
        return
    message = appeal.message
    SpamException.objects.create(
        customer=appeal.customer,
        sender_domain=message.sender_domain if message else "",
        symbols=symbols,
        expires_at=until,
        created_by=actor,
        appeal=appeal,
    )
    move_policy_version()


def _learn(appeal: Appeal) -> None:
    if appeal.vector:
        learning.learn(bytes(appeal.vector), is_spam=False)


def _unlearn(appeal: Appeal) -> None:
    if appeal.vector:
        learning.unlearn(bytes(appeal.vector), is_spam=False)
