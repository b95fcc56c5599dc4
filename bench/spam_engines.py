"""The real engines for `bench/spam.py`: started on loopback as the tests start them, taught, fed, ended.

Each judge takes the folds and gives (a value for each judged message in the order of the folds, the value at which the
engine itself calls mail spam, CPU of the daemon per judged message in ms). No network: no DNS rules, no fuzzy hashes.
With Bayes, an engine learns all mail of the other folds before it judges one; a fold's own mail is never learned.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from http.client import HTTPConnection
from pathlib import Path

from gateway.spam.corpus import Sample
from gateway.spam.engines import Asked, EngineDown, EngineResult, ask_rspamd, ask_spamd
from tests import services as real

Judgement = tuple[list[float], float, float]
Trial = tuple[list[float], float, float]
"""Points of the judged mail, the engine's mark, and CPU: ms for each message of a judgement, seconds of a trial."""
Ask = Callable[[bytes], Awaitable[EngineResult]]
TIMEOUT_S = 120.0
AT_ONCE = 2
BOGOFILTER_SPAM = 0.99


@dataclass(frozen=True, slots=True)
class Fold:
    """One source: all its `mail` (learned when another fold is judged) and what is `judged` of it."""

    name: str
    mail: Sequence[Sample]
    judged: Sequence[Sample]


def learned(folds: Sequence[Fold], without: Fold) -> list[Sample]:
    """Mail of the other folds in an order that mixes sources, ham and spam: always the same one."""
    mail = [sample for fold in folds if fold is not without for sample in fold.mail]
    random.Random(1).shuffle(mail)
    return mail


def dated_now(raw: bytes) -> bytes:
    """The message with today's Date: both engines have rules for old dates, and a corpus is old."""
    return re.sub(rb"(?mi)^Date:[^\n]*", b"Date: " + formatdate(localtime=True).encode("ascii"), raw, count=1)


def mbox(samples: Iterable[Sample]) -> bytes:
    """An mbox for programs that learn many messages at once."""
    return b"".join(
        b"From source@test.example Thu Jan  1 00:00:00 2026\n"
        + dated_now(sample.raw).replace(b"\nFrom ", b"\n>From ")
        + b"\n\n"
        for sample in samples
    )


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


async def _asked(judged: Sequence[Sample], ask: Ask, pid: int) -> Trial:
    """(points of each, the engine's own mark, CPU seconds); a message without an answer has no points."""
    marks: list[float] = []
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(sample: Sample) -> float:
        async with turn:
            try:
                found = await ask(dated_now(sample.raw))
            except EngineDown:
                return 0.0
            marks.append(found.required)
            return found.points

    before = tree_cpu_s(pid)
    points = await asyncio.gather(*map(one, judged))
    return points, marks[-1], tree_cpu_s(pid) - before


def joined(trials: Sequence[Trial]) -> Judgement:
    """What the trials say together."""
    points = [value for values, _, _ in trials for value in values]
    return points, trials[-1][1], 1000 * sum(cpu for _, _, cpu in trials) / max(len(points), 1)


def all_judged(folds: Sequence[Fold]) -> list[Sample]:
    return [sample for fold in folds for sample in fold.judged]


# ------------------------------------------------------------------------------------------------- Rspamd

SUFFIXES = Path("/usr/share/rspamd/effective_tld_names.dat")
LOCAL_MODULES = {"override.d/phishing.conf": "enabled = true;\n"}
"""What the tests do without but needs no network."""
RSPAMD_REDIS = 'servers = "127.0.0.1:%d";\n'
RSPAMD_CONTROLLER = (
    'worker "controller" { bind_socket = "127.0.0.1:%d"; count = 1; secure_ip = ["127.0.0.1"]; }\n'
)


async def rspamd(folds: Sequence[Fold]) -> Judgement:
    services = real.Services()
    try:
        daemon = real.start_rspamd(services, SUFFIXES.read_text(), LOCAL_MODULES)
        return joined([await _rspamd_asked(daemon, all_judged(folds))])
    finally:
        services.stop_all()


async def rspamd_bayes(folds: Sequence[Fold]) -> Judgement:
    """One Rspamd, whose Redis is emptied before it learns for the next fold."""
    services = real.Services()
    try:
        redis, controller_port = start_redis(services), real.free_port()
        files = {
            **LOCAL_MODULES,
            "override.d/redis.conf": RSPAMD_REDIS % redis.port,
            "rspamd.conf.local": RSPAMD_CONTROLLER % controller_port,
        }
        daemon = real.start_rspamd(services, SUFFIXES.read_text(), files)
        while not real.takes_connections(replace(daemon, port=controller_port)):
            await asyncio.sleep(0.1)
        trials = []
        for fold in folds:
            forget(redis.port)
            teach_rspamd(controller_port, learned(folds, fold))
            trials.append(await _rspamd_asked(daemon, fold.judged))
        return joined(trials)
    finally:
        services.stop_all()


