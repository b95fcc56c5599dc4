"""Complaints of recipients: a feedback report is taken once, and counted for the login that sent the message.

Anybody can write a report: it counts only when the reported message is one of ours *and* its sender is the one that the
report shows. Ids can be guessed, both together hardly.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import DatabaseError, transaction
from django.utils import timezone

from gateway.models import Complaint, Customer, Message
from gateway.rules.arf import FeedbackReport, parse
from gateway.rules.ids import ids_of

log = logging.getLogger(__name__)

SAME_ID = 10  # messages with one Message-ID that are looked at, the newest ones
TELL_EVERY = timedelta(days=1)  # one letter for all complaints of a day


def record(raw: bytes) -> tuple[Complaint, bool]:
    """Keep what a feedback report says; (the complaint, whether it is new). Raises NotAReportError, DatabaseError."""
    report = parse(raw)
    complaint, is_new = _keep(report)
    if is_new:
        text_id = complaint.message.text_id if complaint.message else ""
        log.info("complaint", extra={"message_id": text_id, "kind": complaint.kind, "by": complaint.reporter})
        if report.is_complaint and complaint.customer:
            _tell(complaint, complaint.customer)
    return complaint, is_new


@transaction.atomic
def _keep(report: FeedbackReport) -> tuple[Complaint, bool]:
    message, obstacle = _find(report)
    values = {
        "at": timezone.now(),
        "kind": report.kind,
        "customer": message.customer if message else None,
        "credential": message.credential if message else None,
        "message": message,
        "obstacle": obstacle,
        "reporter": report.reporter[:320],
        "user_agent": report.user_agent[:200],
        "author": report.author[:320],
        "recipient": report.recipient[:320],
        "source_ip": report.source_ip or None,
        "header_id": report.message_id[:300],
    }
    return Complaint.objects.get_or_create(digest=report.digest, defaults=values)


def _find(report: FeedbackReport) -> tuple[Message | None, str]:
    """The message that is complained about, else why there is none."""
    found = list(_candidates(report))
    for message in found:
        if report.is_about(message.sender_domain, message.header_from.rpartition("@")[2]):
            return message, ""
    return None, Complaint.Obstacle.SENDER if found else Complaint.Obstacle.UNKNOWN


def _candidates(report: FeedbackReport) -> Iterable[Message]:
    """By our id in the Received field that we put in front (another server's may look alike), then by Message-ID."""
    sent = Message.objects.filter(kind=Message.Kind.CUSTOMER).select_related("customer", "credential")
    yield from sent.filter(pk__in=list(ids_of(report.queue_ids)))
    if report.message_id:
        yield from sent.filter(message_id=report.message_id[:300]).order_by("-id")[:SAME_ID]


def _tell(complaint: Complaint, customer: Customer) -> None:
    """A letter to the customer, unless there was one within a day; one that cannot be made loses no complaint."""
    try:
        with transaction.atomic():
            now = timezone.now()
            if customer.alert_email and _is_first(customer, now):
                _letter(complaint, customer).send()
                Complaint.objects.filter(pk=complaint.pk).update(told_at=now)
    except (ValueError, DatabaseError):  # an address or a header that cannot be
        log.exception("could not tell about a complaint", extra={"customer": customer.slug})


def _is_first(customer: Customer, now: datetime) -> bool:
    Customer.objects.select_for_update().get(pk=customer.pk)  # two reports at once: one letter
    return not Complaint.objects.filter(customer=customer, told_at__gt=now - TELL_EVERY).exists()


def _letter(complaint: Complaint, customer: Customer) -> EmailMessage:
    subject, body = TEXTS.get(customer.language, TEXTS["en"])
    words = {
        "customer": customer.name,
        "author": complaint.author or "–",
        "login": complaint.credential.username if complaint.credential else "–",
        "reporter": complaint.reporter or complaint.user_agent or "–",
        "url": f"{settings.SMG.public_url}/messages/{complaint.message or ''}/",
        "support": settings.SMG.support_email,
    }
    headers = {"Auto-Submitted": "auto-generated"}
    return EmailMessage(
        subject.format(**words), body.format(**words), to=[customer.alert_email], headers=headers
    )


TEXTS = {
    "en": (
        "A recipient reported your mail as unwanted",
        """A recipient of mail by {customer} has told their mail provider that they do not want it.

From:        {author}
SMTP login:  {login}
Reported by: {reporter}
Message:     {url}

What to do:
1. Is the message yours? If not, make a new secret for the login: somebody else may be using it.
2. If it is: did the recipient ask for it, and is there an easy way out (an unsubscribe link and header)?
   Take them off the list.
Mail that is often reported makes a login stop by itself, so that everybody else's mail still arrives.

There is one such letter a day at most; all complaints are on the pages of their messages. Questions: {support}
""",
    ),
    "de": (
        "Ein Empfänger hat Ihre E-Mail als unerwünscht gemeldet",
        """Ein Empfänger einer E-Mail von {customer} hat seinem E-Mail-Anbieter gemeldet, dass er sie nicht haben will.

Von:          {author}
SMTP-Zugang:  {login}
Gemeldet von: {reporter}
Nachricht:    {url}

Was zu tun ist:
1. Ist die Nachricht von Ihnen? Wenn nicht, erzeugen Sie ein neues Kennwort für den Zugang: vielleicht benutzt ihn
   jemand anderes.
2. Wenn ja: Hat der Empfänger sie bestellt, und kann er sie leicht abbestellen (Link und Kopfzeile)? Nehmen Sie ihn
   aus dem Verteiler.
Ein Zugang, dessen Nachrichten oft gemeldet werden, wird von selbst angehalten, damit die Nachrichten aller anderen
weiter ankommen.

Es gibt höchstens einen solchen Brief am Tag; alle Beschwerden stehen auf den Seiten ihrer Nachrichten.
Fragen: {support}
""",
    ),
}
