"""The files in deploy/ fit the project: commands exist, paths exist, every part is stopped as it must be."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands

from gateway.metrics import COUNTERS, HISTOGRAMS

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("smg-*.service"))
PARTS = [unit for unit in UNITS if unit.stem != "smg-backup"]


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path)
    return parser


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_sigterm_goes_to_the_leader_alone(path: Path) -> None:
    service = unit(path)["Service"]
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) > 15
    assert service["Restart"] == "always"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_nobody_runs_as_root(path: Path) -> None:
    service = unit(path)["Service"]
    assert service["User"] == "smg"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_what_units_start_exists(path: Path) -> None:
    words = unit(path)["Service"]["ExecStart"].split()
    if "manage.py" in words:
        assert words[words.index("manage.py") + 1] in get_commands()
    elif words[0].startswith("/opt/smg/deploy"):
        assert (ROOT / words[0].removeprefix("/opt/smg/")).exists()
    else:
        assert words[:3] == ["/opt/smg/.venv/bin/gunicorn", "portal.wsgi", "--no-control-socket"]


def test_the_target_wants_every_part() -> None:
    wanted = unit(DEPLOY / "systemd" / "smg.target")["Unit"]["Wants"].split()
    assert {path.name for path in PARTS} | {"smg-backup.timer"} == set(wanted)


def test_systemd_understands_the_units() -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed (Debian package systemd)")
    files = sorted(str(path) for path in (DEPLOY / "systemd").glob("smg*.[st]*") if path.suffix != ".example")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, timeout=60
    )
    complaints = [line for line in done.stderr.splitlines() if "smg" in line and "not executable" not in line]
    assert complaints == []


def test_the_image_copies_what_is_there() -> None:
    text = (DEPLOY / "container" / "Containerfile").read_text()
    copies = re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE)
    assert len(copies) > 5
    assert [name for name in copies if not (ROOT / name).exists()] == []


def commands_of(containers: list[dict[str, list[str]]], key: str) -> list[str]:
    """The management commands among the first arguments (gunicorn's is portal.wsgi)."""
    return [one[key][0] for one in containers if key in one and one[key][0] != "portal.wsgi"]


def test_the_compose_file_starts_known_commands() -> None:
    services = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text())["services"]
    assert {"web", "relay", "scheduler", "migrate", "database", "clamd"} == set(services)
    assert set(commands_of(list(services.values()), "command")) <= set(get_commands())


def test_the_kubernetes_example_starts_known_commands_and_probes() -> None:
    objects = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "smg.yaml").read_text()))
    containers = [
        container
        for one in objects
        if one["kind"] in {"Deployment", "DaemonSet", "Job"}
        for container in one["spec"]["template"]["spec"]["containers"]
    ]
    assert set(commands_of(containers, "args")) <= set(get_commands())
    probed = {container["name"] for container in containers if "livenessProbe" in container}
    assert probed == {"web", "relay"}


def test_the_kubernetes_probes_of_the_relay_tell_the_truth() -> None:
    """The SMTP ports are the parent's: they are open while all relay processes hang."""
    objects = yaml.safe_load_all((DEPLOY / "kubernetes" / "smg.yaml").read_text())
    (relay,) = next(one for one in objects if one["kind"] == "DaemonSet")["spec"]["template"]["spec"][
        "containers"
    ]
    probes = {name: relay[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    ports = {port["name"]: port["containerPort"] for port in relay["ports"]}
    listen = next(one["value"] for one in relay["env"] if one["name"] == "SMG_METRICS_LISTEN")
    assert {probe["port"] for probe in probes.values()} == {"metrics"}
    assert listen.endswith(f":{ports['metrics']}")


def test_prometheus_understands_the_rules() -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian package prometheus)")
    subprocess.run(["promtool", "check", "rules", str(DEPLOY / "monitoring" / "alerts.yml")], check=True)


def test_the_arithmetic_of_the_alerts(tmp_path: Path) -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian package prometheus)")
    cases = (Path(__file__).parent / "alerts_test.yml").read_text()
    (tmp_path / "cases.yml").write_text(cases.replace("ALERTS", str(DEPLOY / "monitoring" / "alerts.yml")))
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "cases.yml")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboard_and_alerts_name_metrics_that_exist() -> None:
    code = "".join(
        path.read_text() for app in ("gateway", "blacklist") for path in (ROOT / app).rglob("*.py")
    )
    exported = set(re.findall(r'Gauge\(\s*"(smg_\w+)"', code)) | {"smg_connections_total"}
    exported |= {f"{name}_total" for name in COUNTERS}
    exported |= {f"{name}_{end}" for name in HISTOGRAMS for end in ("bucket", "sum", "count")}
    files = [DEPLOY / "monitoring" / name for name in ("alerts.yml", "grafana-dashboard.json")]
    named = {name for path in files for name in re.findall(r"\bsmg_\w+", path.read_text())}
    assert len(named) > 15
    assert named - exported == set()
