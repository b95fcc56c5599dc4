"""The customer's rate limit, exact over all processes and nodes: the minute that runs is one row in the database.

Only customers that have a limit pay for it; requests that wait together share one transaction (`gateway.db`).
"""

from __future__ import annotations

import logging
from datetime import datetime

from gateway.db import Database
from gateway.store import RateRequest, take_tokens

log = logging.getLogger(__name__)


class RateLimiter:
    """Takes one token a message, and gives back those of transactions that came to nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, customer_id: int, limit: int, now: datetime) -> bool:
        """True when the message fits into the running minute. Raises DatabaseError: then nobody knows."""
        return await self._database.write(take_tokens, RateRequest(customer_id, 1, limit, now)) == 1

    async def give_back(self, customer_id: int, limit: int, now: datetime) -> None:
        await self._database.write(take_tokens, RateRequest(customer_id, -1, limit, now))
