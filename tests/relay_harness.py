"""A real relay for tests: `manage.py relay` with its own processes and database, next hops and DNS of the test.

relay = start_relay(dns=dns_server, hop_port=hop.port)
with relay.client("acme-web") as smtp: smtp.sendmail(...)
relay.wait_for("SELECT count(*) FROM gateway_recipient WHERE state = 'delivered'", 3)
with RunningPortal(relay) as portal: urlopen(portal.url)      # the pages on the same database
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import smtplib
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.services import free_port

ROOT = Path(__file__).resolve().parent.parent
SECRET = "only for tests"
READY_S = 60.0  # a busy machine is slow, not broken

SETUP = """
[[gateways]]
name = "good1"
pool = "good"
hostname = "good1.smg.example"
next_hop = "127.0.0.1:1"
[[gateways]]
name = "bad1"
pool = "bad"
hostname = "bad1.smg.example"
next_hop = "127.0.0.1:1"
[[customers]]
name = "ACME"
slug = "acme"
  [[customers.credentials]]
  username = "acme-web"
  secret = "only for tests"
  [[customers.domains]]
  name = "acme.example"
  verified = true
[[customers]]
name = "Globex"
slug = "globex"
  [[customers.credentials]]
  username = "globex-web"
  secret = "only for tests"
  [[customers.domains]]
  name = "globex.example"
  verified = true
"""


def relay_for(slug: str = "acme", address: str = "127.0.0.1") -> str:
    """Lets a customer's server send without a log-in, for `RunningRelay.apply`."""
    return (
        f'[[customers]]\nslug = "{slug}"\n'
        f'  [[customers.networks]]\n  network = "{address}/32"\n  may_relay = true\n'
    )


@dataclass
class RunningRelay:
    directory: Path
    env: dict[str, str]
    port: int
    process: subprocess.Popen[bytes] | None = None
    logs: list[Path] = field(default_factory=list)

    def manage(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Output of a management command in the relay's environment."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.env, input=stdin, capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def apply(self, text: str) -> str:
        path = self.directory / "setup.toml"
        path.write_text(text)
        return self.manage("apply", str(path))

    def start(self) -> None:
        log = self.directory / f"relay{len(self.logs)}.log"
        self.logs.append(log)
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "relay"], cwd=ROOT, env=self.env, stdout=output, stderr=output
            )
        self._wait_ready()

    def _wait_ready(self) -> None:
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            assert self.process is not None
            assert self.process.poll() is None, self.log
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                    if connection.recv(100).startswith(b"220"):
                        return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"relay not ready: {self.log}")

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9 of the whole tree: the children die with their parent."""
        self._end(signal.SIGKILL)

    def _end(self, signum: int) -> None:
        if self.process is not None:
            self.process.send_signal(signum)
            self.process.wait(timeout=30)
            self.process = None

    @property
    def log(self) -> str:
        return self.logs[-1].read_text() if self.logs else ""

    @property
    def is_sqlite(self) -> bool:
        return "DATABASE_URL" not in self.env

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of one SELECT, from outside of the relay."""
        if self.is_sqlite:
            with closing(sqlite3.connect(self.directory / "smg.sqlite3", timeout=20)) as connection:
                return connection.execute(sql, parameters).fetchall()
        import psycopg

        with psycopg.connect(self.env["DATABASE_URL"]) as connection:
            return connection.execute(sql.replace("?", "%s"), parameters).fetchall()

    def execute(self, sql: str, parameters: Sequence[Any]) -> None:
        """One writing statement, before the relay runs."""
        if self.is_sqlite:
            with (
                closing(sqlite3.connect(self.directory / "smg.sqlite3", timeout=20)) as connection,
                connection,
            ):
                connection.execute(sql, parameters)
            return
        import psycopg

        with psycopg.connect(self.env["DATABASE_URL"]) as connection:
            connection.execute(sql.replace("?", "%s"), parameters)

    def wait_for(self, sql: str, value: Any, timeout_s: float = 20.0) -> None:
        """Until a SELECT gives one value; fails with what it gave instead."""
        end = time.monotonic() + timeout_s
        while (found := self.query(sql)[0][0]) != value:
            assert time.monotonic() < end, f"{sql}: {found!r}, expected {value!r}\n{self.log[-4000:]}"
            time.sleep(0.05)

    def client(self, username: str = "acme-web", secret: str = SECRET) -> smtplib.SMTP:
        smtp = smtplib.SMTP("127.0.0.1", self.port, timeout=30)
        smtp.ehlo("client.acme.example")
        smtp.starttls(context=ssl._create_unverified_context())  # noqa: S323 - the relay's certificate is self-signed
        smtp.ehlo("client.acme.example")
        smtp.login(username, secret)
        return smtp

    def send(
        self, sender: str, recipient: str | list[str], message: bytes, username: str = "acme-web"
    ) -> str:
        """'' when accepted, else the reply's code and text."""
        with self.client(username) as smtp:
            try:
                smtp.sendmail(sender, recipient, message)
            except smtplib.SMTPSenderRefused as error:
                return f"{error.smtp_code} {error.smtp_error.decode()}"
            except smtplib.SMTPRecipientsRefused as error:
                code, text = next(iter(error.recipients.values()))
                return f"{code} {text.decode()}"
            except smtplib.SMTPDataError as error:
                return f"{error.smtp_code} {error.smtp_error.decode()}"
        return ""


