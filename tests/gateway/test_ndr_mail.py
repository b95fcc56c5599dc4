"""From an outcome to the rows of a report in our own queue."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path

import pytest

from gateway.config import Config
from gateway.ndr_mail import NdrMail
from gateway.rules.ids import IdMaker
from gateway.rules.notify import Report
from gateway.rules.policy import CustomerPolicy, GatewayPolicy, Snapshot
from gateway.rules.types import Address, Category, Outcome, Pool, Reply, Stage, State
from gateway.work import Mail, OpenRecipient, Parcel
from tests.gateway.bounce_parsers import flufl, part_texts, status_fields

AT = datetime(2026, 11, 24, 6, 30, 5, tzinfo=UTC)
CONFIG = Config.from_env({"SMG_HOSTNAME": "smg.example"}, Path("/nonexistent"))
SNAPSHOT = Snapshot(
    customers={1: CustomerPolicy(1, "acme", "ACME", language="de")},
    gateways={3: GatewayPolicy(3, "mta03", Pool.BAD, "mta03.smg.example")},
)
MAIL = Mail(
    id=4711, kind="customer", customer_id=1, sender=Address("alice", "acme.example"), pool=Pool.BAD,
    category=Category.SPAM, received_at=AT - timedelta(hours=1), size_bytes=100, body=None, symbols=("GTUBE",),
    envid="QQ1",
)  # fmt: skip
BOB = OpenRecipient(7, Address("bob", "globex.example"), 1, AT + timedelta(days=5))


async def load_body(mail: Mail) -> bytes:
    return b"From: alice@acme.example\r\nSubject: Hallo\r\n\r\nsecret\r\n"


def writer() -> NdrMail:
    return NdrMail(CONFIG, load_body, IdMaker(1))


def outcome(**given: object) -> Outcome:
    values: dict[str, object] = {
        "recipient_id": 7, "state": State.BOUNCED, "reply": Reply(550, "5.1.1", "User unknown"), "stage": Stage.RCPT,
        "at": AT, "gateway_id": 3, "remote_host": "mx.globex.example", "reason": "unknown_user",
    }  # fmt: skip
    return Outcome(**(values | given))  # type: ignore[arg-type]


async def write(report: Report = Report.FAILED, mail: Mail = MAIL, to: OpenRecipient = BOB, **given: object):
    return await writer()(
        SNAPSHOT, report, Parcel(mail, "globex.example", [to]), [(to, outcome(**given))], AT
    )


async def test_a_report_is_a_message_from_the_null_sender_that_nothing_answers():
    new = await write()
    assert new.message.get("sender", "") in ("", None)
    assert new.message["kind"] == "ndr"
    assert new.message["related"] == 4711
    (recipient,) = new.recipients
    assert (recipient["address"], recipient["notify"], recipient["pool"]) == (
        "alice@acme.example",
        "NEVER",
        "good",
    )
    assert recipient["next_attempt_at"] == AT


async def test_a_report_says_what_the_outcome_was():
    new = await write()
    assert flufl(new.content)[1] == {"bob@globex.example"}
    message, about = status_fields(new.content)
    assert message["Original-Envelope-Id"] == "QQ1"
    assert about["X-SMG-Gateway"] == "mta03 (bad)"
    text = " ".join(part_texts(new.content)[0][1].split())
    assert "Den Empfänger gibt es nicht" in text
    assert "als Spam eingestuft" in text
    assert "GTUBE" in text
    assert b"secret" not in new.content


async def test_a_delay_names_the_end_of_the_lifetime():
    new = await write(Report.DELAYED, state=State.QUEUED, reply=Reply(451, "4.7.1", "Greylisted"))
    assert status_fields(new.content)[1]["Will-Retry-Until"] == "Sun, 29 Nov 2026 06:30:05 +0000"
    assert flufl(new.content) == ({"bob@globex.example"}, set())


async def test_what_we_saw_ourselves_is_not_said_by_the_server():
    new = await write(reply=Reply(421, "4.4.1", "Connection refused by 192.0.2.1"), stage=Stage.CONNECT)
    assert status_fields(new.content)[1]["Diagnostic-Code"].startswith("x-smg; 421 4.4.1")


@pytest.mark.parametrize(
    ("smtputf8", "address", "flags"),
    [
        (True, Address("bü", "globex.example"), (True, True)),
        (False, Address("bü", "globex.example"), (False, False)),
        (True, Address("bob", "globex.example"), (False, False)),
    ],
)
async def test_an_international_report_asks_for_smtputf8(smtputf8, address, flags):
    new = await write(mail=replace(MAIL, smtputf8=smtputf8), to=replace(BOB, address=address))
    assert (new.message["smtputf8"], new.message["eight_bit"]) == flags


async def test_a_message_without_a_sender_gets_no_report():
    with pytest.raises(ValueError, match="null sender"):
        await write(mail=replace(MAIL, sender=None))


async def test_two_reports_about_one_message_differ():
    ndr = writer()
    pair = (SNAPSHOT, Report.FAILED, Parcel(MAIL, "globex.example", [BOB]), [(BOB, outcome())], AT)
    first, second = [await ndr(*pair) for _ in range(2)]
    assert message_from_bytes(first.content)["Message-ID"] != message_from_bytes(second.content)["Message-ID"]


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({}, "unknown_user"),
        ({"reply": Reply(550, "5.7.1", "no"), "reason": "blocklisted"}, "other_blocklist"),
        ({"reply": Reply(550, "", "x" * 9), "reason": ""}, "mailbox_other"),
    ],
)
def test_the_row_for_the_portal_names_the_cause(given, cause):
    row = writer().row(Report.FAILED, Parcel(MAIL, "globex.example", [BOB]), BOB, outcome(**given), 99)
    assert (row["cause"], row["kind"], row["report"], row["address"]) == (
        cause,
        "failed",
        99,
        "bob@globex.example",
    )
