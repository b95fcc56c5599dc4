"""The queue in SQL: what the relay writes and reads. Runs in the writer or reader thread of `gateway.db`.

Writing functions take a list of payloads and return one result per payload, all in the caller's transaction.
"""

from gateway.store.counters import (
    count,
)
from gateway.store.gauges import apart, numbers_of, read_gauges
from gateway.store.leases import (
    LEASE,
    Claimed,
    ClaimRequest,
    claim,
    due_held,
    load,
    load_any,
    postpone,
    postpone_domain,
    release_leases,
    renew_leases,
    requeue,
    resume_held,
    still_leased,
)
from gateway.store.limits import (
    RateRequest,
    take_tokens,
)
from gateway.store.messages import (
    NewMessage,
    Settlement,
    delete_finished_bodies,
    insert_messages,
    known_spool_files,
    load_body,
    mark_delivered,
    mark_warned,
    settle,
    write_now,
)
from gateway.store.notes import (
    Learned,
    end_bars,
    load_learned,
    note_logins,
    note_setup,
    record_refusals,
    set_bars,
)
from gateway.store.reports import (
    WaitingReport,
    hold_reports,
    others_in_work,
    still_deferred,
    waiting_report,
)
from gateway.store.tls import note_tls
from gateway.store.workers import (
    beat,
    beats,
    bury,
    slots,
    take_slot,
)

__all__ = [
    "LEASE",
    "ClaimRequest",
    "Claimed",
    "Learned",
    "NewMessage",
    "RateRequest",
    "Settlement",
    "WaitingReport",
    "apart",
    "beat",
    "beats",
    "bury",
    "claim",
    "count",
    "delete_finished_bodies",
    "due_held",
    "end_bars",
    "hold_reports",
    "insert_messages",
    "known_spool_files",
    "load",
    "load_any",
    "load_body",
    "load_learned",
    "mark_delivered",
    "mark_warned",
    "note_logins",
    "note_setup",
    "note_tls",
    "numbers_of",
    "others_in_work",
    "postpone",
    "postpone_domain",
    "read_gauges",
    "record_refusals",
    "release_leases",
    "renew_leases",
    "requeue",
    "resume_held",
    "set_bars",
    "settle",
    "slots",
    "still_deferred",
    "still_leased",
    "take_slot",
    "take_tokens",
    "waiting_report",
    "write_now",
]