def forget(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as redis:
        redis.sendall(b"FLUSHALL\r\n")
        if redis.recv(100) != b"+OK\r\n":
            raise RuntimeError("Redis did not forget")


async def _rspamd_asked(daemon: real.Daemon, judged: Sequence[Sample]) -> Trial:
    url = daemon.extra["url"]
    return await _asked(judged, lambda raw: ask_rspamd(url, raw, Asked(), TIMEOUT_S), daemon.process.pid)


def start_redis(services: real.Services) -> real.Daemon:
    """Redis in memory alone, for what Rspamd counts."""
    directory, port = services.directory("redis"), real.free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    return services.start("redis", [real.need("redis-server"), *options], directory, port=port)


def teach_rspamd(port: int, mail: Sequence[Sample]) -> None:
    """Give every message to the controller; it declines some by its shipped condition (short, or known well)."""
    answers: Counter[int] = Counter()
    controller = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    for sample in mail:
        controller.request("POST", "/learnspam" if sample.is_spam else "/learnham", dated_now(sample.raw))
        reply = controller.getresponse()
        reply.read()
        answers[reply.status] += 1
    controller.close()
    print(f"Rspamd learned {answers[200]} of {len(mail)}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------------- SpamAssassin


async def spamassassin(folds: Sequence[Fold]) -> Judgement:
    return joined([await _spamd_asked(real.Services(), all_judged(folds), ["use_bayes 0"])])


async def spamassassin_bayes(folds: Sequence[Fold]) -> Judgement:
    """Each fold's mail is counted once; what the others counted is added up, which is what learning them would give."""
    with tempfile.TemporaryDirectory() as folder:
        counted = {fold.name: sa_counts(Path(folder) / fold.name, fold.mail) for fold in folds}
    trials = []
    for fold in folds:
        services = real.Services()
        directory = services.directory("bayes")
        sa_restore(directory, added(counts for name, counts in counted.items() if name != fold.name))
        services.give_away(directory)
        trials.append(await _spamd_asked(services, fold.judged, sa_options(directory)))
    return joined(trials)


async def _spamd_asked(services: real.Services, judged: Sequence[Sample], options: Sequence[str]) -> Trial:
    try:
        daemon = real.start_spamd(services, [f"--cf={option}" for option in options])
        return await _asked(
            judged,
            lambda raw: ask_spamd("127.0.0.1", daemon.port, raw, Asked(), TIMEOUT_S),
            daemon.process.pid,
        )
    finally:
        services.stop_all()


def sa_options(directory: Path) -> list[str]:
    return [f"bayes_path {directory}/bayes", "bayes_auto_expire 0", "bayes_auto_learn 0"]


def sa_learn(directory: Path, *command: str) -> str:
    options = [f"--cf={option}" for option in sa_options(directory)]
    run = subprocess.run(["sa-learn", "--local", *options, *command], capture_output=True, check=True)
    return run.stdout.decode("ascii", "replace")


Counts = tuple[Counter[str], Counter[str]]


def sa_counts(directory: Path, mail: Sequence[Sample]) -> Counts:
    """Spam and ham counts of each token; those of "" are the messages."""
    directory.mkdir()
    for option, is_spam in (("--spam", True), ("--ham", False)):
        file = directory / "mail.mbox"
        file.write_bytes(mbox(sample for sample in mail if sample.is_spam == is_spam))
        sa_learn(directory, option, "--mbox", str(file))
    spam: Counter[str] = Counter()
    ham: Counter[str] = Counter()
    for line in sa_learn(directory, "--backup").splitlines():
        kind, first, *rest = line.split("\t")
        if kind == "t":
            spam[rest[2]], ham[rest[2]] = int(first), int(rest[0])
        elif kind == "v" and rest[0] in ("num_spam", "num_nonspam"):
            (spam if rest[0] == "num_spam" else ham)[""] = int(first)
    return spam, ham


def added(parts: Iterable[Counts]) -> Counts:
    spam: Counter[str] = Counter()
    ham: Counter[str] = Counter()
    for one, other in parts:
        spam.update(one)
        ham.update(other)
    return spam, ham


def sa_restore(directory: Path, counts: Counts) -> None:
    """A Bayes database with these counts, in the format of `sa-learn --backup`."""
    spam, ham = counts
    lines = ["v\t3\tdb_version # this must be the first line!!!"]
    lines += [f"v\t{spam['']}\tnum_spam", f"v\t{ham['']}\tnum_nonspam"]
    now = int(time.time())
    tokens = sorted((spam.keys() | ham.keys()) - {""})
    lines += [f"t\t{spam[token]}\t{ham[token]}\t{now}\t{token}" for token in tokens]
    file = directory / "backup"
    file.write_text("\n".join(lines) + "\n")
    sa_learn(directory, "--restore", str(file))


# ------------------------------------------------------------------------------------------------- bogofilter


async def bogofilter_bayes(folds: Sequence[Fold]) -> Judgement:
    """Bayes is all it has. Its CPU is that of one process for each message."""
    trials = []
    for fold in folds:
        with tempfile.TemporaryDirectory() as folder:
            mail = learned(folds, fold)
            for mode, is_spam in (("-s", True), ("-n", False)):
                run_bogofilter(folder, [mode, "-M"], mbox(one for one in mail if one.is_spam == is_spam))
            before = children_cpu_s()
            points = [said(run_bogofilter(folder, ["-T"], dated_now(one.raw))) for one in fold.judged]
            trials.append((points, BOGOFILTER_SPAM, children_cpu_s() - before))
    return joined(trials)


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_bogofilter(folder: str, options: Sequence[str], given: bytes) -> str:
    """One run; bogofilter's exit status is its verdict, so it is not checked."""
    run = subprocess.run(
        ["bogofilter", "-d", folder, *options], input=given, capture_output=True, check=False
    )
    return run.stdout.decode("ascii", "replace")


def said(line: str) -> float:
    """The number of `S 0.999999`; 0.5 when it says none."""
    found = re.search(r"[HSU] ([\d.e+-]+)", line)
    return float(found.group(1)) if found else 0.5


ENGINES: dict[str, Callable[[Sequence[Fold]], Coroutine[None, None, Judgement]]] = {
    "rspamd": rspamd,
    "rspamd+bayes": rspamd_bayes,
    "spamassassin": spamassassin,
    "spamassassin+bayes": spamassassin_bayes,
    "bogofilter+bayes": bogofilter_bayes,
}
