"""The servers that are measured beside ours: Postfix plain, and Postfix with clamav-milter and Rspamd (which signs).

Each is Debian's program in a scratch directory on loopback ports, with the same next hop, the same clamd and its queue
on the same disk as ours. Postfix can only be started by root. Tuned: as many deliveries at once as our relay makes, no
delay at the entrance, connections to the next hop kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.rig import need, tree_of
from gateway.sign import generate_key
from tests import services
from tests.services import Services, find_binary, free_port

MASTER = Path("/usr/lib/postfix/sbin/master")
DELIVERIES = 40


@dataclass
class Server:
    """Something that takes mail on `port`; `parts` are its processes by name (each counts with its children)."""

    name: str
    port: int
    parts: dict[str, int] = field(default_factory=dict)

    def pids(self, part: str) -> list[int]:
        return tree_of(self.parts[part])


def unavailable() -> str:
    if os.geteuid() != 0:
        return "Postfix can only be started by root"
    return need("postfix", "smtp-source", "smtp-sink") or ("" if MASTER.exists() else f"{MASTER} is missing")


MAIN_CF = """
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.smg.example
mydestination =
alias_maps =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
relayhost = [127.0.0.1]:{sink_port}
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject
maillog_file_prefixes = {directory}
maillog_file = {directory}/mail.log
message_size_limit = 60000000
smtpd_tls_security_level = may
smtpd_tls_chain_files = {certificate}
smtp_tls_security_level = none
smtpd_client_connection_count_limit = 0
default_process_limit = 200
in_flow_delay = 0s
initial_destination_concurrency = {deliveries}
default_destination_concurrency_limit = {deliveries}
smtp_connection_cache_destinations = [127.0.0.1]
{more}
"""
MASTER_CF = """
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


