"""The clients against the real Rspamd and spamd (Debian's packages), and both killed while mail is judged."""

from __future__ import annotations

import pytest

from gateway.rules.spam import Symbol, Thresholds
from gateway.spam import Setup, judge, score
from gateway.spam.combine import of_engines
from gateway.spam.engines import Asked, ask_rspamd, ask_spamd
from tests import services as real
from tests.gateway.spam.hostile import CASES
from tests.gateway.spam.mails import HAM, SPAM, mail
from tests.gateway.spam.test_score import GTUBE

pytestmark = [pytest.mark.services, pytest.mark.slow]
ASKED = Asked("anna@b.example", ["karl@k.example"], "192.0.2.7", "acme", "mail.acme.example", "42")
WAIT_S = 60.0


async def test_rspamd_knows_gtube_and_ordinary_mail(rspamd_url: str) -> None:
    found = await ask_rspamd(rspamd_url, mail(GTUBE), ASKED, WAIT_S)
    ordinary = await ask_rspamd(rspamd_url, HAM["en-reply"], ASKED, WAIT_S)
    assert found.value >= 75
    # It gives GTUBE no points, only a verdict: what no rule explains is told under the engine's own name.
    assert of_engines([found], [], Thresholds()).symbols == (Symbol("RSPAMD", found.value),)
    assert ordinary.value < 40
    assert ordinary.required == 6.0


async def test_the_rules_of_rspamd_explain_its_points(rspamd_url: str) -> None:
    found = await ask_rspamd(rspamd_url, SPAM["en-extortion"], ASKED, WAIT_S)
    assert found.rules[0][0] == "RSPAMD:LEAKED_PASSWORD_SCAM"
    assert sum(points for _, points in found.rules) == pytest.approx(found.points, abs=0.01)


async def test_spamd_knows_gtube_and_ordinary_mail(spamd_endpoint: str) -> None:
    host, _, port = spamd_endpoint.rpartition(":")
    found = await ask_spamd(host, int(port), mail(GTUBE), ASKED, WAIT_S)
    ordinary = await ask_spamd(host, int(port), HAM["en-reply"], ASKED, WAIT_S)
    assert found.value == 100.0
    assert "SPAMASSASSIN:GTUBE" in dict(found.rules)
    assert (ordinary.value < 40, ordinary.required) == (True, 5.0)


@pytest.mark.parametrize("name", ["nul-and-binary", "huge-header", "nested-500", "lying-utf8"])
async def test_hostile_mail_through_both(name: str, rspamd_url: str, spamd_endpoint: str) -> None:
    host, _, port = spamd_endpoint.rpartition(":")
    setup = Setup(rspamd_url, (host, int(port)), timeout_s=WAIT_S)
    assert 0 <= (await judge(CASES[name][:300_000], ASKED, setup=setup)).value <= 100


async def test_killed_engines_degrade_to_the_embedded_scorer() -> None:
    services = real.Services()
    try:
        daemons = [real.start_rspamd(services), real.start_spamd(services)]
        setup = Setup(daemons[0].extra["url"], (daemons[1].host, daemons[1].port), timeout_s=WAIT_S)
        before = await judge(SPAM["en-extortion"], ASKED, setup=setup)
        for daemon in daemons:
            daemon.stop()
        after = await judge(SPAM["en-extortion"], ASKED, setup=setup)
    finally:
        services.stop_all()
    assert (before.degraded, before.engine) == ((), "max(embedded,rspamd,spamassassin)")
    assert (after.degraded, after.engine) == (("rspamd", "spamassassin"), "embedded")
    assert after.value == score(SPAM["en-extortion"]).value
