"""What docs/smtp.md says is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.reception import Timeouts
from gateway.rules.limits import LoginLimits
from gateway.smtp import connection, lines
from tests.gateway.accept.house import EHLO_TLS

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "smtp.md").read_text("utf-8")
SOURCES = "".join(
    path.read_text("utf-8")
    for path in [ROOT / "gateway" / "accept.py", *(ROOT / "gateway" / "smtp").glob("*.py")]
)


def test_every_reply_on_the_page_is_in_the_code() -> None:
    replies = re.findall(r"`([45]\d\d) ([45]\.\d\.\d) ([^`]+)`", PAGE)
    assert len(replies) >= 14
    for _code, _enhanced, text in replies:
        assert f'"{text}"' in SOURCES, text


def test_every_keyword_is_on_the_page() -> None:
    for line in EHLO_TLS[1:]:
        keyword = line[4:].split()[0]
        assert f"`{keyword}" in PAGE, keyword


def test_the_numbers_on_the_page_are_those_of_the_code() -> None:
    limits, times = LoginLimits(), Timeouts()
    assert (limits.free_per_account, limits.free_per_address, limits.lock_address_after) == (5, 10, 30)
    assert (limits.first_wait_s, limits.max_wait_s) == (2, 900)
    assert (times.command_s, times.crowded_command_s, times.login_s, times.session_s) == (300, 10, 300, 7200)
    assert (times.data_grace_s, times.data_min_rate, times.data_total_s) == (120, 1024, 3600)
    assert (times.check_s, times.receive_s) == (60, 540)
    assert (connection.MAX_BAD_COMMANDS, connection.MAX_REFUSED_COMMANDS, connection.MAX_IDLE_COMMANDS) == (
        20,
        200,
        100,
    )
    assert (lines.MAX_COMMAND_BYTES, lines.MAX_AUTH_BYTES) == (2048, 12_290)
