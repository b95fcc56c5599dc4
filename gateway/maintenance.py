"""House-keeping of a node: held mail whose time has come or gone, bars that are over, orphans in the spool."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from gateway import store
from gateway.config import Config
from gateway.db import Database
from gateway.queue import mail_from_row
from gateway.report import Reporter
from gateway.rules.policy import Snapshot
from gateway.spool import Spool
from gateway.work import recipient_from_row, split_by_domain

log = logging.getLogger(__name__)

EXPIRE_BATCH = 200


async def keep_house(database: Database, reporter: Reporter, snapshot: Snapshot, now: datetime) -> None:
    """One round, every few seconds."""
    await database.write(store.resume_held, now)
    await database.write(store.end_bars, now)
    await expire_held(database, reporter, snapshot, now)


async def expire_held(database: Database, reporter: Reporter, snapshot: Snapshot, now: datetime) -> None:
    """Held mail must not be forgotten: at the end of its lifetime its sender is told."""
    rows = await database.read(store.load_any, await database.read(store.due_held, now, EXPIRE_BATCH))
    for row in rows:
        # The owner is nobody's: should we die right here, the lease ends and the mail expires at its next attempt.
        await database.write(store.requeue, ([row.id], "expiring", now))
        for parcel in split_by_domain(mail_from_row(row.message), [recipient_from_row(row)]):
            await reporter.expire(snapshot, parcel)


async def clean_spool(config: Config, database: Database) -> None:
    """Remove files that no row knows (a crash between the two)."""
    if config.spool_dir is None or not config.spool_dir.is_dir():
        return
    loop = asyncio.get_running_loop()

    def known(names: object) -> set[str]:
        found = asyncio.run_coroutine_threadsafe(database.read(store.known_spool_files, names), loop)
        return found.result()

    removed = await asyncio.to_thread(Spool(config.spool_dir).remove_orphans, known)
    if removed:
        log.info("removed orphans from the spool", extra={"files": removed})
