"""Reports to senders as messages in our own queue: from an outcome to the rows of an NDR."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from gateway.codes import code_dictionary
from gateway.config import Config
from gateway.ndr import build_report
from gateway.rules.codes import explain
from gateway.rules.dsn import RecipientReport, ReportInput, in_our_words
from gateway.rules.headers import subject
from gateway.rules.ids import IdMaker, to_text
from gateway.rules.notify import Report
from gateway.rules.policy import GatewayPolicy, Snapshot
from gateway.rules.types import Address, Category, Envelope, Outcome, Pool, Verdict
from gateway.store import NewMessage
from gateway.work import Context, Mail, OpenRecipient, Parcel

About = list[tuple[OpenRecipient, Outcome]]


class NdrMail:
    """Writes the mail a sender gets. `load_body` fetches the original when it is not in memory."""

    def __init__(self, config: Config, load_body: Callable[[Mail], Awaitable[bytes]], ids: IdMaker) -> None:
        self._config = config
        self._load_body = load_body
        self._ids = ids

    async def __call__(
        self, snapshot: Snapshot, report: Report, parcel: Parcel, about: About, due: datetime
    ) -> NewMessage:
        """One report about recipients of the parcel's message, the parcel's last; it leaves when it is due. Raises what
        loading the body raises."""
        mail = parcel.mail
        if mail.sender is None:
            raise ValueError("the null sender gets no report (RFC 5321 4.5.5)")
        original = await self._load_body(mail)
        now = about[-1][1].at
        message_id = self._next_id(now)
        customer = snapshot.customers.get(mail.customer_id or 0)
        said = ReportInput(
            now=now,
            seed=to_text(message_id),
            reporting_mta=self._config.hostname,
            sender=str(mail.sender),
            arrival=mail.received_at,
            queue_id=to_text(mail.id),
            recipients=tuple(self._recipient(snapshot, report, *pair) for pair in about),
            original=original,
            envid=mail.envid,
            ret=mail.ret,
            language=customer.language if customer else "en",
            smtputf8=mail.smtputf8,
            category=mail.category,
            score=mail.score,
            symbols=mail.symbols,
            message_url=f"{self._config.public_url}/messages/{to_text(mail.id)}/",
            support_email=self._config.support_email,
        )
        return self._message(message_id, mail.customer_id, mail.sender, report, said, due, related=mail.id)

    def refused(self, context: Context, envelope: Envelope, verdict: Verdict) -> NewMessage:
        """The report about a message that was refused after DATA (a virus); it never quotes the body."""
        if verdict.refused is None or envelope.sender is None:
            raise ValueError("nothing to report")
        now = context.now
        message_id = self._next_id(now)
        said = ReportInput(
            now=now,
            seed=to_text(message_id),
            reporting_mta=self._config.hostname,
            sender=str(envelope.sender),
            arrival=envelope.received_at,
            queue_id=to_text(envelope.id),
            recipients=tuple(
                RecipientReport(
                    address=str(item.address),
                    action=Report.FAILED.value,
                    reply=verdict.refused.reply,
                    orcpt=item.orcpt,
                    reason=verdict.refused.reason,
                )
                for item in envelope.recipients
            ),
            original=envelope.body,
            envid=envelope.envid,
            language=context.customer.language,
            smtputf8=envelope.smtputf8,
            quote_body=False,
            support_email=self._config.support_email,
        )
        return self._message(
            message_id, context.customer.id, envelope.sender, Report.FAILED, said, now, related=None
        )

    def row(
        self, report: Report, parcel: Parcel, recipient: OpenRecipient, outcome: Outcome, mail_id: int | None
    ) -> dict[str, Any]:
        """The NdrReport row the customer reads in the portal, whether or not a mail was sent."""
        reply = outcome.reply
        cause = explain(reply.code, reply.enhanced, reply.text, code_dictionary(), reason=outcome.reason)
        return {
            "at": outcome.at,
            "customer_id": parcel.mail.customer_id,
            "message_id": parcel.mail.id,
            "recipient": recipient.id,
            "report": mail_id,
            "kind": report.value,
            "sender": str(parcel.mail.sender or "")[:320],
            "address": str(recipient.address)[:320],
            "domain": recipient.address.domain,
            "cause": cause.key[:40],
            "code": outcome.reply.code,
            "enhanced": outcome.reply.enhanced,
            "text": outcome.reply.text,
            "gateway_id": outcome.gateway_id,
        }

    def _recipient(
        self, snapshot: Snapshot, report: Report, recipient: OpenRecipient, outcome: Outcome
    ) -> RecipientReport:
        gateway: GatewayPolicy | None = snapshot.gateways.get(outcome.gateway_id or 0)
        return RecipientReport(
            address=str(recipient.address),
            action=report.value,
            reply=outcome.reply,
            orcpt=recipient.orcpt,
            remote_mta=outcome.remote_host,
            is_own=in_our_words(outcome.reply, outcome.stage),
            last_attempt=outcome.at,
            will_retry_until=recipient.expires_at if report is Report.DELAYED else None,
            gateway=gateway.name if gateway else "",
            gateway_pool=gateway.pool if gateway else None,
            reason=outcome.reason,
        )

    def _next_id(self, now: datetime) -> int:
        return self._ids.next(int(now.timestamp() * 1000))

    def _message(
        self,
        message_id: int,
        customer_id: int | None,
        to: Address,
        report: Report,
        said: ReportInput,
        due: datetime,
        *,
        related: int | None,
    ) -> NewMessage:
        """An NDR leaves like clean mail, from the null sender, by whichever process finds it due."""
        content, now = build_report(report.value, said), said.now
        message = {
            "id": message_id,
            "kind": "ndr",
            "customer_id": customer_id,
            "credential_id": None,
            "received_at": now,
            "header_from": f"mailer-daemon@{self._config.hostname}",
            "subject": subject(content)[:300],
            "size_bytes": len(content),
            "recipient_count": 1,
            "client_ip": None,
            "category": Category.CLEAN.value,
            "eight_bit": not content.isascii(),
            "smtputf8": said.is_international,
            "related": related,
        }
        recipient = {
            "id": self._next_id(now),
            "message_id": message_id,
            "customer_id": customer_id,
            "address": str(to),
            "domain": to.domain,
            "notify": "NEVER",
            "pool": Pool.GOOD.value,
            "next_attempt_at": due,
            "expires_at": now + timedelta(seconds=self._config.queue_lifetime_s),
        }
        return NewMessage(message, [recipient], content)
