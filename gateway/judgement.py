"""Judging for the relay: the scorer and engines with what this installation learned and whom it made exceptions for."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway import store
from gateway.config import Config
from gateway.db import Database
from gateway.rules.policy import CustomerPolicy
from gateway.rules.spam import Score
from gateway.rules.types import Envelope
from gateway.spam import LocalCounts, judge
from gateway.spam.engines import Asked
from gateway.spam.judge import setup_of
from gateway.spam.learn import counts_of

REFRESH_EVERY = 60  # calls of `refresh`, which come once a second


class SpamJudge:
    """One per process. Local counts and exceptions are read now and then; a failing read keeps the old ones."""

    def __init__(self, config: Config, database: Database | None) -> None:
        self._setup = setup_of(config)
        self._database = database
        self._local: LocalCounts | None = None
        self._exceptions: dict[tuple[int, str], tuple[tuple[str, ...], datetime]] = {}
        self._calls = 0
        self.degraded: tuple[str, ...] = ()

    async def refresh(self) -> None:
        """Read local counts and exceptions anew, once a minute."""
        self._calls += 1
        if self._database is None or self._calls % REFRESH_EVERY != 1:
            return
        self.load(await self._database.read(store.load_learned))

    def load(self, learned: store.Learned) -> None:
        self._local = counts_of(learned.words) if learned.words else None
        self._exceptions = {
            (customer_id, domain): (tuple(symbols), until)
            for customer_id, domain, symbols, until in learned.exceptions
        }

    async def __call__(self, envelope: Envelope, customer: CustomerPolicy) -> Score:
        asked = Asked(
            sender=str(envelope.sender or ""),
            recipients=[str(recipient.address) for recipient in envelope.recipients[:50]],
            client_ip=envelope.client_ip,
            login=customer.slug,
            helo=envelope.helo,
        )
        score = await judge(
            envelope.body,
            asked,
            setup=self._setup,
            thresholds=customer.thresholds,
            local=self._local,
            without=self._without(customer.id, envelope.sender.domain if envelope.sender else ""),
        )
        self.degraded = score.degraded
        return score

    def _without(self, customer_id: int, sender_domain: str) -> tuple[str, ...]:
        """The symbols that do not count for this sender: support accepted an appeal."""
        now = datetime.now(UTC)
        found = [self._exceptions.get((customer_id, domain)) for domain in (sender_domain, "")]
        return tuple(name for entry in found if entry and entry[1] > now for name in entry[0])
