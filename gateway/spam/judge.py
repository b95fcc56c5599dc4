"""The relay's door to judging: one coroutine that always gives a score.

Small mail is scored in place (about a millisecond), big mail in a thread, so that the event loop is never held for
more than 10 ms. Rspamd and spamd are asked at the same time when configured; one that fails is named in
`Score.degraded` and has no say. Nothing here raises, nothing here can stop mail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from gateway.config import Config
from gateway.rules.spam import Score, Thresholds
from gateway.spam.combine import Combination, combine, of_engines
from gateway.spam.engines import RSPAMD, SPAMASSASSIN, TIMEOUT_S, Asked, EngineResult, ask_rspamd, ask_spamd
from gateway.spam.learn import LocalCounts
from gateway.spam.score import score
from gateway.spam.symbols import engine_symbol
from gateway.spam.tables import Tables

INLINE_BYTES = 64 * 1024
"""Up to this size a message is scored on the event loop (measured: at most about 6 ms, see docs/judging.md)."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Which engines are asked and how opinions are joined. `rspamd` a URL or "", `spamd` (host, port) or None."""

    rspamd: str = ""
    spamd: tuple[str, int] | None = None
    combination: Combination = field(default_factory=Combination)
    timeout_s: float = TIMEOUT_S
    hide_client: bool = True


EMBEDDED_ONLY = Setup()


async def judge(
    raw: bytes,
    asked: Asked | None = None,
    *,
    setup: Setup = EMBEDDED_ONLY,
    thresholds: Thresholds | None = None,
    tables: Tables | None = None,
    local: LocalCounts | None = None,
    without: Sequence[str] = (),
) -> Score:
    """Score of one message by every configured engine that answers, and by ours unless they are to decide alone."""
    asked = asked or Asked()
    thresholds = thresholds or Thresholds()

    async def ours() -> Score:
        judged = partial(
            score,
            raw,
            sender=asked.sender,
            recipients=asked.recipients,
            tables=tables,
            local=local,
            thresholds=thresholds,
            without=without,
        )
        return judged() if len(raw) <= INLINE_BYTES else await asyncio.to_thread(judged)

    questions = _questions(raw, asked, setup)
    engines = [asyncio.ensure_future(question) for _, question in questions]
    try:
        own = None if questions and setup.combination.how == "engines" else await ours()
        answers = await asyncio.gather(*engines, return_exceptions=True) if engines else ()
    finally:
        for engine in engines:
            engine.cancel()
    results = [
        answer.excused(without)
        for answer in answers
        if isinstance(answer, EngineResult) and engine_symbol(answer.engine) not in without
    ]
    # Whatever went wrong inside a client, foreseen or not, is a degraded engine and no reason to stop mail.
    down = [
        name
        for (name, _), answer in zip(questions, answers, strict=True)
        if isinstance(answer, BaseException)
    ]
    if own is None and results:
        return of_engines(results, down, thresholds)
    return combine(own or await ours(), results, down, thresholds, setup.combination)


def _questions(raw: bytes, asked: Asked, setup: Setup) -> list[tuple[str, Coroutine[Any, Any, EngineResult]]]:
    if setup.hide_client:
        asked = Asked(asked.sender, asked.recipients, "", asked.login, "", asked.queue_id)
    questions: list[tuple[str, Coroutine[Any, Any, EngineResult]]] = []
    if setup.rspamd:
        questions.append((RSPAMD, ask_rspamd(setup.rspamd, raw, asked, setup.timeout_s)))
    if setup.spamd is not None:
        questions.append((SPAMASSASSIN, ask_spamd(*setup.spamd, raw, asked, setup.timeout_s)))
    return questions


def setup_of(config: Config) -> Setup:
    """What the operator configured (SMG_RSPAMD, SMG_SPAMD)."""
    spamd = (config.spamd.host, config.spamd.port) if config.spamd and config.spamd.host else None
    combination = Combination(config.spam_combination, MappingProxyType(dict(config.spam_weights)))
    return Setup(rspamd=config.rspamd, spamd=spamd, combination=combination)
