"""Who may import whom, and who may touch the database: the layers that docs/architecture.md draws, enforced.

Imports run one way: portal -> blacklist -> gateway, and inside gateway relay -> accept -> pipeline -> steps -> rules.
The tables below are the rules; an exception needs a line with its reason, and the list has to stay short.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ("gateway", "blacklist", "portal")
BELOW = {"gateway": set(), "blacklist": {"gateway"}, "portal": {"gateway", "blacklist"}}

STEPS = ("accept", "check", "queue", "route", "sign", "deliver", "report")
PLACES_ABOVE_STEPS = {"relay", "pipeline"}  # the assembly and the contents page

# Modules of an app that the web may use, besides its models, control and rules.
DOORS = ("models", "control", "rules")
DOOR_EXCEPTIONS = {
    "gateway.config": "typed settings, read once",
    "gateway.admin": "the admin's shared base classes",
    "gateway.codes": "what SMTP replies mean, in words",
    "gateway.explain": "the dry run behind 'Explain'",
    "gateway.spam.symbols": "what the symbols of a score mean, in words",
    "gateway.tls.preflight": "the TLS test before a rule is saved",
    "gateway.crypto": "encryption at rest and keyed hashes, one implementation for tokens and webhook secrets",
}
# Modules of gateway that may touch the ORM or a cursor; everything else goes db -> store.
ORM_PLACES = {
    "store",
    "rows",
    "db",
    "snapshot",
    "control",
    "models",
    "migrations",
    "management",
    "apps",
    "admin",
}
ORM_MODULES = ("django.db", "gateway.models", "django.contrib")
ORM_EXCEPTIONS: dict[str, str] = {
    "gateway.demo_dns": "the demo publishes the records of what is in the database"
}


@dataclass(frozen=True)
class Import:
    """One import statement: `module` uses `target` (with `name` for `from target import name`) in `line`."""

    module: str
    target: str
    line: int
    type_checking: bool

    def __str__(self) -> str:
        return f"{self.module.replace('.', '/')}.py:{self.line} imports {self.target}"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Every module of the three apps."""
    return {module_name(path): path for app in APPS for path in sorted((ROOT / app).rglob("*.py"))}


@cache
def imports() -> tuple[Import, ...]:
    return tuple(
        found for name, path in modules().items() for found in imports_of(name, path.read_text("utf-8"))
    )


def imports_of(module: str, source: str) -> Iterator[Import]:
    tree = ast.parse(source)
    guarded = set(_type_checking_nodes(tree))
    for node in ast.walk(tree):
        for target in _targets(node, module):
            yield Import(module, target, node.lineno, node in guarded)  # type: ignore[attr-defined]


