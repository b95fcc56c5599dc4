"""What the documents say about the tree is true, and the tree keeps the style that the project asked for."""

from __future__ import annotations

import ast
import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parent.parent
APPS = ("gateway", "blacklist", "portal")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
STEPS = ["accept", "check", "queue", "route", "sign", "deliver", "report"]


def sources() -> Iterator[Path]:
    """Every module of ours, migrations left out."""
    for app in APPS:
        yield from (path for path in sorted((ROOT / app).rglob("*.py")) if "migrations" not in path.parts)


# ------------------------------------------------------------------------------------------------- the way


def test_the_package_names_the_steps() -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / "gateway" / "__init__.py").read_text())) or ""
    assert re.findall(r"^(\w+) {2,}\S", docstring, re.MULTILINE) == STEPS


def test_every_step_has_its_file() -> None:
    missing = [step for step in STEPS if not (ROOT / "gateway" / f"{step}.py").exists()]
    assert missing == []


def test_the_architecture_page_names_the_same_steps() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| \*{0,2}`?(\w+)`?\*{0,2} \| `(?:gateway/)?(\w+)\.py`", text, re.MULTILINE)
    assert [row for row in rows if row[0] in STEPS] == [(step, step) for step in STEPS]


def test_the_contents_page_uses_the_steps() -> None:
    tree = ast.parse((ROOT / "gateway" / "pipeline.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {f"gateway.{step}" for step in STEPS if step != "accept"} <= imported
    ways = {node.name: node for node in tree.body if isinstance(node, ast.AsyncFunctionDef)}
    for name in ("receive", "send"):
        length = (ways[name].end_lineno or 0) - ways[name].lineno + 1
        assert length <= 20, f"{name} is a contents page, not a chapter"


# ------------------------------------------------------------------------------------------------- settings


def settings_read() -> set[str]:
    """Names of environment variables that the code reads."""
    reads = r"(?:SMG_[A-Z_]+|DATABASE_URL|SECRET_KEY|DEBUG|ALLOWED_HOSTS|CSRF_TRUSTED_ORIGINS)"
    calls = re.compile(rf"""(?:read\.\w+|env\.\w+|environ\.get|getenv|environ)[(\[]\s*["']({reads})["']""")
    return {name for path in sources() for name in calls.findall(path.read_text("utf-8"))}


def settings_documented() -> set[str]:
    section = OPERATIONS.split("\n## Settings")[1].split("\n## ")[0]
    first_cells = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    return {name for cell in first_cells for name in re.findall(r"`([A-Z_]+)`", cell)}


def test_every_setting_is_documented_and_every_documented_one_is_read() -> None:
    assert settings_documented() == settings_read()


def test_the_example_environment_uses_known_names() -> None:
    text = (ROOT / "deploy" / "systemd" / "smg.env.example").read_text()
    names = {line.split("=", 1)[0] for line in text.splitlines() if line and not line.startswith("#")}
    assert names <= settings_documented()


# ------------------------------------------------------------------------------------------------- commands


def commands_documented() -> set[str]:
    section = OPERATIONS.split("\n## Commands")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    ours = {name for name, app in get_commands().items() if app in APPS}
    assert commands_documented() == ours


def test_commands_named_in_prose_exist() -> None:
    known = set(get_commands())
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        named = set(re.findall(r"manage\.py (\w+)", path.read_text("utf-8"))) - {"NAME"}
        assert named <= known, f"{path.name} names {sorted(named - known)}"


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{path.name} -> {target}"
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
        if "://" not in target
        and target[0] != "/"
        and not (path.parent / target).exists()  # /: the portal's pages
    ]
    assert broken == []


# ------------------------------------------------------------------------------------------------- watching


def alerts() -> list[dict[str, str]]:
    rules = yaml.safe_load((ROOT / "deploy" / "monitoring" / "alerts.yml").read_text())
    return [rule for group in rules["groups"] for rule in group["rules"]]


def test_every_alert_has_a_section_in_the_runbook() -> None:
    section = OPERATIONS.split("\n## Runbook")[1]
    assert re.findall(r"^### (\w+)$", section, re.MULTILINE) == [alert["alert"] for alert in alerts()]


def metrics_used() -> set[str]:
    dashboard = json.loads((ROOT / "deploy" / "monitoring" / "grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    expressions += [alert["expr"] for alert in alerts()]
    return {name.removesuffix("_bucket") for text in expressions for name in re.findall(r"\bsmg_\w+", text)}


def test_dashboard_and_alerts_use_metrics_that_exist() -> None:
    code = "\n".join(path.read_text("utf-8") for path in sources())
    # prometheus_client adds _total to a counter's name by itself
    unknown = {
        name for name in metrics_used() if name not in code and name.removesuffix("_total") not in code
    }
    assert unknown == set()


# ------------------------------------------------------------------------------------------------- style


def lengths() -> list[tuple[int, str]]:
    """Lines of every function, docstring left out, with its place."""
    return [
        (_lines(node), f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    return (node.end_lineno or 0) - body[0].lineno + 2 if body else 1


def test_functions_are_small() -> None:
    found = [length for length, _ in lengths()]
    assert statistics.median(found) <= 8
    assert sorted(found)[int(len(found) * 0.9)] <= 30


def test_no_function_is_long() -> None:
    assert [f"{length} lines: {place}" for length, place in lengths() if length > 50] == []


def test_no_file_is_long() -> None:
    long = {path: len(path.read_text("utf-8").splitlines()) for path in sources()}
    assert [f"{count} lines: {path.relative_to(ROOT)}" for path, count in long.items() if count > 500] == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-e2e.txt"])
def test_requirements_are_pinned(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    loose = [line for line in lines if not re.fullmatch(r"-r [\w.-]+|[\w.-]+(\[[\w,]+\])?==[\w.]+", line)]
    assert loose == []