@dataclass
class RunningPortal:
    """The portal as it is served in production (gunicorn), on a relay's database; its links name `url`.

    The relay's environment has to know the address before it starts: `SMG_PUBLIC_URL=RunningPortal.free_url()`.
    """

    relay: RunningRelay
    process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def free_url() -> str:
        return f"http://127.0.0.1:{free_port()}"

    @property
    def url(self) -> str:
        return self.relay.env["SMG_PUBLIC_URL"]

    @property
    def log(self) -> str:
        return self._log_file.read_text() if self._log_file.exists() else ""

    @property
    def _log_file(self) -> Path:
        return self.relay.directory / "portal.log"

    def __enter__(self) -> Self:
        command = [
            sys.executable, "-m", "gunicorn", "portal.wsgi", "--no-control-socket", "--threads", "4",
            "--bind", self.url.removeprefix("http://"),
        ]  # fmt: skip
        with self._log_file.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.relay.env, stdout=log, stderr=log)
        try:
            self._wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    def _wait_ready(self) -> None:
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            assert self.process is not None
            assert self.process.poll() is None, self.log
            if self._answers():
                return
            time.sleep(0.1)
        raise AssertionError(f"portal not ready: {self.log}")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as response:  # noqa: S310 - our own address
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def environment(directory: Path, dns_endpoint: str, **settings: str) -> dict[str, str]:
    """What a relay of its own needs; settings override."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SMG_") and name != "DATABASE_URL"
    }
    return {
        **kept,
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "SMG_ENV_FILE": os.devnull,
        "SECRET_KEY": "only for tests, long enough for every check that counts characters 0123456789",
        "SMG_HOSTNAME": "smtp.smg.example",
        "SMG_VAR_DIR": str(directory),
        "SMG_RELAY_PROCESSES": "2",
        "SMG_NAMESERVERS": dns_endpoint,
        "SMG_PRIVATE_MX_NETWORKS": "127.0.0.0/8",
        **settings,
    }


class Relays:
    """Makes relays below one temporary directory. The database is migrated and set up once, then copied.

    All who name the same `shared` directory, in whichever process, copy the same SQLite database.
    """

    def __init__(self, base: Path, shared: Path | None = None) -> None:
        self._base = base
        self._made: list[RunningRelay] = []
        self._template = _PostgresTemplate() if _on_postgres() else _SqliteTemplate(shared or base)

    def make(self, dns_endpoint: str, good_port: int, bad_port: int, **settings: str) -> RunningRelay:
        """A relay with its database set up, not yet started."""
        directory = self._base / f"relay{len(self._made)}"
        directory.mkdir(parents=True)
        port = free_port()
        env = environment(directory, dns_endpoint, SMG_SMTP_LISTEN=f"127.0.0.1:{port}", **settings)
        relay = RunningRelay(directory, env, port)
        self._made.append(relay)
        self._template.copy_to(relay)
        for name, hop in (("good1", good_port), ("bad1", bad_port)):
            relay.execute(
                "UPDATE gateway_gateway SET next_hop = ? WHERE name = ?", (f"127.0.0.1:{hop}", name)
            )
        return relay

    def start(self, dns_endpoint: str, good_port: int, bad_port: int, **settings: str) -> RunningRelay:
        relay = self.make(dns_endpoint, good_port, bad_port, **settings)
        relay.start()
        return relay

    def stop_all(self) -> None:
        for relay in self._made:
            relay.kill()
        self._template.drop()


def _on_postgres() -> bool:
    return os.environ.get("DATABASE_URL", "").startswith("postgres")


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One process at a time; the kernel lets go when it ends, however it ends."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _SqliteTemplate:
    def __init__(self, base: Path) -> None:
        self._file = base / "template.sqlite3"

    def copy_to(self, relay: RunningRelay) -> None:
        target = relay.directory / "smg.sqlite3"
        with alone(self._file.with_suffix(".lock")):
            if not self._file.exists():
                set_up(relay)
                with closing(sqlite3.connect(target)) as connection:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                shutil.copy(target, self._file)
        shutil.copy(self._file, target)

    def drop(self) -> None:
        """It goes with its directory."""


class _PostgresTemplate:
    def __init__(self) -> None:
        self._url = os.environ["DATABASE_URL"]
        self._made: list[str] = []

    def copy_to(self, relay: RunningRelay) -> None:
        if not self._made:
            relay.env["DATABASE_URL"] = self._create("")
            set_up(relay)
        relay.env["DATABASE_URL"] = self._create(f'TEMPLATE "{self._made[0]}"')

    def _create(self, options: str) -> str:
        name = f"smg_way_{uuid.uuid4().hex[:12]}"
        self._execute(f'CREATE DATABASE "{name}" {options}')
        self._made.append(name)
        return urlsplit(self._url)._replace(path=f"/{name}").geturl()

    def drop(self) -> None:
        for name in self._made:
            self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _execute(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(sql)


def set_up(relay: RunningRelay) -> None:
    relay.manage("migrate", "--verbosity", "0")
    relay.apply(SETUP)


def mail(
    text: str = "Hello, this is an ordinary letter.\r\n",
    *,
    author: str = "web@acme.example",
    subject: str = "Hello",
) -> bytes:
    return f"From: {author}\r\nTo: someone@partner.example\r\nSubject: {subject}\r\n\r\n{text}".encode()


def numbered(number: int) -> bytes:
    return mail(f"This is letter number {number}.\r\n", subject=f"no-{number}")


def decoded(row: Any) -> Any:
    """A JSON column, which SQLite gives as text."""
    return json.loads(row) if isinstance(row, str) else row
