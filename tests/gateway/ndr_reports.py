"""Inputs of reports, and how the tests read what comes out."""

from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

from gateway.rules.dsn import RecipientReport, ReportInput
from gateway.rules.types import Pool, Reply
from tests.gateway.bounce_parsers import (
    part_texts,
)

AT = datetime(2026, 11, 24, 6, 30, 5, tzinfo=UTC)
ORIGINAL = (
    b"From: Alice <alice@acme.example>\r\nTo: bob@globex.example\r\nSubject: Invoice 4711\r\n"
    b"Message-ID: <1@acme.example>\r\nX-Long: " + b"word " * 10 + b"\r\n\r\nThe secret body\r\n"
)
UNKNOWN = Reply(550, "5.1.1", "User unknown")
REPLIES = {
    "failed": UNKNOWN,
    "delayed": Reply(451, "4.4.1", "No answer"),
    "delivered": Reply(250, "2.1.5", "Ok"),
    "relayed": Reply(250, "", "queued"),
}


def recipient(action: str = "failed", **given: object) -> RecipientReport:
    values: dict[str, object] = {
        "address": "bob@globex.example", "reply": UNKNOWN,
        "remote_mta": "mx.globex.example", "last_attempt": AT + timedelta(hours=1), "gateway": "mta01",
        "gateway_pool": Pool.GOOD,
    }  # fmt: skip
    return RecipientReport(action=action, **(values | given))  # type: ignore[arg-type]


def report(*recipients: RecipientReport, **given: object) -> ReportInput:
    values: dict[str, object] = {
        "now": AT + timedelta(hours=2), "seed": "1", "reporting_mta": "smg.example", "sender": "alice@acme.example",
        "arrival": AT, "queue_id": "4711", "original": ORIGINAL,
    }  # fmt: skip
    return ReportInput(recipients=recipients or (recipient(),), **(values | given))  # type: ignore[arg-type]


def text_of(raw: bytes) -> str:
    return " ".join(part_texts(raw)[0][1].split())


def assert_well_formed(raw: bytes, *, eight_bit: bool = False) -> None:
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert b"\0" not in raw
    assert raw.endswith(b"--\r\n")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert eight_bit or raw.isascii()
    assert not message_from_bytes(raw, policy=policy.default).defects
