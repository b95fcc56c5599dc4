"""The relay's door: always a score, engines named when they are down, the event loop never held."""

from __future__ import annotations

import asyncio
import time
from importlib import import_module

import pytest

from gateway.rules.spam import Thresholds
from gateway.spam import Setup, judge, score
from gateway.spam.combine import Combination
from gateway.spam.engines import Asked
from gateway.spam.judge import INLINE_BYTES
from tests.gateway.spam.hostile import CASES
from tests.gateway.spam.mails import HAM, SPAM
from tests.gateway.spam.servers import fake, http
from tests.gateway.spam.test_engines import SPAMD_REPLY, closed_port

RSPAMD_SPAM = http(b'{"score": 30, "required_score": 15, "thresholds": {"add header": 6.0}, "symbols": {}}')

RSPAMD_HAM = http(b'{"score": -2, "required_score": 15, "thresholds": {"add header": 6.0}, "symbols": {}}')


@pytest.mark.parametrize("name", {**HAM, **SPAM})
async def test_without_engines_it_is_the_embedded_score(name: str) -> None:
    raw = {**HAM, **SPAM}[name]
    assert await judge(raw) == score(raw)


async def test_both_engines_are_asked_and_joined() -> None:
    async with fake(RSPAMD_SPAM) as rspamd, fake(SPAMD_REPLY) as spamd:
        setup = Setup(f"http://127.0.0.1:{rspamd.port}", ("127.0.0.1", spamd.port))
        found = await judge(
            HAM["en-reply"], Asked("a@b.example", ["c@d.example"], "192.0.2.1", "acme"), setup=setup
        )
    assert (found.value, found.category, found.degraded) == (100.0, "spam", ())
    assert found.engine == "max(embedded,rspamd,spamassassin)"
    assert b"192.0.2.1" not in rspamd.request
    assert b"User: acme" in rspamd.request


async def test_the_client_address_is_told_only_when_configured() -> None:
    async with fake(RSPAMD_SPAM) as rspamd:
        setup = Setup(f"http://127.0.0.1:{rspamd.port}", hide_client=False)
        await judge(HAM["en-reply"], Asked(client_ip="192.0.2.1"), setup=setup)
    assert b"IP: 192.0.2.1" in rspamd.request


async def test_engines_that_are_down_are_named_and_have_no_say() -> None:
    setup = Setup(f"http://127.0.0.1:{closed_port()}", ("127.0.0.1", closed_port()), timeout_s=1)
    found = await judge(SPAM["en-extortion"], setup=setup)
    assert found.degraded == ("rspamd", "spamassassin")
    assert found.value == score(SPAM["en-extortion"]).value


async def test_an_engine_dying_in_mid_load_stops_nothing() -> None:
    async with fake(RSPAMD_SPAM) as rspamd:
        setup = Setup(f"http://127.0.0.1:{rspamd.port}", timeout_s=1)
        alive = await asyncio.gather(*(judge(HAM["en-reply"], setup=setup) for _ in range(5)))
        rspamd.reply = b""
        dead = await asyncio.gather(*(judge(HAM["en-reply"], setup=setup) for _ in range(5)))
    assert {found.degraded for found in alive} == {()}
    assert {(found.degraded, found.category) for found in dead} == {(("rspamd",), "clean")}


async def test_an_exception_for_an_engines_symbol_leaves_it_out() -> None:
    async with fake(RSPAMD_SPAM) as rspamd:
        setup = Setup(f"http://127.0.0.1:{rspamd.port}")
        found = await judge(HAM["en-reply"], setup=setup, without=["RSPAMD"])
    assert (found.category, found.engine, found.degraded) == ("clean", "embedded", ())


ENGINES = Combination("engines")


async def test_an_exception_for_a_rule_of_an_engine_leaves_the_others() -> None:
    reply = http(
        b'{"score": 9, "required_score": 15, "thresholds": {"add header": 6.0},'
        b' "symbols": {"SCAM": {"score": 7}, "OLD": {"score": 2}}}'
    )
    async with fake(reply) as rspamd:
        setup = Setup(f"http://127.0.0.1:{rspamd.port}", combination=ENGINES)
        found = await judge(HAM["en-reply"], setup=setup, without=["RSPAMD:SCAM"])
    assert (found.category, found.engine, round(found.value, 2)) == ("clean", "rspamd", 13.33)
    assert [symbol.name for symbol in found.symbols] == ["RSPAMD:OLD"]


async def test_engines_alone_decide_where_the_operator_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("gateway.spam.judge"), "score", None)  # ours is not even asked
    async with fake(RSPAMD_HAM) as rspamd:
        setup = Setup(f"http://127.0.0.1:{rspamd.port}", combination=ENGINES)
        found = await judge(SPAM["en-extortion"], setup=setup)
    assert (found.value, found.category, found.engine, found.features) == (0.0, "clean", "rspamd", b"")
    assert sum(symbol.share for symbol in found.symbols) == found.value


async def test_the_worst_of_the_engines_decides() -> None:
    async with fake(RSPAMD_SPAM) as rspamd, fake(SPAMD_REPLY) as spamd:
        setup = Setup(f"http://127.0.0.1:{rspamd.port}", ("127.0.0.1", spamd.port), combination=ENGINES)
        found = await judge(HAM["en-reply"], setup=setup)
    assert (found.value, found.category, found.engine) == (100.0, "spam", "max(rspamd,spamassassin)")
    assert [(symbol.name, symbol.share) for symbol in found.symbols] == [("RSPAMD", 100.0)]


@pytest.mark.parametrize("without", [[], ["RSPAMD"]])
async def test_ours_decides_when_the_engines_have_no_say(without: list[str]) -> None:
    """They are down, or support accepted an appeal against what they say."""
    async with fake(RSPAMD_SPAM if without else b"") as rspamd:
        setup = Setup(f"http://127.0.0.1:{rspamd.port}", combination=ENGINES, timeout_s=1)
        found = await judge(HAM["en-reply"], setup=setup, without=without)
    assert found.value == score(HAM["en-reply"]).value
    assert found.degraded == (() if without else ("rspamd",))


async def test_thresholds_of_the_customer() -> None:
    assert (await judge(SPAM["en-extortion"], thresholds=Thresholds(99, 100))).category == "clean"


async def test_an_odd_failure_inside_a_client_is_a_degraded_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_args: object) -> None:
        raise KeyError("nobody thought of this")

    monkeypatch.setattr(import_module("gateway.spam.judge"), "ask_rspamd", broken)
    found = await judge(HAM["en-reply"], setup=Setup("http://127.0.0.1:1"))
    assert (found.category, found.degraded) == ("clean", ("rspamd",))


async def test_big_mail_does_not_hold_the_event_loop() -> None:
    """The loop keeps ticking while 20 MiB are judged in a thread."""
    lines = b"QUJD" * 18 + b"\r\n"
    raw = CASES["ten-thousand-html-parts"] + lines * 250_000
    assert len(raw) > INLINE_BYTES
    longest = 0.0
    task = asyncio.ensure_future(judge(raw))
    while not task.done():
        started = time.perf_counter()
        await asyncio.sleep(0)
        longest = max(longest, time.perf_counter() - started)
    assert 0 <= task.result().value <= 100
    assert longest < 0.2  # measured below 10 ms on an idle machine; the bound allows for a busy one
