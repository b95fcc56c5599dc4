"""An outcome that cannot be written as a whole: nothing that was delivered is sent a second time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DataError

from gateway import store
from gateway.config import Config
from gateway.report import Reporter
from gateway.rules.policy import Snapshot
from gateway.rules.types import Address, Category, Outcome, Pool, Reply, Stage, State
from gateway.work import Mail, OpenRecipient, Parcel

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class RefusingDatabase:
    """Takes everything but settlements."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Any]] = []

    async def write(self, handler: Callable[..., Any], payload: Any, *, patient: bool = False) -> Any:
        if handler is store.settle:
            raise DataError("value too long")
        self.written.append((handler.__name__, payload))
        return []


async def test_delivered_recipients_are_settled_all_the_same(tmp_path: Path) -> None:
    database = RefusingDatabase()
    config = Config.from_env({"SMG_VAR_DIR": str(tmp_path)}, tmp_path)
    reporter = Reporter(database, config, None, lambda names: None, utc_now=lambda: NOW)  # type: ignore[arg-type]
    mail = Mail(1, "own", None, None, Pool.GOOD, Category.CLEAN, NOW, 100, b"")
    recipients = [
        OpenRecipient(number, Address(f"r{number}", "partner.example"), 0, NOW + timedelta(days=5))
        for number in (1, 2)
    ]
    outcomes = [
        Outcome(1, State.DELIVERED, Reply(250, "2.0.0", "ok"), Stage.DOT, NOW),
        Outcome(2, State.QUEUED, Reply(451, "4.2.0", "later"), Stage.RCPT, NOW),
    ]
    with pytest.raises(DataError):
        await reporter.report(Snapshot(), Parcel(mail, "partner.example", recipients), outcomes)
    assert database.written == [("mark_delivered", ([1], NOW))]
