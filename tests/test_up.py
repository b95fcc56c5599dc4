"""`manage.py up` with the real parts: it serves, stops cleanly, and leaves nobody behind when it is killed."""

from __future__ import annotations

import os
import signal
import smtplib
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import dkim
import pytest

from tests.services import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
TIMEOUT_S = 180.0  # the first start migrates and makes some days of mail; a busy machine takes its time


class Up:
    """One `manage.py up` in an installation of its own."""

    def __init__(self, root: Path, var: Path, **settings: str) -> None:
        self.web, self.smtp, self.sink = free_port(), free_port(), free_port()
        self.output = var.parent / "output.log"
        env = os.environ | {
            "DATABASE_URL": f"sqlite:///{var}/smg.sqlite3",
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "SMG_VAR_DIR": str(var),
            "SMG_WEB_LISTEN": f"127.0.0.1:{self.web}",
            "SMG_SMTP_LISTEN": f"127.0.0.1:{self.smtp}",
            "SMG_DEMO_SINK": f"127.0.0.1:{self.sink}",
            "SMG_RELAY_PROCESSES": "1",
            **settings,
        }
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--setup"],
                cwd=root,
                env=env,
                stdout=output,
                stderr=output,
            )

    @property
    def text(self) -> str:
        return self.output.read_text("utf-8", "replace")

    def wait_for(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + TIMEOUT_S
        while not condition():
            assert self.process.poll() is None, self.text
            assert time.monotonic() < until, self.text
            time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """Everybody below a process, zombies left out."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # ended while we looked
        if state != "Z":
            parents.setdefault(int(parent), []).append(int(stat.parent.name))
    below = parents.get(pid, [])
    return below + [each for child in below for each in descendants(child)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int]) -> bool:
    until = time.monotonic() + 60  # the scheduler finishes the task it is at
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(alive, pids))


@pytest.fixture
def start(tmp_path: Path, root_dir: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def starter(**settings: str) -> Up:
        started.append(Up(root_dir, tmp_path / "var", **settings))
        started[-1].wait_for(lambda: "is running" in started[-1].text)
        return started[-1]

    (tmp_path / "var").mkdir()
    yield starter
    for up in started:
        if up.process.poll() is None:
            up.process.terminate()
            up.process.wait(30)


def first_mails(sink: Path) -> list[bytes]:
    return [mail for path in sink.glob("*.eml") if b"Subject: A first mail" in (mail := path.read_bytes())]


def test_the_demo_takes_the_line_it_prints(start: Callable[..., Up], tmp_path: Path) -> None:
    up = start(SMG_DEMO="on")
    lines = up.text.splitlines()
    line = lines[lines.index("Send a first mail:") + 2].strip()
    sent = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)  # noqa: S602 as a person would
    assert sent.returncode == 0, sent.stdout + sent.stderr
    sink = tmp_path / "var" / "demo" / "sink"
    # The demo's own letters (alerts of its story) end there, too.
    up.wait_for(lambda: first_mails(sink) != [])
    mail = first_mails(sink)[0]
    assert dkim.verify(mail, dnsfunc=lambda name, timeout=5: published_key(tmp_path / "var", name)), (
        mail.decode()
    )


def published_key(var: Path, name: bytes) -> bytes:
    """The record that the demo's zone answers for a selector, made from the key in the database."""
    selector, _, domain = name.decode().rstrip(".").partition("._domainkey.")
    connection = sqlite3.connect(var / "smg.sqlite3")
    query = "SELECT k.public_key FROM gateway_dkimkey k JOIN gateway_domain d ON d.id = k.domain_id"
    where = "WHERE d.name = ? AND k.selector = ?"
    (key,) = connection.execute(f"{query} {where}", [domain, selector]).fetchone()
    connection.close()
    return str(key).encode()


def test_it_serves_survives_kill_9_and_stops_cleanly(start: Callable[[], Up]) -> None:
    first = start()
    with urllib.request.urlopen(f"http://127.0.0.1:{first.web}/healthz", timeout=10) as answer:
        assert answer.status == 200
    with smtplib.SMTP("127.0.0.1", first.smtp, timeout=10) as client:
        assert client.starttls()[0] == 220
        assert client.docmd("MAIL", "FROM:<alice@acme.example>")[0] in {
            503,
            530,
        }  # no greeting, no log-in yet

    below = descendants(first.process.pid)
    assert len(below) >= 6, "web and its workers, the relay and its process, the scheduler and its own"
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    assert gone(below), [pid for pid in below if alive(pid)]

    first.output.unlink()
    second = start()  # the lock, the ports and the database are free again
    below = descendants(second.process.pid)
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(30) == 0, second.text
    assert not any(map(alive, below))
    assert "Stopped." in second.text


def test_a_second_one_is_refused(start: Callable[[], Up], tmp_path: Path, root_dir: Path) -> None:
    start()
    second = Up(root_dir, tmp_path / "var")
    assert second.process.wait(TIMEOUT_S) == 1
    assert "running already" in second.text