@contextmanager
def postfix(
    daemons: Services, sink_port: int, *, milters: tuple[Path, ...] = (), name: str = "postfix plain"
) -> Iterator[Server]:
    """Postfix as a relay to the sink; `milters`: sockets of what looks at each message before it is queued."""
    directory, port = _tree(daemons), free_port()
    more = ""
    if milters:
        more = (
            "smtpd_milters = " + ", ".join(f"unix:{milter}" for milter in milters)
            + "\nmilter_default_action = tempfail\nmilter_protocol = 6"
        )  # fmt: skip
    (directory / "etc" / "main.cf").write_text(
        MAIN_CF.format(
            directory=directory, sink_port=sink_port, deliveries=DELIVERIES, more=more,
            certificate=_certificate(directory),
        )
    )  # fmt: skip
    (directory / "etc" / "master.cf").write_text(MASTER_CF.format(port=port))
    process = subprocess.Popen(
        [str(MASTER), "-c", str(directory / "etc"), "-d"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        _wait(port, process, directory / "mail.log")
        yield Server(name, port, {"postfix": process.pid})
    finally:
        process.terminate()
        process.wait()


def _tree(daemons: Services) -> Path:
    """The directories of an instance, with the owners that Postfix insists on."""
    directory = daemons.directory("postfix")
    os.chown(directory, 0, 0)
    directory.chmod(0o755)
    (directory / "etc").mkdir()
    for source in ("dynamicmaps.cf", "postfix-files"):
        shutil.copy(Path("/etc/postfix") / source, directory / "etc" / source)
    (directory / "data").mkdir()
    shutil.chown(directory / "data", "postfix", "postfix")
    queue = directory / "queue"
    queue.mkdir()
    for name in "active bounce corrupt defer deferred flush hold incoming private saved trace".split():
        (queue / name).mkdir(mode=0o700)
        shutil.chown(queue / name, "postfix")
    for name, mode in (("maildrop", 0o730), ("public", 0o710)):
        (queue / name).mkdir()
        (queue / name).chmod(mode)
        shutil.chown(queue / name, "postfix", "postdrop")
    (queue / "pid").mkdir()
    return directory


def _certificate(directory: Path) -> Path:
    """A P-256 certificate, as ours has one."""
    path = directory / "etc" / "tls.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=postfix.smg.example", "-days", "30", "-keyout", f"{path}.key", "-out", f"{path}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(Path(f"{path}.key").read_text() + Path(f"{path}.crt").read_text())
    path.chmod(0o600)
    return path


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    import socket

    for _ in range(200):
        if process.poll() is not None:
            raise SystemExit(f"Postfix ended:\n{log.read_text() if log.exists() else ''}")
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                if connection.recv(100).startswith(b"220"):
                    return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"Postfix does not answer:\n{log.read_text() if log.exists() else ''}")


# ---- milters


def clamav_milter(daemons: Services, clamd: services.Daemon) -> services.Daemon:
    directory = _open_directory(daemons, "clamav-milter")
    config = {
        "Foreground": "yes",
        "MilterSocket": f"unix:{directory}/socket",
        "MilterSocketMode": "666",
        "ClamdSocket": clamd.extra["socket"],
        "OnInfected": "Reject",
        "OnFail": "Defer",
        "MaxFileSize": "60M",
        "LogFile": f"{directory}/milter.log",
    }
    path = directory / "milter.conf"
    path.write_text("".join(f"{key} {value}\n" for key, value in config.items()))
    binary = find_binary("clamav-milter") or "clamav-milter"
    command = [binary, "--config-file", str(path)]
    daemon = daemons.start(
        "clamav-milter", command, directory, ready=lambda _: (directory / "socket").exists()
    )
    daemon.extra["socket"] = f"{directory}/socket"
    return daemon


def _open_directory(daemons: Services, name: str) -> Path:
    """A directory whose sockets Postfix may reach. (TCP between them would cost everybody 40 ms of delayed ACKs.)"""
    directory = daemons.directory(name)
    directory.chmod(0o755)
    return directory


RSPAMD = """
options {{
  pidfile = "{directory}/rspamd.pid";
  dns {{ nameserver = ["{dns}"]; timeout = 1s; retransmits = 1; }}
  local_addrs = [];
}}
.include "$CONFDIR/common.conf"
logging {{ type = "file"; filename = "{directory}/rspamd.log"; level = "error"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{normal}"; count = 2; }}
worker "rspamd_proxy" {{
  bind_socket = "{directory}/socket mode=0666"; milter = yes; timeout = 120s; count = 2;
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
dkim_signing {{
  enabled = true; sign_local = true; sign_networks = "127.0.0.0/8"; allow_hdrfrom_mismatch = true;
  allow_username_mismatch = true; use_esld = false; check_pubkey = false; use_domain = "header";
  path = "{directory}/dkim.key"; selector = "s1"; try_fallback = true;
}}
"""
OFF = (
    "rbl spf arc dmarc fuzzy_check asn hfilter phishing greylist ratelimit history_redis neural replies mx_check"
    " url_redirector reputation"
).split()


def rspamd_milter(daemons: Services, dns: str) -> services.Daemon:
    """Rspamd with its shipped rules and hyperscan, look-ups of the outside world off, signing RSA-2048."""
    directory, normal = _open_directory(daemons, "rspamd"), free_port()
    (directory / "dkim.key").write_bytes(generate_key()[0])
    off = "".join(f"{module} {{ enabled = false; }}\n" for module in OFF)
    config = RSPAMD.format(directory=directory, normal=normal, dns=dns) + off
    (directory / "rspamd.conf").write_text(config)
    command = [find_binary("rspamd") or "rspamd", "-f", "-c", str(directory / "rspamd.conf")]
    command += [f"--var={name}={directory}" for name in ("DBDIR", "RUNDIR", "LOGDIR")]
    daemon = daemons.start("rspamd", command, directory, port=normal)
    daemon.extra["socket"] = f"{directory}/socket"
    daemon.extra["url"] = f"http://127.0.0.1:{normal}"
    return daemon
