"""Haraka (Node.js) as a peer: clamd, the same Rspamd over HTTP, DKIM, its queue on the same disk as ours.

It comes from the npm registry into a scratch directory (or is there already: HARAKA_MODULES names a node_modules). One
process per core, deliveries to the next hop over kept connections. It does not fsync its queue: its 250 is not durable.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers import DELIVERIES, Server
from gateway.sign import generate_key
from tests import services
from tests.services import Services, free_port

VERSION = "3.3.4"
PLUGINS = ("tls", "relay", "clamd", "rspamd", "dkim", "next_hop")
CONFIG = {
    "smtp.ini": "listen=127.0.0.1:{port}\nnodes=cpus\n",
    "me": "haraka.smg.example\n",
    "loglevel": "ERROR\n",
    "plugins": "\n".join(PLUGINS) + "\n",
    "relay_acl_allow": "127.0.0.0/8\n",
    "connection.ini": (  # a file replaces the whole of its default; lines, parts and hops as there
        "[main]\n[haproxy]\n[headers]\nmax_lines=1000\nmax_received=100\n[max]\nbytes=60000000\nmime_parts=1000\n"
        "line_length=512\ndata_line_length=992\n[message]\n[uuid]\nbanner_chars=6\ndeny_chars=0\n"
    ),
    "outbound.ini": "local_mx_ok=true\nenable_tls=false\nconcurrency_max={deliveries}\n",
    "clamd.ini": "clamd_socket={clamd}\nmax_size=60000000\n[reject]\nerror=true\n",
    "rspamd.ini": (
        "host={rspamd_host}\nport={rspamd_port}\n[check]\nrelay=true\nlocal_ip=true\nprivate_ip=true\n[dkim]\nenabled=false\n"
    ),
    "dkim.ini": "[sign]\nenabled=true\nselector=s1\ndomain=acme.example\n[verify]\nenabled=false\n",
}
NEXT_HOP = """exports.hook_get_mx = (next, hmail, domain) =>
    next(OK, [{{ priority: 0, exchange: "127.0.0.1", port: {sink_port} }}]);
"""


def unavailable() -> str:
    return "" if shutil.which("node") and shutil.which("npm") else "node or npm is missing"


@contextmanager
def haraka(
    daemons: Services, sink_port: int, clamd: services.Daemon, rspamd: services.Daemon
) -> Iterator[Server]:
    """Haraka as a relay to the sink."""
    directory, port = daemons.directory("haraka"), free_port()
    modules = _modules(directory)
    _configure(
        directory,
        port=port,
        sink_port=sink_port,
        deliveries=DELIVERIES,
        clamd=clamd.extra["socket"].removeprefix("unix:"),
        rspamd_host="127.0.0.1",
        rspamd_port=rspamd.port,
    )
    command = ["node", str(modules / "Haraka" / "bin" / "haraka"), "-c", str(directory)]
    daemon = daemons.start("haraka", command, directory, port=port)
    try:
        parts = {"haraka": daemon.process.pid, "rspamd": rspamd.process.pid, "clamd": clamd.process.pid}
        yield Server("haraka", port, parts)
    finally:
        daemon.stop()


def _modules(directory: Path) -> Path:
    if given := os.environ.get("HARAKA_MODULES"):
        return Path(given)
    # Its optional native parts (syslog) are not used, so that no compiler is needed.
    command = ["npm", "install", "--prefix", str(directory), "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run([*command, f"Haraka@{VERSION}"], check=True, stdout=subprocess.DEVNULL)
    return directory / "node_modules"


def _configure(directory: Path, **values: object) -> None:
    (directory / "plugins").mkdir()
    (directory / "plugins" / "next_hop.js").write_text(NEXT_HOP.format(**values))
    (directory / "queue").mkdir()
    keys = directory / "config" / "dkim" / "acme.example"
    keys.mkdir(parents=True)
    for name, text in CONFIG.items():
        (directory / "config" / name).write_text(text.format(**values))
    _certificate(directory / "config")
    (keys / "private").write_bytes(generate_key()[0])
    (keys / "selector").write_text("s1")
    for path in directory.rglob("*"):
        if "node_modules" not in path.parts:
            Services.give_away(path)


def _certificate(directory: Path) -> None:
    """P-256, as the others have one."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=haraka.smg.example", "-days", "30", "-keyout", str(directory / "tls_key.pem"),
         "-out", str(directory / "tls_cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
