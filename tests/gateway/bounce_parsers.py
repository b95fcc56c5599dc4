"""Readers of reports that are not ours: Python's email, flufl.bounce, Perl's Mail::DeliveryStatus::BounceParser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from email import message_from_bytes
from email.message import Message

import pytest
from flufl.bounce import all_failures

PERL = r"""
use strict; use warnings; use Mail::DeliveryStatus::BounceParser; use JSON::PP;
local $/; binmode STDIN; my $bounce = Mail::DeliveryStatus::BounceParser->new(scalar <STDIN>);
print encode_json({
  is_bounce => $bounce->is_bounce ? 1 : 0,
  message_id => $bounce->orig_message_id,
  reports => [ map { { email => $_->get('email'), action => $_->get('action'), status => $_->get('status'),
                       reason => $_->get('std_reason') } } $bounce->reports ],
});
"""


def status_fields(raw: bytes) -> list[dict[str, str]]:
    """The groups of the delivery-status part as Python's email reads them: per message first, then per recipient."""
    part = message_from_bytes(raw).get_payload()[1]
    groups = part.get_payload()
    assert isinstance(groups, list), "email did not read a delivery-status part"
    return [{name: " ".join(str(value).split()) for name, value in group.items()} for group in groups]


def part_texts(raw: bytes) -> list[tuple[str, str]]:
    """Type and decoded text of every part."""
    return [(part.get_content_type(), _text(part)) for part in message_from_bytes(raw).get_payload()]


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    return payload.decode(part.get_content_charset() or "utf-8", "replace") if payload else ""


def flufl(raw: bytes) -> tuple[set[str], set[str]]:
    """(temporary, permanent) failures as flufl.bounce sees them."""
    temporary, permanent = all_failures(message_from_bytes(raw))
    return {address.decode() for address in temporary}, {address.decode() for address in permanent}


def require_bounce_parser() -> None:
    """Skips the test without the Perl module, or fails it where real parts are required."""
    perl = shutil.which("perl")
    if (
        perl
        and subprocess.run(
            [perl, "-MMail::DeliveryStatus::BounceParser", "-e1"], capture_output=True
        ).returncode
        == 0
    ):
        return
    message = "BounceParser is not installed (Debian: libmail-deliverystatus-bounceparser-perl)"
    if os.environ.get("SMG_TEST_SERVICES") == "required":
        pytest.fail(message)
    pytest.skip(message)


def bounce_parser(raw: bytes) -> dict:
    unix = raw.replace(b"\r\n", b"\n")  # as a mail server hands mail to a program
    done = subprocess.run(["perl", "-e", PERL], input=unix, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
