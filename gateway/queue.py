"""The queue step: envelope, body and verdict are committed, and only then the client reads 250.

Fails with an exception (database, disk): the caller answers 451 and nothing was queued. A body in the spool without a
committed row is an orphan that the clean-up removes.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta
from typing import Any

from gateway import store
from gateway.config import Config
from gateway.db import Database
from gateway.rules import headers
from gateway.rules.ids import IdMaker, to_text
from gateway.rules.policy import CustomerPolicy
from gateway.rules.spam import pool_of
from gateway.rules.types import Address, Category, Envelope, Verdict
from gateway.spool import ROW_LIMIT_BYTES, Spool
from gateway.store import NewMessage
from gateway.work import Mail, OpenRecipient, Parcel, split_by_domain


class MailQueue:
    """Commits messages; knows where bodies live."""

    def __init__(self, database: Database, config: Config, owner: str, ids: IdMaker) -> None:
        self._database = database
        self._ids = ids
        self._lifetime = timedelta(seconds=config.queue_lifetime_s)
        self._spool = Spool(config.spool_dir) if config.spool_dir else None
        self._owner = owner
        self._hostname = config.hostname

    async def commit(
        self, envelope: Envelope, verdict: Verdict, customer: CustomerPolicy, *, lease: bool
    ) -> list[Parcel]:
        """Queue an accepted message durably. With `lease` its recipients are this process's to deliver at once,
        otherwise they are due for anybody."""
        mail = _mail(envelope, verdict)
        recipients = self._open_recipients(envelope)
        new = NewMessage(
            message=_message_row(envelope, mail, verdict, customer, self._hostname),
            recipients=[
                self._recipient_row(envelope, mail, recipient, lease=lease) for recipient in recipients
            ],
            content=envelope.body,
            features=verdict.features,
            score=verdict.score,
        )
        await self._write(new)
        return split_by_domain(mail, recipients)

    async def _write(self, new: NewMessage) -> None:
        if self._spool is not None and new.content is not None and len(new.content) > ROW_LIMIT_BYTES:
            name = to_text(new.message["id"])
            new.spool = await asyncio.to_thread(self._spool.write, name, new.content)
            new.content = None
        await self._database.write(store.insert_messages, new)

    async def load_body(self, mail: Mail) -> bytes:
        """The body of a message that was picked up from the database."""
        if mail.body is None:
            content, name = await self._database.read(store.load_body, mail.id)
            mail.body = content if content is not None else await asyncio.to_thread(self._read_spool, name)
        return mail.body

    def _read_spool(self, name: str) -> bytes:
        if self._spool is None:
            raise FileNotFoundError(f"body {name} is in a spool, but SMG_SPOOL_DIR is not set")
        return self._spool.read(name)

    def forget(self, spooled: list[str]) -> None:
        """Remove spool files whose rows are gone."""
        if self._spool is not None:
            for name in spooled:
                self._spool.delete(name)

    def _open_recipients(self, envelope: Envelope) -> list[OpenRecipient]:
        expires_at = envelope.received_at + self._lifetime
        now_ms = int(envelope.received_at.timestamp() * 1000)
        return [
            OpenRecipient(self._ids.next(now_ms), item.address, 0, expires_at, item.notify, item.orcpt)
            for item in envelope.recipients
        ]

    def _recipient_row(
        self, envelope: Envelope, mail: Mail, recipient: OpenRecipient, *, lease: bool
    ) -> dict[str, Any]:
        return {
            "id": recipient.id,
            "message_id": envelope.id,
            "customer_id": envelope.customer_id,
            "address": str(recipient.address),
            "domain": recipient.address.domain,
            "notify": ",".join(sorted(recipient.notify)),
            "orcpt": recipient.orcpt,
            "pool": mail.pool.value,
            "next_attempt_at": envelope.received_at + (store.LEASE if lease else timedelta()),
            "lease_owner": self._owner if lease else "",
            "expires_at": recipient.expires_at,
        }


def _mail(envelope: Envelope, verdict: Verdict) -> Mail:
    return Mail(
        id=envelope.id,
        kind="customer" if envelope.customer_id is not None else "own",
        customer_id=envelope.customer_id,
        sender=envelope.sender,
        pool=pool_of(verdict.category),
        category=verdict.category,
        received_at=envelope.received_at,
        size_bytes=envelope.size_bytes,
        body=envelope.body,
        header_from=verdict.header_from,
        score=verdict.score,
        tls_optional=_tls_optional(envelope.body),
        symbols=tuple(name for name, _ in verdict.symbols),
        eight_bit=envelope.eight_bit,
        smtputf8=envelope.smtputf8,
        require_tls=envelope.require_tls,
        ret=envelope.ret,
        envid=envelope.envid,
        client_ip=envelope.client_ip,
        helo=envelope.helo,
    )


def _message_row(
    envelope: Envelope, mail: Mail, verdict: Verdict, customer: CustomerPolicy, hostname: str
) -> dict[str, Any]:
    sender = str(envelope.sender) if envelope.sender else ""
    return {
        "id": envelope.id,
        "kind": "customer",
        "customer_id": envelope.customer_id,
        "credential_id": envelope.credential_id,
        "received_at": envelope.received_at,
        "sender": sender[:320],
        "sender_domain": envelope.sender.domain if envelope.sender else "",
        "header_from": verdict.header_from[:320],
        "subject": headers.subject(envelope.body)[:300] if customer.keep_subjects else "",
        "message_id": _message_id(envelope, hostname)[:300],
        "size_bytes": envelope.size_bytes,
        "recipient_count": len(envelope.recipients),
        "client_ip": envelope.client_ip or None,
        "helo": envelope.helo[:255],
        "client_tls": f"{envelope.tls.version} {envelope.tls.cipher}" if envelope.tls else "",
        "eight_bit": envelope.eight_bit,
        "smtputf8": envelope.smtputf8,
        "require_tls": envelope.require_tls,
        "tls_optional": mail.tls_optional,
        "ret": envelope.ret,
        "envid": envelope.envid[:100],
        "category": verdict.category.value,
        "score": round(verdict.score, 2),
        "symbols": verdict.symbols,
        "trace": [entry.as_json() for entry in verdict.trace],
    }


def _message_id(envelope: Envelope, hostname: str) -> str:
    """The client's, else the one that the sign step puts in."""
    found = headers.find(headers.read_fields(envelope.body), b"message-id")
    if found:
        return headers.decode_text(found[0])
    return headers.own_message_id(envelope, envelope.sender.domain if envelope.sender else hostname)


def _tls_optional(body: bytes) -> bool:
    """The author would rather have it delivered than encrypted (RFC 8689 5)."""
    return [value.lower() for value in headers.find(headers.read_fields(body), b"tls-required")] == [b"no"]


def mail_from_row(row: Any) -> Mail:
    """A Mail without its body, from a Message row."""
    local, _, domain = row.sender.rpartition("@")
    return Mail(
        id=row.id,
        kind=row.kind,
        customer_id=row.customer_id,
        sender=Address(local, domain) if row.sender else None,
        pool=pool_of(row.category),
        category=Category(row.category),
        received_at=row.received_at.astimezone(UTC),
        size_bytes=row.size_bytes,
        body=None,
        header_from=row.header_from,
        score=row.score,
        tls_optional=row.tls_optional,
        symbols=tuple(name for name, _ in row.symbols),
        eight_bit=row.eight_bit,
        smtputf8=row.smtputf8,
        require_tls=row.require_tls,
        ret=row.ret,
        envid=row.envid,
        client_ip=row.client_ip or "",
        helo=row.helo,
        warned=row.warned_at is not None,
    )
