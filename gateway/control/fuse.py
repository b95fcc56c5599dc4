"""The abuse fuse blows: in one transaction a login is stopped, its mail is held, owner and support are told.

Other logins of the customer go on. The owner changes the secret, then releases or deletes the held mail by filter
(`control/queue_filter.py`, reason 'abuse') and lets the login send again (`credentials.release_fuse`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import DatabaseError, transaction
from django.db.models import QuerySet

from gateway.control import queue
from gateway.control.credentials import blow_fuse
from gateway.models import Credential, Recipient
from gateway.rules.behaviour import Breach, sentences
from gateway.rules.ids import id_at

log = logging.getLogger(__name__)

REASON = "abuse"  # of the held recipients
HOLD_CHUNK = 5000  # recipients of one transaction: new mail never waits long for it
# So long after the fuse blew a process may have accepted mail by its old policy.
LATE = timedelta(seconds=90)


@dataclass(frozen=True, slots=True)
class Stop:
    """Whom to stop, and why."""

    credential_id: int
    breach: Breach


def contain(payloads: Sequence[Stop]) -> list[bool]:
    """Stop logins; True for those that this call stopped. `hold_rest` holds what is more than one chunk."""
    return [_contain(stop) for stop in payloads]


@transaction.atomic
def _contain(stop: Stop) -> bool:
    found = Credential.objects.select_for_update().filter(pk=stop.credential_id).select_related("customer")
    credential = found.first()
    if credential is None:
        return False
    reasons = sentences(stop.breach.signals, credential.customer.language)
    if not blow_fuse(credential, reason="; ".join(reasons), signals=stop.breach.as_json(), actor="system"):
        return False
    waiting = waiting_mail(credential)
    number = waiting.count()
    _hold_chunk(credential, waiting)
    _tell(credential, stop.breach, number)
    log.warning("abuse fuse", extra={"login": credential.username, "held": number, **stop.breach.as_json()})
    return True


def hold_rest(payloads: Sequence[int]) -> list[int]:
    """(credential id): hold one more chunk of a stopped login's waiting mail; how many recipients."""
    blocked = Credential.objects.filter(block=Credential.Block.FUSE).select_related("customer")
    stopped = blocked.in_bulk(list(payloads))
    return [
        _hold_chunk(stopped[key], waiting_mail(stopped[key])) if key in stopped else 0 for key in payloads
    ]


def hold_late(payloads: Sequence[datetime]) -> list[int]:
    """(now): hold mail that came in while processes still had the old policy; what was released since stays so."""
    return [_hold_late(now) for now in payloads]


def _hold_late(now: datetime) -> int:
    just = Credential.objects.filter(block=Credential.Block.FUSE, blocked_at__gt=now - LATE)
    number = 0
    for credential in just.select_related("customer"):
        assert credential.blocked_at is not None  # noqa: S101 - by the filter
        after = id_at(credential.blocked_at)
        number += _hold_chunk(credential, waiting_mail(credential).filter(message_id__gte=after))
    return number


def waiting_mail(credential: Credential) -> QuerySet[Recipient]:
    """What is queued of this login. By customer first: their open recipients are few, a login's log may be long."""
    queued = Recipient.objects.filter(customer=credential.customer, state=Recipient.StateChoice.QUEUED)
    return queued.filter(message__credential=credential)


def _hold_chunk(credential: Credential, waiting: QuerySet[Recipient]) -> int:
    keys = list(waiting.order_by().values_list("pk", flat=True)[:HOLD_CHUNK])
    if not keys:
        return 0
    chunk = Recipient.objects.filter(pk__in=keys)
    return queue.hold(chunk, actor="system", reason=REASON, customer=credential.customer)


def _tell(credential: Credential, breach: Breach, held: int) -> None:
    """Mail to the owner and to support; a mail that cannot be made must not keep the login going."""
    letters = [(settings.SMG.support_email, "en")]
    if credential.customer.alert_email:
        letters.append((credential.customer.alert_email, credential.customer.language))
    for address, language in letters:
        try:
            with transaction.atomic():
                _letter(credential, breach, held, address, language).send()
        except (ValueError, DatabaseError):  # an address or a header that cannot be
            log.exception("could not tell about the abuse fuse", extra={"login": credential.username})


def _letter(credential: Credential, breach: Breach, held: int, address: str, language: str) -> EmailMessage:
    subject, body = TEXTS.get(language, TEXTS["en"])
    words = {
        "login": credential.username,
        "label": f" ({credential.label})" if credential.label else "",
        "customer": credential.customer.name,
        "held": held,
        "reasons": "\n".join(f"- {reason}" for reason in sentences(breach.signals, language)),
        "url": settings.SMG.public_url,
        "support": settings.SMG.support_email,
    }
    headers = {"Auto-Submitted": "auto-generated"}
    return EmailMessage(subject.format(**words), body.format(**words), to=[address], headers=headers)


TEXTS = {
    "en": (
        "SMTP login {login} was stopped",
        """The SMTP login {login}{label} of {customer} sends quite differently from what it usually does:

{reasons}

It looks as if somebody else is using it. We have stopped this login: its new mail is answered
"451 4.7.1", and what was waiting is held (recipients: {held}). All other logins go on as usual.

What to do:
1. Find out where the mail came from (messages of this login are in the portal: {url}).
2. Make a new secret for the login and enter it in your own server only.
3. Delete the held mail that is not yours, release what is.
4. Let the login send again in the portal, or ask {support}.

If it was you (a big mailing, a move to a new server), steps 3 and 4 are enough.
""",
    ),
    "de": (
        "SMTP-Zugang {login} wurde angehalten",
        """Der SMTP-Zugang {login}{label} von {customer} sendet ganz anders als sonst:

{reasons}

Es sieht so aus, als benutzte ihn jemand anderes. Wir haben diesen Zugang angehalten: neue Nachrichten werden mit
"451 4.7.1" beantwortet, und was noch wartete, ist zurückgehalten (Empfänger: {held}). Alle anderen Zugänge arbeiten
weiter.

Was zu tun ist:
1. Stellen Sie fest, woher die Nachrichten kamen (alle Nachrichten des Zugangs stehen im Portal: {url}).
2. Erzeugen Sie ein neues Kennwort für den Zugang und tragen Sie es nur in Ihrem eigenen Server ein.
3. Löschen Sie zurückgehaltene Nachrichten, die nicht von Ihnen sind, und geben Sie die übrigen frei.
4. Lassen Sie den Zugang im Portal wieder senden, oder bitten Sie {support} darum.

Waren Sie es selbst (ein großer Versand, ein Umzug auf einen neuen Server), genügen die Schritte 3 und 4.
""",
    ),
}
