"""Django's outgoing mail goes through our own queue."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from gateway.control.mail import submit_own_mail


class RelayBackend(BaseEmailBackend):
    """Queues portal mail (password resets, alerts) like any other message, without a detour over SMTP."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        for mail in email_messages:
            raw = mail.message().as_bytes(linesep="\r\n")  # type: ignore[call-arg]
            submit_own_mail(sender=mail.from_email, recipients=mail.recipients(), raw=raw)
        return len(email_messages)
