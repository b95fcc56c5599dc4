"""The real daemons that tests talk to, each in its own temporary directory on a loopback port that was free.

A daemon that is not installed skips its tests with a reason; with SMG_TEST_SERVICES=required it fails them instead.
Nothing here needs root, and nothing runs as root: started by root, the daemons become `nobody` (PostgreSQL insists).

    python -m tests.services postgres -- command ...     runs a command with DATABASE_URL set to a fresh cluster
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pytest

TEST_PORTS = (20_000, 32_000)
REQUIRED = os.environ.get("SMG_TEST_SERVICES") == "required"
PACKAGES = {  # binary -> Debian package
    "chromium": "chromium",
    "clamd": "clamav-daemon",
    "initdb": "postgresql",
    "ip": "iproute2",
    "msmtp": "msmtp",
    "nsd": "nsd",
    "pg_dump": "postgresql",
    "postgres": "postgresql",
    "rbldnsd": "rbldnsd",
    "rspamd": "rspamd",
    "smtp-sink": "postfix",
    "smtp-source": "postfix",
    "spamd": "spamd",
    "swaks": "swaks",
    "unbound": "unbound",
}
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE" + b"!$H+H*"
START_TIMEOUT_S = 110.0  # a busy machine is slow, not broken; below the time limit of a test
STOP_TIMEOUT_S = 10.0
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class ServiceError(RuntimeError):
    """A daemon did not start; the text ends with what it wrote."""


def find_binary(name: str) -> str | None:
    """Path of a daemon; an ordinary user's PATH lacks the sbin directories, and Debian hides PostgreSQL's."""
    hidden = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), key=_version, reverse=True)
    places = [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin", *hidden]
    return shutil.which(name, path=os.pathsep.join(places))


def _version(path: str) -> int:
    return int("".join(filter(str.isdigit, path)) or 0)


def need(name: str) -> str:
    """Path of a daemon, or the running test is skipped (failed when services are required)."""
    path = find_binary(name)
    if path:
        return path
    reason = f"{name} is not installed (Debian package {PACKAGES.get(name, name)})"
    if REQUIRED:
        pytest.fail(f"{reason}, and SMG_TEST_SERVICES=required", pytrace=False)
    pytest.skip(reason)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A loopback port that is free for TCP and UDP at this moment (a name server wants both).

    From below the range that the kernel gives to outgoing connections: one of those may take it before the daemon.
    """
    other = socket.SOCK_DGRAM if kind == socket.SOCK_STREAM else socket.SOCK_STREAM
    while True:
        port = random.randrange(*TEST_PORTS)
        sockets = socket.socket(socket.AF_INET, kind), socket.socket(socket.AF_INET, other)
        with sockets[0] as one, sockets[1] as two, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port))
            return port


# ------------------------------------------------------------------------------------------------- one daemon


