"""The verbs on support requests: open, answer, close."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.control.audit import record
from gateway.models import Customer, Message
from portal.models import SupportReply, SupportRequest

ANSWER_WITHIN = timedelta(hours=24)
LONGEST_TEXT = 20_000
MOST_OPEN = 100
State = SupportRequest.State


@transaction.atomic
def create(
    customer: Customer,
    *,
    subject: str,
    text: str,
    topic: str = "question",
    message: Message | None = None,
    actor: str,
) -> SupportRequest:
    """A new request with its first words. Raises ValidationError."""
    text = _checked(text)
    if message is not None and message.customer_id != customer.pk:
        raise ValidationError({"message": _("There is no such message.")})
    if customer.support_requests.exclude(state=State.CLOSED).count() >= MOST_OPEN:
        raise ValidationError(_("There are many open requests already. Close some first."))
    now = timezone.now()
    request = SupportRequest(
        customer=customer, subject=subject.strip(), topic=topic, message_id=message.pk if message else None,
        created_by=actor, updated_at=now, deadline_at=now + ANSWER_WITHIN,
    )  # fmt: skip
    request.full_clean()
    request.save(force_insert=True)
    SupportReply.objects.create(request=request, author=actor, text=text)
    record(actor, "request.create", request, customer=customer)
    return request


@transaction.atomic
def reply(
    request: SupportRequest, *, text: str, actor: str, from_support: bool = False, internal: bool = False
) -> SupportReply:
    """Another word. A customer's opens the request (again), support's answers it; a note changes nothing else."""
    text = _checked(text)
    now = timezone.now()
    said = SupportReply.objects.create(
        request=request,
        author=actor,
        text=text,
        from_support=from_support,
        internal=internal and from_support,
    )
    if said.internal:
        return said
    request.state = State.ANSWERED if from_support else State.OPEN
    request.deadline_at = None if from_support else request.deadline_at or now + ANSWER_WITHIN
    _save(request, now, closed_at=None)
    record(actor, "request.reply", request, customer=request.customer)
    return said


@transaction.atomic
def close(request: SupportRequest, *, actor: str) -> bool:
    """Nothing is left to do. True if something changed."""
    if request.state == State.CLOSED:
        return False
    now = timezone.now()
    request.state, request.deadline_at = State.CLOSED, None
    _save(request, now, closed_at=now)
    record(actor, "request.close", request, customer=request.customer)
    return True


def _save(request: SupportRequest, now: datetime, *, closed_at: datetime | None) -> None:
    request.updated_at, request.closed_at = now, closed_at
    request.save(update_fields=["state", "deadline_at", "updated_at", "closed_at"])


def _checked(text: str) -> str:
    text = text.strip()
    if not text:
        raise ValidationError({"text": _("Write something.")})
    if len(text) > LONGEST_TEXT:
        raise ValidationError({"text": _("At most %(count)d characters.") % {"count": LONGEST_TEXT}})
    return text
