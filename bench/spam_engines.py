"""The real engines for `bench/spam.py`: started on loopback as the tests start them, fed, ended.

Each judge takes the samples and gives (a value for each, the value at which the engine itself calls mail spam, CPU of
the daemon per message in ms). Rspamd and SpamAssassin are untrained and without DNS rules; bogofilter knows nothing
untrained, so it is trained on the other half of the mail and judges this half, then the other way round.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from pathlib import Path

from gateway.spam.corpus import Sample
from gateway.spam.engines import Asked, EngineDown, EngineResult, ask_rspamd, ask_spamd
from tests import services as real

Judgement = tuple[list[float], float, float | None]
TIMEOUT_S = 60.0


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of a process and all its children, living or reaped."""
    ticks, todo, seen = 0, [pid], set()
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        try:
            fields = Path(f"/proc/{current}/stat").read_text().rpartition(")")[2].split()
            children = Path(f"/proc/{current}/task/{current}/children").read_text().split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
        todo += map(int, children)
    return ticks / os.sysconf("SC_CLK_TCK")


def dated_now(raw: bytes) -> bytes:
    """The message with today's Date: both engines have rules for old dates, and a corpus is old."""
    return re.sub(rb"(?mi)^Date:[^\n]*", b"Date: " + formatdate(localtime=True).encode("ascii"), raw, count=1)


async def _asked(
    corpus: Sequence[Sample], ask: Callable[[bytes], Awaitable[EngineResult]], pid: int
) -> Judgement:
    values, required = [], 5.0
    before = tree_cpu_s(pid)
    for sample in corpus:
        try:
            found = await ask(dated_now(sample.raw))
        except EngineDown:
            values.append(0.0)
            continue
        values.append(found.points)
        required = found.required
    return values, required, 1000 * (tree_cpu_s(pid) - before) / max(len(corpus), 1)


async def rspamd(corpus: Sequence[Sample]) -> Judgement:
    services = real.Services()
    try:
        daemon = real.start_rspamd(services)
        return await _asked(
            corpus, lambda raw: ask_rspamd(daemon.extra["url"], raw, Asked(), TIMEOUT_S), daemon.process.pid
        )
    finally:
        services.stop_all()


async def spamassassin(corpus: Sequence[Sample]) -> Judgement:
    services = real.Services()
    try:
        daemon = real.start_spamd(services)
        return await _asked(
            corpus,
            lambda raw: ask_spamd("127.0.0.1", daemon.port, raw, Asked(), TIMEOUT_S),
            daemon.process.pid,
        )
    finally:
        services.stop_all()


async def bogofilter(corpus: Sequence[Sample]) -> Judgement:
    values: dict[int, float] = {}
    for half in (0, 1):
        with tempfile.TemporaryDirectory() as folder:
            for position, sample in enumerate(corpus):
                if position % 2 != half:
                    run_bogofilter(folder, "-s" if sample.is_spam else "-n", sample.raw)
            for position, sample in enumerate(corpus):
                if position % 2 == half:
                    said = run_bogofilter(folder, "-T", sample.raw)
                    number = re.search(r"[HSU] ([\d.e+-]+)", said)
                    values[position] = float(number.group(1)) if number else 0.5
    return [values[position] for position in range(len(corpus))], 0.99, None


def run_bogofilter(folder: str, mode: str, raw: bytes) -> str:
    """One run on one message; bogofilter's exit status is its verdict, so it is not checked."""
    command = ["bogofilter", "-d", folder, mode]
    return subprocess.run(command, input=raw, capture_output=True, check=False).stdout.decode(
        "ascii", "replace"
    )


ENGINES: dict[str, Callable[[Sequence[Sample]], Awaitable[Judgement]]] = {
    "rspamd": rspamd,
    "spamassassin": spamassassin,
    "bogofilter": bogofilter,
}
