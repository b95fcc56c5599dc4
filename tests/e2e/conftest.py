"""What every browser test watches and uses: complaints of the page, log-in without the form, axe, pictures."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from portal.models import User

BACKEND = "django.contrib.auth.backends.ModelBackend"
SHOTS = os.environ.get("SMG_TEST_SCREENSHOTS", "")
STICKS_OUT = """[...document.querySelectorAll("body *")]
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
    .filter(one => !one.closest(".scroll, .visually-hidden, .skip, pre"))
    .slice(0, 5).map(one => one.outerHTML.slice(0, 120))"""


@pytest.fixture
def quiet(page: Any) -> Iterator[list[str]]:
    """Fails when a page wrote to the console (CSP!), threw, or asked another host."""
    found: list[str] = []
    page.on("console", lambda one: found.append(one.text) if one.type in ("error", "warning") else None)
    page.on("pageerror", lambda one: found.append(str(one)))
    page.on(
        "request",
        lambda one: (
            found.append(one.url)
            if not one.url.startswith(("http://localhost", "http://127.0.0.1", "data:"))
            else None
        ),
    )
    yield found
    assert found == []


@pytest.fixture
def log_in(page: Any, live_server: Any) -> Callable[[User], None]:
    """log_in(user): the browser has that person's session."""

    def enter(user: User) -> None:
        client = Client()
        client.force_login(user, backend=BACKEND)
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        page.context.add_cookies(
            [{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}]
        )

    return enter


def run_elsewhere(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """asyncio.run in another thread: Playwright keeps a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def axe_problems(page: Any) -> list[str]:
    """What axe finds on the page as it is, one line each."""
    from axe_playwright_python.base import AXE_SCRIPT

    page.evaluate(AXE_SCRIPT)
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then(all => all.violations)")
    return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


def picture(page: Any, name: str) -> None:
    """Keep what the page looks like when SMG_TEST_SCREENSHOTS names a directory."""
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)
