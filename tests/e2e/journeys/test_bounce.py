"""An undeliverable mail understood: what happened, who must act, and the list for a spreadsheet."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import axe_problems
from tests.e2e.journeys.stage import (
    INBOX,
    PARTNER,
    People,
    Stage,
    parsed,
    portrait,
    press,
    reload_until,
    text_of,
    wait_until,
)
from tests.relay_harness import SECRET

REPLY = "550 5.1.1 <nobody@partner.example>: Recipient address rejected: User unknown"
FORMULA = "=1+1@partner.example"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_report_is_understood(people: People, stage: Stage) -> None:
    partner = stage.servers[PARTNER]
    partner.say("RCPT", REPLY)
    for recipient in ("nobody@partner.example", FORMULA):
        assert stage.send("acme-web", SECRET, "alice@acme.example", [recipient], "Offer", "See below.") == ""
    alice = people.enter("alice@acme.example")
    read_the_cause(alice)
    save_as_csv(alice)
    wait_until(lambda: reports(stage), "the report to the sender")
    partner.say("RCPT", "250 2.1.5 ok")


def read_the_cause(alice: Any) -> None:
    """Grouped by cause, in plain words; the recipient's side must act, and the reply is there word for word."""
    alice.goto("/ndr/")
    reload_until(alice, "a[href^='/ndr/']", has_text=FORMULA)
    cause = alice.locator("tbody tr", has_text="The recipient does not exist").first
    assert "2" in cause.locator("td.number").inner_text()
    assert axe_problems(alice) == []
    press(alice, "a[href^='/ndr/']:has-text('nobody@partner.example')")
    alice.wait_for_url(re.compile(r"/ndr/\d+/$"))
    assert alice.locator("h1").inner_text() == "The recipient does not exist"
    acts = alice.locator(".path .acts")
    assert acts.count() == 1
    assert "alice@acme.example" in acts.inner_text()
    assert REPLY in text_of(alice)
    assert alice.locator("h3 + ol li").count() >= 1
    assert axe_problems(alice) == []
    portrait(alice, "ndr-explained")


def save_as_csv(alice: Any) -> None:
    alice.goto("/ndr/")
    with alice.expect_download() as download:
        press(alice, "a[href^='/ndr/csv/']")
    with Path(download.value.path()).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    cells = {cell for row in rows[1:] for cell in row}
    assert len(rows) == 3
    assert "nobody@partner.example" in cells
    assert f"'{FORMULA}" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "-"))]


def reports(stage: Stage) -> bool:
    """Alice's server got a report for each, as RFC 3464 wants it."""
    mails = [mail for mail in stage.servers[INBOX].messages if "alice@acme.example" in str(mail.rcpts)]
    kinds = [parsed(mail).get_content_type() for mail in mails]
    return kinds.count("multipart/report") == 2
