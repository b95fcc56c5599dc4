"""Some days of mail for the demo: messages with their traces and attempts, refusals, reports, and the hourly counts
that belong to them. The same seed makes the same days."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from gateway.codes import code_dictionary
from gateway.control import dkim
from gateway.models import (
    Attempt,
    Body,
    Credential,
    Customer,
    DkimKey,
    Gateway,
    HourlyCount,
    Message,
    NdrReport,
    Recipient,
    Refusal,
)
from gateway.rules.codes import explain
from gateway.rules.ids import NODES, IdMaker
from portal.demo import letters
from portal.demo.letters import Ending, Voice

DAYS = 14
TLS = {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "verified": True, "policy": "opportunistic"}


class Traffic:
    """Builds all rows first, then stores them in one transaction."""

    def __init__(self, customer: Customer, now: datetime, voice: Voice) -> None:
        self.customer = customer
        self.now = now
        self.voice = voice
        self.dice = random.Random(voice.node)  # noqa: S311 - a story, not a secret
        self.ids = IdMaker(NODES - voice.node)
        self.late_ids = IdMaker(NODES - voice.node - 1)  # what is made out of the order of time: reports
        self.gateways = {pool: list(Gateway.objects.filter(pool=pool)) for pool in ("good", "bad")}
        self.logins = {login.username: login for login in Credential.objects.filter(customer=customer)}
        self.keys = {
            key.domain.name: dkim.record_name(key)
            for key in DkimKey.objects.filter(domain__customer=customer, state="active").select_related(
                "domain"
            )
        }
        self.messages: list[Message] = []
        self.recipients: list[Recipient] = []
        self.attempts: list[Attempt] = []
        self.reports: list[NdrReport] = []
        self.refusals: list[Refusal] = []
        self.bodies: list[Body] = []
        self.counts: dict[datetime, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def make(self) -> int:
        """Store the days; returns the number of messages. Does nothing where there is mail already."""
        if self.customer.messages.exists():
            return 0
        for at in self._moments():
            self._message(at)
        self.ids = self.late_ids = IdMaker(NODES - self.voice.node - 2)
        if self.voice is letters.ACME:
            self._special_ones()
            self._refusals()
        self._store()
        return len(self.messages)

    def _moments(self) -> Iterator[datetime]:
        """Busy mornings, quiet nights, slow week-ends."""
        start = self.now - timedelta(days=DAYS)
        for hours in range(DAYS * 24):
            hour = start + timedelta(hours=hours)
            local = timezone.localtime(hour)
            share = (
                (0.15 if local.weekday() > 4 else 1.0) * (9 if 7 <= local.hour < 18 else 1) / (11 * 9 + 13)
            )
            number = round(self.voice.a_day * share + self.dice.uniform(-0.5, 1.5))
            yield from sorted(hour + timedelta(seconds=self.dice.randrange(3600)) for _ in range(number))

    def _message(self, at: datetime) -> None:
        if self.dice.random() < 0.04:
            self._add(at, self._pick(letters.SPAM_SUBJECTS), letters.DELIVERED, spam=True)
            return
        endings = (letters.DELIVERED, letters.GREYLISTED, letters.UNKNOWN, letters.FULL, letters.POLICY)
        ending = self.dice.choices(endings, weights=(90, 5, 3, 1, 1))[0]
        self._add(at, self._pick(letters.SUBJECTS), ending)

    def _special_ones(self) -> None:
        """What makes ACME's pages worth a look: a listed gateway, a stolen login, mail that waits."""
        for hours in (21, 19, 16):
            self._add(self.now - timedelta(hours=hours), "Purchase order", letters.BLOCKED)
        self._stolen()
        self._add(self.now - timedelta(minutes=50), "Statement of account", letters.HELD)
        self._add(self.now - timedelta(minutes=35), "Angebot 7731", letters.WAITING)
        self._add(self.now - timedelta(minutes=12), "Re: Delivery date", letters.WAITING)

    def _stolen(self) -> None:
        own, self.voice = self.voice, letters.STOLEN
        for seconds in range(14):
            ending = replace(letters.FRESH, address=self._pick(letters.STRANGERS))
            at = self.now - timedelta(hours=3, seconds=40 - seconds)
            self._add(at, self._pick(letters.STOLEN_SUBJECTS), ending, spam=True)
        self.voice = own

    def _add(self, at: datetime, subject: str, ending: Ending, *, spam: bool = False) -> None:
        message = self._head(at, subject, spam)
        number = 1 if ending.address or self.dice.random() < 0.85 else 3
        message.recipient_count = number
        self.messages.append(message)
        for place in range(number):
            self._recipient(message, ending if place == 0 else letters.DELIVERED)
        self._count(message, ending, number)

    def _head(self, at: datetime, subject: str, spam: bool) -> Message:
        sender, voice = self._pick(self.voice.senders), self.voice
        score = round(self.dice.uniform(62, 88) if spam else self.dice.uniform(1, 14), 1)
        category = "clean" if not spam else "spam" if score >= 75 else "suspect"
        symbols = letters.shares(score, letters.SPAM_SYMBOLS if spam else letters.CLEAN_SYMBOLS)
        pk = self.ids.next(int(at.timestamp() * 1000))
        subject = subject.format(n=self.dice.randrange(1000, 9999))
        return Message(
            id=pk, customer=self.customer, credential=self.logins.get(voice.login), received_at=at, sender=sender,
            sender_domain=voice.domain, header_from=sender, subject=subject, message_id=f"<{pk}@{voice.domain}>",
            size_bytes=self.dice.randrange(3_000, 240_000), recipient_count=1, client_ip=voice.client_ip,
            helo=voice.helo, client_tls="TLSv1.3 TLS_AES_256_GCM_SHA384", category=category,
            score=score, symbols=symbols, trace=self._trace(sender, score, category),
        )  # fmt: skip

    def _trace(self, sender: str, score: float, category: str) -> list[dict[str, Any]]:
        spam = {"score": score, "category": category, "engine": "embedded", "threshold": 40.0}
        steps = (
            ("account", {"customer": self.customer.slug, "login": self.voice.login}, 0.1),
            ("sender_domain", {"domain": self.voice.domain}, 1.8),
            ("ownership", {"sender": sender}, 0.1),
            ("rate", {"limit": self.customer.rate_limit}, 0.3),
            ("authors", {"from": sender}, 0.2),
            ("loop", {"received": 1}, 0.1),
            ("virus", {"scanned": True}, 7.5),
        )
        trace = [
            {"step": step, "outcome": "pass", "detail": detail, "ms": self._ms(ms)}
            for step, detail, ms in steps
        ]
        return [*trace, {"step": "spam", "outcome": "info", "detail": spam, "ms": self._ms(2.4)}]

    def _recipient(self, message: Message, ending: Ending) -> None:
        address = ending.address or self._pick(letters.RECIPIENTS)
        pool = "good" if message.category == "clean" else "bad"
        wanted = [one for one in self.gateways[pool] if one.name == ending.gateway]
        gateway = self.dice.choice(wanted or self.gateways[pool])
        at = message.received_at + timedelta(seconds=self.dice.uniform(0.2, 2.5))
        text = ending.text.format(n=self.dice.randrange(10**8), to=address, domain=self.voice.domain)
        is_open, was_tried = ending.state in ("queued", "held"), bool(ending.code)
        recipient = Recipient(
            id=self.ids.next(int(message.received_at.timestamp() * 1000)), message=message, customer=self.customer,
            address=address, domain=address.rpartition("@")[2], state=ending.state, pool=pool, attempts=int(was_tried),
            next_attempt_at=self.now + timedelta(minutes=20) if ending.state == "queued" else None,
            expires_at=message.received_at + timedelta(days=5), reason=ending.reason,
            settled_at=None if is_open else at,
        )  # fmt: skip
        self.recipients.append(recipient)
        if was_tried:
            recipient.gateway, recipient.remote_host = gateway, f"mx.{recipient.domain}"
            recipient.code, recipient.enhanced, recipient.text = ending.code, ending.enhanced, text
            recipient.tls = self._tls(ending)
            self._attempts(recipient, ending, at)
        if ending.state == "bounced":
            self._report(recipient, at)
        if is_open:
            self.bodies.append(Body(message=message, content=_body(message, address)))

    def _attempts(self, recipient: Recipient, ending: Ending, at: datetime) -> None:
        if ending.first_try:
            code, enhanced, text = ending.first_try.split(" ", 2)
            self._attempt(recipient, at, "queued", int(code), enhanced, text, "greylisted")
            at += timedelta(minutes=5)
            recipient.settled_at, recipient.attempts = at, 2
        self._attempt(
            recipient, at, ending.state, ending.code, ending.enhanced, recipient.text, ending.reason
        )

    def _attempt(
        self, recipient: Recipient, at: datetime, state: str, code: int, enhanced: str, text: str, reason: str
    ) -> None:
        self.attempts.append(
            Attempt(
                message_id=recipient.message_id, recipient=recipient.id, at=at, state=state, stage="rcpt",
                gateway=recipient.gateway, remote_host=recipient.remote_host, remote_ip="203.0.113.25", code=code,
                enhanced=enhanced, text=text, reason=reason, tls=recipient.tls, duration_ms=self._ms(180),
                signed_by=self.keys.get(self.voice.domain, "") if recipient.remote_host else "",
            )
        )  # fmt: skip

    def _report(self, recipient: Recipient, at: datetime) -> None:
        cause = explain(
            recipient.code or 0,
            recipient.enhanced,
            recipient.text,
            code_dictionary(),
            reason=recipient.reason,
        )
        self.reports.append(
            NdrReport(
                at=at, customer=self.customer, message_id=recipient.message_id, recipient=recipient.id,
                report=self.late_ids.next(int(at.timestamp() * 1000)), sender=recipient.message.sender,
                address=recipient.address,
                domain=recipient.domain, cause=cause.key, code=recipient.code, enhanced=recipient.enhanced,
                text=recipient.text, gateway=recipient.gateway,
            )
        )  # fmt: skip

    def _count(self, message: Message, ending: Ending, number: int) -> None:
        hour = self.counts[message.received_at.replace(minute=0, second=0, microsecond=0)]
        hour["accepted"] += 1
        if message.category != "clean":
            hour[message.category] += 1
        hour["recipients"] += number
        hour["size_kib"] += message.size_bytes // 1024
        hour["delivered"] += number - (ending.state != "delivered")
        hour["deferred"] += bool(ending.first_try) + (ending.state == "queued")
        hour["bounced"] += ending.state == "bounced"
        hour["held"] += ending.state == "held"
        hour["unknown_user"] += ending.reason == "unknown_user"

    def _refusals(self) -> None:
        told = (
            ("mail", 550, "", "Sender Domain must resolve", "sender_domain", "shop@acme-old.example", 9),
            (
                "mail",
                553,
                "5.7.1",
                "Sender domain is not one of your verified domains",
                "not_owner",
                "me@globex.example",
                4,
            ),
            (
                "data",
                554,
                "5.7.1",
                "Message contains a virus (Eicar-Test-Signature)",
                "virus",
                "support@acme.example",
                1,
            ),
            ("mail", 451, "", "Ratelimit reached", "rate_limit", "news@acme.example", 12),
        )
        for stage, code, enhanced, text, reason, sender, number in told:
            for _ in range(number):
                at = self.now - timedelta(hours=self.dice.uniform(0.5, 24 * DAYS))
                self._refusal(at, stage, code, enhanced, text, reason, sender)

    def _refusal(
        self, at: datetime, stage: str, code: int, enhanced: str, text: str, reason: str, sender: str
    ) -> None:
        self.refusals.append(
            Refusal(
                at=at, customer=self.customer, credential=self.logins.get(self.voice.login),
                username=self.voice.login, stage=stage, client_ip=self.voice.client_ip,
                helo=self.voice.helo, sender=sender, code=code, enhanced=enhanced,
                text=text, reason=reason,
                trace=[{"step": "account", "outcome": "pass", "detail": {"login": self.voice.login}, "ms": 0.1}],
            )
        )  # fmt: skip
        hour = self.counts[at.replace(minute=0, second=0, microsecond=0)]
        hour["refused"] += 1
        hour["infected"] += reason == "virus"

    @transaction.atomic
    def _store(self) -> None:
        for model, rows in (
            (Message, self.messages), (Recipient, self.recipients), (Body, self.bodies), (Attempt, self.attempts),
            (NdrReport, self.reports), (Refusal, sorted(self.refusals, key=lambda row: row.at)),
        ):  # fmt: skip
            model.objects.bulk_create(rows, batch_size=200)  # type: ignore[attr-defined,arg-type]
        HourlyCount.objects.bulk_create(
            HourlyCount(customer=self.customer, hour=hour, domain=self.voice.domain, **counts)
            for hour, counts in self.counts.items()
        )

    def _tls(self, ending: Ending) -> dict[str, Any]:
        """A held message is the one whose certificate did not fit its rule."""
        return TLS | {"verified": False, "policy": "rule"} if ending.state == "held" else TLS

    def _pick(self, values: tuple[str, ...]) -> str:
        return self.dice.choice(values)

    def _ms(self, about: float) -> float:
        return round(about * self.dice.uniform(0.6, 1.6), 2)


def _body(message: Message, address: str) -> bytes:
    """What still waits must be sendable: the demo's relay really tries it."""
    lines = (
        f"From: {message.sender}", f"To: {address}", f"Subject: {message.subject}", f"Message-ID: {message.message_id}",
        f"Date: {message.received_at:%a, %d %b %Y %H:%M:%S} +0000", "", "Kind regards", "ACME", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode()