def _targets(node: ast.AST, module: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        assert node.level == 0, f"{module}:{node.lineno}: write imports out in full"
        return [_most_exact(base, alias.name) for alias in node.names]
    return []


def _most_exact(base: str, name: str) -> str:
    """`from gateway import store` means the module gateway.store, `from gateway.store import X` gateway.store."""
    return f"{base}.{name}" if f"{base}.{name}" in modules() else base


def _type_checking_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (child for statement in node.body for child in ast.walk(statement))


def within(module: str, places: tuple[str, ...] | set[str]) -> bool:
    """Is `module` one of `places` or inside one?"""
    return any(module == place or module.startswith(place + ".") for place in places)


def app_of(module: str) -> str:
    return module.split(".", 1)[0]


def part_of(module: str) -> str:
    """The second name: 'check' of gateway.check.virus."""
    return [*module.split("."), ""][1]


def report(broken: list[Import], rule: str) -> None:
    assert not broken, rule + "\n" + "\n".join(map(str, broken))


# ------------------------------------------------------------------------------------------------- the layers


def test_apps_import_downwards_only() -> None:
    broken = [
        found
        for found in imports()
        if app_of(found.target) in APPS
        and app_of(found.target) != app_of(found.module)
        and app_of(found.target) not in BELOW[app_of(found.module)]
    ]
    report(broken, "portal -> blacklist -> gateway, never back:")


def test_the_web_uses_the_doors_only() -> None:
    """portal sees an app below only through its models, control and rules, plus the named exceptions."""
    allowed = {f"{app}.{door}" for app in ("gateway", "blacklist") for door in DOORS} | set(DOOR_EXCEPTIONS)
    broken = [
        found
        for found in imports()
        if app_of(found.module) == "portal"
        and "management" not in found.module
        and app_of(found.target) in {"gateway", "blacklist"}
        and not within(found.target, allowed)
    ]
    report(
        broken, "the web sees only models, control and rules of the apps below (or add a reasoned exception):"
    )


def test_the_exceptions_are_needed_and_few() -> None:
    used = {found.target for found in imports() if app_of(found.module) == "portal"}
    stale = [name for name in DOOR_EXCEPTIONS if not any(within(target, {name}) for target in used)]
    assert not stale, f"nobody needs these exceptions any more: {stale}"
    assert len(DOOR_EXCEPTIONS) <= 12


# ------------------------------------------------------------------------------------------------- inside gateway


def test_a_step_never_imports_another_step() -> None:
    broken = [
        found
        for found in imports()
        if app_of(found.module) == "gateway"
        and app_of(found.target) == "gateway"
        and part_of(found.module) in STEPS
        and part_of(found.target) in STEPS
        and part_of(found.module) != part_of(found.target)
    ]
    report(broken, "a step never imports another step; pipeline.py joins them:")


def test_only_the_relay_assembles() -> None:
    """relay -> accept -> pipeline -> steps: nobody below imports something above (the gatekeeper is accept's hand)."""
    above = {"gateway.relay", "gateway.pipeline"}
    allowed = {"relay", "relay_master", "pipeline", "gatekeeper", "management"}
    broken = [
        found
        for found in imports()
        if within(found.target, above) and part_of(found.module) not in allowed and not found.type_checking
    ]
    report(broken, "only the relay, the gatekeeper and commands use the pipeline:")


def test_rules_use_the_standard_library_alone() -> None:
    forbidden = {"asyncio", "socket", "ssl", "subprocess", "threading", "time", "secrets", "os"}
    broken = []
    for found in imports():
        if part_of(found.module) != "rules":
            continue
        top = app_of(found.target)
        if found.target.startswith(f"{app_of(found.module)}.rules") or found.target.startswith(
            "gateway.rules"
        ):
            continue
        if top in forbidden or top not in sys.stdlib_module_names:
            broken.append(found)
    report(broken, "rules are pure: the standard library alone, no clock, no sockets, no processes:")


def test_rules_do_not_read_the_clock() -> None:
    """`now` is a parameter: no datetime.now(), utcnow(), today() in rules."""
    calls = {"now", "utcnow", "today"}
    broken = [
        f"{name}:{node.lineno}"
        for name, path in modules().items()
        if part_of(name) == "rules"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in calls
    ]
    assert not broken, f"rules never ask for the time: {broken}"


def test_the_database_has_few_doors() -> None:
    broken = [
        found
        for found in imports()
        if app_of(found.module) == "gateway"
        and within(found.target, ORM_MODULES)
        and part_of(found.module) not in ORM_PLACES
        and found.module not in ORM_EXCEPTIONS
        and not found.type_checking
    ]
    report(broken, "in gateway only store, db, snapshot, control, models and commands touch the ORM:")


# ------------------------------------------------------------------------------------------------- the walker itself


@pytest.mark.parametrize(
    ("source", "targets"),
    [
        ("import gateway.config", ["gateway.config"]),
        ("from gateway import config", ["gateway.config"]),
        ("from gateway.config import Config, ConfigError", ["gateway.config", "gateway.config"]),
        ("def f():\n    import socket", ["socket"]),
        ("x = 'import os'", []),
    ],
)
def test_the_walker_sees(source: str, targets: list[str]) -> None:
    assert [found.target for found in imports_of("gateway.x", source)] == targets


def test_the_walker_knows_type_checking() -> None:
    source = "import gateway.store\nif TYPE_CHECKING:\n    import gateway.relay\n"
    found = {each.target: each.type_checking for each in imports_of("gateway.x", source)}
    assert found == {"gateway.store": False, "gateway.relay": True}
