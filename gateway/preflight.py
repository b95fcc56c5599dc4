"""What must be so before anything is installed or started: one gateway per directory, free ports, a place to write.

    python3 -m gateway.preflight            says what is in the way, and the setting to change
    python3 -m gateway.preflight --choose   for a first .env: settings for those defaults that other programs hold

`./run` calls it before there is a .venv: only the standard library is used here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from pathlib import Path

from gateway.config import Config, ConfigError, Endpoint, read_env_file

BASE_DIR = Path(__file__).resolve().parent.parent
FARTHEST = 200  # how far from a taken port a free one is looked for


class Obstacle(Exception):
    """The gateway cannot be started now; the text says why and what to do."""


def only_one(var_dir: Path) -> TextIOWrapper:
    """Holds var/up.lock until it is closed; raises Obstacle when another supervisor has it."""
    try:
        var_dir.mkdir(parents=True, exist_ok=True)
        lock = (var_dir / "up.lock").open("a+")
    except OSError as error:
        raise Obstacle(
            f"cannot write to {var_dir} ({error.strerror}): set SMG_VAR_DIR to a directory of yours"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        raise Obstacle(
            f"the gateway is running already (process {lock.read().strip()}, {var_dir})"
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def refuse_taken_ports(config: Config) -> None:
    """Raises Obstacle naming every port that cannot be had, its setting, and a port that is free."""
    complaints = list(_complaints(config))
    if complaints:
        raise Obstacle("\n".join(complaints))


def _complaints(config: Config) -> Iterator[str]:
    for setting, endpoints in wanted(config).items():
        for endpoint in endpoints:
            code = refusal(endpoint)
            if code == errno.EADDRINUSE:
                yield (
                    f"{endpoint} is in use by another program: stop that, or put {setting}="
                    f"{next_free(endpoint)} into .env"
                )
            elif code:
                yield f"{endpoint} cannot be used ({os.strerror(code)}): change {setting} in .env"


def wanted(config: Config) -> dict[str, Iterable[Endpoint]]:
    """Where `manage.py up` listens, by the setting that says so."""
    metrics = config.metrics_listen
    return {
        "SMG_WEB_LISTEN": [config.web_listen],
        "SMG_SMTP_LISTEN": config.smtp_listen,
        "SMG_SMTPS_LISTEN": config.smtps_listen,
        "SMG_METRICS_LISTEN": [metrics] if metrics else [],
        "SMG_DEMO_SINK": [config.demo_sink] if config.demo else [],
    }


def refusal(endpoint: Endpoint) -> int:
    """Why nobody can listen there now (an errno), 0 if it is free."""
    if endpoint.path:
        return 0
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((endpoint.host, endpoint.port))
        except OSError as error:  # gaierror, too: a name that is none
            return error.errno if error.errno and error.errno > 0 else errno.EADDRNOTAVAIL
    return 0


def next_free(endpoint: Endpoint) -> Endpoint:
    """The next port of that address nobody listens on. It is a suggestion: somebody may take it in between."""
    for port in range(endpoint.port + 1, min(endpoint.port + FARTHEST, 65535)):
        other = Endpoint(endpoint.host, port)
        if not refusal(other):
            return other
    raise Obstacle(f"no free port was found near {endpoint}")


def chosen(config: Config) -> Iterator[str]:
    """NAME=host:port for each port of a first start that another program holds, moved to a free one."""
    for setting, endpoints in wanted(config).items():
        for endpoint in endpoints:
            if refusal(endpoint) == errno.EADDRINUSE:
                yield f"{setting}={next_free(endpoint)}"


def settings() -> dict[str, str]:
    """The environment, and below it the .env file."""
    return read_env_file(Path(os.environ.get("SMG_ENV_FILE", BASE_DIR / ".env"))) | os.environ


def main(arguments: list[str]) -> None:
    try:
        if arguments == ["--choose"]:
            for line in chosen(Config.from_env(os.environ | {"SMG_DEMO": "on"}, BASE_DIR)):
                sys.stdout.write(f"{line}\n")
        else:
            config = Config.from_env(settings(), BASE_DIR)
            only_one(config.var_dir).close()
            refuse_taken_ports(config)
    except (Obstacle, ConfigError) as error:
        sys.exit("\n".join(f"run: {line}" for line in str(error).splitlines()))


if __name__ == "__main__":
    main(sys.argv[1:])
