"""The limit holds over all processes of the portal, and costs few writes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from pytest_django.fixtures import DjangoAssertNumQueries

from portal.api import throttling
from portal.api.throttling import Throttle
from portal.models import ApiWindow

ASKER: Any = SimpleNamespace(auth=SimpleNamespace(pk=7))
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

# What a web process does: asks until 200 answers are there, and tells how many were allowed.
PROCESS = """
import sys, django
from types import SimpleNamespace
django.setup()
from django.db import connection
from portal.api.throttling import Throttle
from portal.models import ApiWindow
if sys.argv[1] == "prepare":
    with connection.schema_editor() as editor:
        editor.create_model(ApiWindow)
else:
    Throttle.THROTTLE_RATES = {"api": "100/min"}
    asker = SimpleNamespace(auth=SimpleNamespace(pk=7))
    print(sum(Throttle().allow_request(asker, None) for _ in range(200)))
"""


@pytest.fixture
def process(tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    env = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path / 'api.sqlite3'}"}
    env["DJANGO_SETTINGS_MODULE"] = "tests.settings"

    def start(what: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROCESS, what], env=env, stdout=subprocess.PIPE, text=True
        )

    return start


def test_processes_share_the_minute(process: Callable[[str], subprocess.Popen[str]]) -> None:
    assert process("prepare").wait() == 0
    running = [process("ask") for _ in range(2)]
    allowed = [int(one.communicate()[0]) for one in running]
    assert sum(allowed) == 100, allowed


@pytest.fixture
def hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Throttle, "THROTTLE_RATES", {"api": "100/min"})


def ask(_number: int = 0) -> bool:
    return Throttle().allow_request(ASKER, None)  # type: ignore[arg-type]


@pytest.mark.django_db
def test_one_request_in_a_block_writes(
    hundred: None, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    ask()
    with django_assert_max_num_queries(0):
        assert all(ask() for _ in range(4))
    assert ApiWindow.objects.get().used == 5


@pytest.mark.django_db
def test_a_spent_minute_is_not_asked_for_again(
    hundred: None, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    assert sum(ask() for _ in range(150)) == 100
    with django_assert_max_num_queries(0):
        assert not ask()


@pytest.mark.django_db
def test_the_next_minute_is_a_new_one(hundred: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with time_machine.travel(NOW, tick=False):
        assert sum(ask() for _ in range(150)) == 100
    throttling._blocks.clear()  # as another process
    with time_machine.travel(NOW + timedelta(seconds=59), tick=False):
        assert not ask()
    throttling._blocks.clear()
    with time_machine.travel(NOW + timedelta(seconds=61), tick=False):
        assert ask()
    assert ApiWindow.objects.get().started_at == NOW + timedelta(seconds=61)


@pytest.mark.django_db
def test_minutes_that_are_over_are_forgotten(hundred: None) -> None:
    with time_machine.travel(NOW, tick=False):
        ask()
    with time_machine.travel(NOW + timedelta(hours=2), tick=False):
        assert throttling.forget_old() == "1 minutes forgotten"
