"""./run without a network: what is installed stays, keys are made once, arguments reach their command."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.config import read_env_file
from gateway.preflight import only_one
from tests.services import free_port

REQUIREMENTS = ("requirements.txt", "requirements-dev.txt", "requirements-e2e.txt")


class Copy:
    """A directory with ./run, the requirement files, a stand-in for manage.py and what looks installed."""

    def __init__(self, root: Path, path: Path) -> None:
        self.path = path
        self.web, self.smtp, self.sink = free_port(), free_port(), free_port()
        for name in ("run", *REQUIREMENTS):
            shutil.copy(root / name, path / name)
        shutil.copytree(root / "gateway" / "rules", path / "gateway" / "rules")
        for name in ("__init__.py", "config.py", "preflight.py"):
            shutil.copy(root / "gateway" / name, path / "gateway" / name)
        (path / "manage.py").write_text("import sys; print('manage', *sys.argv[1:])\n")
        (path / ".venv" / "bin").mkdir(parents=True)
        # a wrapper, not a link: python would look for its own environment beside a link
        python = path / ".venv" / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        self.stamp("runtime", *REQUIREMENTS[:1])
        self.stamp("dev", *REQUIREMENTS[:2])
        self.stamp("e2e", *REQUIREMENTS)

    def stamp(self, name: str, *files: str) -> None:
        content = b"".join((self.path / file).read_bytes() for file in files)
        sum_ = subprocess.run(["cksum"], input=content, capture_output=True, check=True).stdout
        (self.path / ".venv" / f"stamp-{name}").write_bytes(sum_)

    def run(self, *arguments: str, shell: str = "sh", **env: str) -> subprocess.CompletedProcess[str]:
        clean = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "SMG_WEB_LISTEN": f"127.0.0.1:{self.web}",
            "SMG_SMTP_LISTEN": f"127.0.0.1:{self.smtp}",
            "SMG_DEMO_SINK": f"127.0.0.1:{self.sink}",
        }
        return subprocess.run(
            [shell, "./run", *arguments],
            cwd=self.path,
            env=clean | env,
            text=True,
            capture_output=True,
            timeout=60,
        )


@contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


@pytest.fixture
def copy(tmp_path: Path, root_dir: Path) -> Copy:
    return Copy(root_dir, tmp_path)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_no_argument_starts_everything(copy: Copy, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    done = copy.run(shell=shell)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "manage up --setup"


def test_arguments_reach_the_command(copy: Copy) -> None:
    assert copy.run("manage", "queue", "hold", "--reason", "two words").stdout.endswith(
        "manage queue hold --reason two words\n"
    )
    done = copy.run("test", "--version")
    assert "pytest" in done.stdout + done.stderr


def test_keys_are_made_once_and_for_the_owner_alone(copy: Copy) -> None:
    assert "Writing .env" in copy.run().stdout
    env = copy.path / ".env"
    first = env.read_text()
    assert env.stat().st_mode & 0o077 == 0
    values = dict(line.split("=", 1) for line in first.splitlines())
    assert len(values["SECRET_KEY"]) > 60
    assert len(values["SMG_FIELD_KEYS"]) == 44
    assert values["SMG_DEMO"] == "on"
    assert "Writing" not in copy.run().stdout
    assert env.read_text() == first


def test_a_configured_environment_needs_no_file(copy: Copy) -> None:
    copy.run(SECRET_KEY="set by the operator")
    assert not (copy.path / ".env").exists()


def test_a_changed_requirement_installs_again(copy: Copy) -> None:
    (copy.path / "requirements.txt").write_text("no-such-package-for-sure==0\n")
    done = copy.run(PIP_NO_INDEX="1")
    assert done.returncode == 1
    assert "Installing requirements.txt" in done.stdout
    assert "manage up" not in done.stdout
    assert "installing requirements.txt failed" in done.stderr


def test_a_first_start_takes_free_ports(copy: Copy) -> None:
    with listening(copy.web):
        done = copy.run()
    assert done.returncode == 1, "the environment wins over the .env that was made"
    assert "Taking instead:" in done.stdout
    values = read_env_file(copy.path / ".env")
    assert values["SMG_WEB_LISTEN"].startswith("127.0.0.1:")
    assert values["SMG_WEB_LISTEN"] != f"127.0.0.1:{copy.web}"
    assert "SMG_SMTP_LISTEN" not in values


def test_a_taken_port_is_said_before_anything_is_installed(copy: Copy) -> None:
    shutil.rmtree(copy.path / ".venv")
    with listening(copy.smtp):
        done = copy.run(SECRET_KEY="set by the operator", SMG_DEMO="on")
    assert done.returncode == 1
    assert f"127.0.0.1:{copy.smtp} is in use by another program" in done.stderr
    assert "put SMG_SMTP_LISTEN=127.0.0.1:" in done.stderr
    assert not (copy.path / ".venv").exists()


def test_a_running_one_is_named(copy: Copy) -> None:
    with only_one(copy.path / "var"), listening(copy.web):
        done = copy.run(SECRET_KEY="set by the operator")
    assert done.returncode == 1
    assert f"running already (process {os.getpid()}," in done.stderr
    assert "another program" not in done.stderr


def test_a_directory_of_somebody_else_is_not_touched(root_dir: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        shutil.copy(root_dir / "run", name)
        Path(name).chmod(0o555)
        nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            ["sh", "./run"],
            cwd=name,
            env={"PATH": os.environ["PATH"]},
            text=True,
            capture_output=True,
            timeout=60,
            **nobody,
        )
        Path(name).chmod(0o755)
    assert done.returncode == 1
    assert f"cannot write to {name}" in done.stderr


def test_help_and_nonsense(copy: Copy) -> None:
    assert copy.run("help").stdout.startswith("./run ")
    done = copy.run("nonsense")
    assert done.returncode == 2
    assert "./run test" in done.stderr


def test_without_a_recent_python_it_says_what_to_do(copy: Copy, tmp_path: Path) -> None:
    shutil.rmtree(copy.path / ".venv")
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "dirname", "sed", "cat", "cksum", "rm"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    done = copy.run(shell=str(tools / "sh"), PATH=str(tools))
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
