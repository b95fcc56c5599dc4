"""The customer's half of an appeal: 'this is not spam'. Support decides in `gateway.control.appeals`."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from gateway.control.audit import record
from gateway.models import Appeal, FeatureVector, Message
from gateway.rules.spam import Symbol, bounded, flipping


@transaction.atomic
def ask(message: Message, *, actor: str, comment: str = "") -> Appeal:
    """Ask support to look at a message that left by Bad; its features are kept with the appeal.

    Returns the appeal that is there when the message has one already. Raises ValidationError for a clean message.
    """
    if message.category == Message.CategoryChoice.CLEAN:
        raise ValidationError(_("This message was judged clean; there is nothing to appeal."), code="clean")
    if message.customer is None:
        raise ValidationError(_("This message has no customer."), code="own")
    there = message.appeals.first()
    if there is not None:
        return there
    vector = FeatureVector.objects.filter(message_id=message.pk).values_list("vector", flat=True).first()
    appeal = Appeal(
        customer=message.customer,
        message=message,
        comment=comment.strip()[:2000],
        created_by=actor,
        vector=vector,
        flip=flip_set(message),
    )
    appeal.save(force_insert=True)
    record(actor, "appeal.ask", message.text_id, customer=message.customer)
    return appeal


def flip_set(message: Message) -> list[str]:
    """The smallest set of symbols without which the score would have stayed below 'suspect'."""
    own = message.customer.suspect_threshold if message.customer else None
    threshold = bounded(own, None, settings.SMG.spam_thresholds).suspect
    symbols = [Symbol(str(name), float(share)) for name, share in message.symbols]
    return list(flipping(symbols, message.score, threshold))