@dataclass
class Daemon:
    """A started process: where it listens, where its files are, and how it ends."""

    name: str
    process: subprocess.Popen[bytes]
    directory: Path
    host: str = "127.0.0.1"
    port: int = 0
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> str:
        return (self.directory / "output.log").read_text("utf-8", "replace")

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Ends the process (not its directory); a second call does nothing."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Services:
    """Starts daemons and ends all of them together. One per test session (and xdist worker)."""

    def __init__(self) -> None:
        self._base: Path | None = None
        self._daemons: list[Daemon] = []

    def directory(self, name: str) -> Path:
        """A fresh directory that the daemon's user owns."""
        if self._base is None:
            self._base = Path(tempfile.mkdtemp(prefix="smg-services-"))
            self._base.chmod(0o755)
        path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._base))
        self.give_away(path)
        return path

    @staticmethod
    def give_away(path: Path) -> None:
        """Hands files to the user that daemons run as; only root has to."""
        if os.getuid() == 0:
            user = daemon_user()
            for each in (path, *path.rglob("*")):
                os.chown(each, user.pw_uid, user.pw_gid)

    def start(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        *,
        port: int = 0,
        ready: Callable[[Daemon], bool] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Daemon:
        """Starts `command` and waits until `ready` says so (default: the port takes a connection)."""
        self.give_away(directory)
        with (directory / "output.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={"PATH": os.environ["PATH"], "HOME": str(directory), "LC_ALL": "C.UTF-8", **(env or {})},
                preexec_fn=_die_with_parent,  # noqa: PLW1509 one prctl call, no locks
                **_as_daemon_user(),
            )
        daemon = Daemon(name, process, directory, port=port)
        self._daemons.append(daemon)
        _wait(daemon, ready or takes_connections)
        return daemon

    def stop_all(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.stop()
        self._daemons.clear()
        if self._base is not None:
            shutil.rmtree(self._base, ignore_errors=True)
            self._base = None


def daemon_user() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


def _as_daemon_user() -> dict[str, object]:
    if os.getuid() != 0:
        return {}
    user = daemon_user()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _die_with_parent() -> None:
    """Runs in the child: a killed test session must not leave daemons behind."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def takes_connections(daemon: Daemon) -> bool:
    try:
        socket.create_connection((daemon.host, daemon.port), timeout=0.2).close()
    except OSError:
        return False
    return True


def _wait(daemon: Daemon, ready: Callable[[Daemon], bool]) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while not ready(daemon):
        if daemon.process.poll() is not None:
            raise ServiceError(f"{daemon.name} ended with {daemon.process.returncode}:\n{daemon.log[-3000:]}")
        if time.monotonic() > until:
            raise ServiceError(
                f"{daemon.name} did not get ready in {START_TIMEOUT_S:.0f} s:\n{daemon.log[-3000:]}"
            )
        time.sleep(0.02)


# ------------------------------------------------------------------------------------------------- the daemons


def start_clamd(services: Services) -> Daemon:
    """clamd with a database of our own that knows EICAR alone (the real one cannot be downloaded in a test).

    The pattern has no fixed offset and fits every file type, so EICAR is found wherever clamd unpacks or decodes to it.
    It reports `Eicar-Test-Signature.UNOFFICIAL`.
    """
    binary, directory, port = need("clamd"), services.directory("clamd"), free_port()
    database = directory / "db"
    database.mkdir()
    (database / "test.ndb").write_text(f"Eicar-Test-Signature:0:*:{EICAR.hex()}\n")
    config = {
        "Foreground": "yes",
        "DatabaseDirectory": str(database),
        "TCPAddr": "127.0.0.1",
        "TCPSocket": str(port),
        "LocalSocket": str(directory / "clamd.sock"),
        "TemporaryDirectory": str(directory),
        "StreamMaxLength": "60M",
        "MaxScanSize": "100M",
        "MaxFileSize": "60M",
        "SelfCheck": "0",
        "MaxThreads": "4",
        "AlertExceedsMax": "no",
    }
    path = directory / "clamd.conf"
    path.write_text("".join(f"{key} {value}\n" for key, value in config.items()))
    daemon = services.start(
        "clamd", [binary, "--config-file", str(path)], directory, port=port, ready=_clamd_pongs
    )
    daemon.extra["socket"] = f"unix:{directory / 'clamd.sock'}"
    return daemon


def _clamd_pongs(daemon: Daemon) -> bool:
    try:
        with socket.create_connection((daemon.host, daemon.port), timeout=1) as connection:
            connection.sendall(b"zPING\0")
            return connection.recv(16).startswith(b"PONG")
    except OSError:
        return False


def start_spamd(services: Services, options: Sequence[str] = ()) -> Daemon:
    """SpamAssassin with Debian's rules, local tests only (no DNS)."""
    binary, directory, port = need("spamd"), services.directory("spamd"), free_port()
    command = [
        binary, "--local", "--listen", f"127.0.0.1:{port}", "--allowed-ips=127.0.0.1", "--nouser-config",
        "--max-children=2", "--min-children=1", "--syslog=stderr", f"--helper-home-dir={directory}", *options,
    ]  # fmt: skip
    return services.start("spamd", command, directory, port=port)


# Preparing the whole public suffix list takes 8 s of CPU.
RSPAMD_TLDS = "com\nde\nexample\nnet\norg\n"


def start_rspamd(
    services: Services, tlds: str = RSPAMD_TLDS, files: Mapping[str, str] = MappingProxyType({})
) -> Daemon:
    """Rspamd with its shipped rules; look-ups of the outside world (RBL, SPF, DKIM, DMARC, fuzzy, redis) are off.
    `tlds`: its list of public suffixes; `files`: what a site has in its own folder, by path."""
    binary, directory, port = need("rspamd"), services.directory("rspamd"), free_port()
    (directory / "rspamd.conf").write_text(_RSPAMD_CONFIG % {"dir": directory, "port": port})
    (directory / "tlds").write_text(tlds)
    (directory / "override.d").mkdir()
    off = {f"override.d/{module}.conf": "enabled = false;\n" for module in _RSPAMD_OFF}
    for name, text in {**off, **files}.items():
        (directory / name).write_text(text)
    command = [binary, "-f", "-c", str(directory / "rspamd.conf")]
    for variable in ("DBDIR", "RUNDIR", "LOGDIR", "LOCAL_CONFDIR"):
        command += [f"--var={variable}={directory}"]
    daemon = services.start("rspamd", command, directory, port=port, ready=_http_pings)
    daemon.extra["url"] = f"http://127.0.0.1:{port}"
    return daemon


_RSPAMD_OFF = (
    "rbl spf dkim arc dmarc fuzzy_check asn hfilter phishing greylist ratelimit history_redis neural replies mx_check "
    "milter_headers url_redirector reputation"
).split()
_RSPAMD_CONFIG = """
options {
  pidfile = "%(dir)s/rspamd.pid";
  filters = "chartable,regexp";
  dns { nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }
  local_addrs = [];
  disable_hyperscan = true;
  url_tld = "%(dir)s/tlds";
}
.include "$CONFDIR/common.conf"
logging { type = "console"; level = "notice"; }
worker "normal" { bind_socket = "127.0.0.1:%(port)d"; count = 1; task_timeout = 20s; }
"""


def _http_pings(daemon: Daemon) -> bool:
    try:
        with socket.create_connection((daemon.host, daemon.port), timeout=1) as connection:
            connection.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(200)
    except OSError:
        return False


def start_postgres(services: Services) -> Daemon:
    """A cluster with one superuser `smg` and one database `smg`; `extra["url"]` is its DATABASE_URL."""
    initdb, directory, port = need("initdb"), services.directory("postgres"), free_port()
    postgres, data = need("postgres"), directory / "data"
    env = {"PATH": os.environ["PATH"], "HOME": str(directory), "LC_ALL": "C.UTF-8"}
    subprocess.run(
        [initdb, "-D", str(data), "-U", "smg", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions"],
        check=True, cwd=directory, env=env, stdout=subprocess.DEVNULL, **_as_daemon_user(),
    )  # fmt: skip
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(directory),
        "fsync": "off",  # the machine does not lose power in a test; a killed server loses nothing by this
        "full_page_writes": "off",
        "max_connections": "100",
        "shared_buffers": "64MB",
    }
    options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    daemon = services.start(
        "postgres", [postgres, "-D", str(data), *options], directory, port=port, ready=_pg_ready
    )
    daemon.extra["url"] = f"postgres://smg@127.0.0.1:{port}/smg"
    return daemon


def _pg_ready(daemon: Daemon) -> bool:
    """Asks for a database of our own; the first successful connection makes it."""
    import psycopg

    try:
        with psycopg.connect(
            f"postgres://smg@127.0.0.1:{daemon.port}/postgres", autocommit=True
        ) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'smg'").fetchone():
                connection.execute("CREATE DATABASE smg")
    except psycopg.OperationalError:
        return False
    return True


def start_rbldnsd(services: Services, zones: Mapping[str, tuple[str, str]]) -> Daemon:
    """rbldnsd with `zones`: name -> (data set type, text), e.g. {"bl.example": ("ip4set", ":2:why\\n127.0.0.2\\n")}."""
    binary, directory, port = need("rbldnsd"), services.directory("rbldnsd"), free_port()
    sets = []
    for number, (zone, (kind, text)) in enumerate(zones.items()):
        (directory / f"zone{number}").write_text(text)
        sets.append(f"{zone}:{kind}:zone{number}")
    command = [binary, "-n", "-b", f"127.0.0.1/{port}", "-w", str(directory), "-c", "1", *sets]
    return services.start("rbldnsd", command, directory, port=port, ready=_answers_dns)


def start_nsd(services: Services, zones: Mapping[str, str]) -> Daemon:
    """nsd, authoritative for `zones`: name -> zone file text."""
    binary, directory, port = need("nsd"), services.directory("nsd"), free_port()
    server = {
        "ip-address": f"127.0.0.1@{port}",
        "username": '""',
        "chroot": '""',
        "pidfile": f'"{directory}/nsd.pid"',
        "zonesdir": f'"{directory}"',
        "database": '""',
        "xfrdfile": f'"{directory}/xfrd.state"',
        "xfrdir": f'"{directory}"',
        "zonelistfile": f'"{directory}/zone.list"',
        "server-count": "1",
    }
    lines = [
        "server:",
        *(f"  {key}: {value}" for key, value in server.items()),
        "remote-control:",
        "  control-enable: no",
    ]
    for number, (zone, text) in enumerate(zones.items()):
        (directory / f"zone{number}").write_text(text)
        lines += ["zone:", f'  name: "{zone}"', f'  zonefile: "zone{number}"']
    (directory / "nsd.conf").write_text("\n".join(lines) + "\n")
    return services.start(
        "nsd", [binary, "-d", "-c", str(directory / "nsd.conf")], directory, port=port, ready=_answers_dns
    )


def start_unbound(services: Services, stubs: Mapping[str, str], local_data: Sequence[str] = ()) -> Daemon:
    """A validating resolver that knows only `stubs`: zone -> "host:port" of its server, and `local_data` records."""
    binary, directory, port = need("unbound"), services.directory("unbound"), free_port()
    server = {
        "interface": f"127.0.0.1@{port}",
        "port": str(port),
        "username": '""',
        "chroot": '""',
        "directory": f'"{directory}"',
        "pidfile": '""',
        "do-daemonize": "no",
        "use-syslog": "no",
        "do-not-query-localhost": "no",
        "module-config": '"iterator"',
        "do-ip6": "no",
        "num-threads": "1",
    }
    lines = ["server:", *(f"  {key}: {value}" for key, value in server.items())]
    lines += [f"  local-zone: {zone} nodefault" for zone in stubs]
    lines += [f"  local-data: '{record}'" for record in local_data]
    lines += ["remote-control:", "  control-enable: no"]
    for zone, address in stubs.items():
        lines += ["stub-zone:", f'  name: "{zone}"', f"  stub-addr: {address.replace(':', '@')}"]
    (directory / "unbound.conf").write_text("\n".join(lines) + "\n")
    command = [binary, "-d", "-c", str(directory / "unbound.conf")]
    return services.start("unbound", command, directory, port=port, ready=_answers_dns)


def _answers_dns(daemon: Daemon) -> bool:
    import dns.exception
    import dns.message
    import dns.query

    query = dns.message.make_query("ready.invalid.", "TXT")
    try:
        dns.query.udp(query, daemon.host, port=daemon.port, timeout=0.3)
    except (OSError, dns.exception.DNSException):
        return False
    return True


def start_smtp_sink(services: Services, options: Sequence[str] = ()) -> Daemon:
    """Postfix's smtp-sink; every message becomes a file in `extra["mails"]` (envelope in X- header lines)."""
    binary, directory, port = need("smtp-sink"), services.directory("smtp-sink"), free_port()
    mails = directory / "mails"
    mails.mkdir()
    command = [binary, "-d", f"{mails}/%s.", *options, f"127.0.0.1:{port}", "1000"]
    daemon = services.start("smtp-sink", command, directory, port=port)
    daemon.extra["mails"] = str(mails)
    return daemon


# ------------------------------------------------------------------------------------------------- command line


@contextlib.contextmanager
def running() -> Iterator[Services]:
    services = Services()
    try:
        yield services
    finally:
        services.stop_all()


def main(arguments: Sequence[str]) -> int:
    if len(arguments) < 3 or arguments[0] != "postgres" or arguments[1] != "--":
        print("usage: python -m tests.services postgres -- command ...", file=sys.stderr)
        return 2
    if find_binary("initdb") is None:
        print("initdb is not installed (Debian package postgresql)", file=sys.stderr)
        return 3
    with running() as services:
        url = start_postgres(services).extra["url"]
        return subprocess.call(arguments[2:], env={**os.environ, "DATABASE_URL": url})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
