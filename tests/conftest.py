"""Fixtures for everybody: the real daemons (started when first asked for, ended with the session) and the browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import services as real
from tests.services import Daemon, Services

pytest_plugins = ["tests.conftest_dns"]

# A deadline per example would measure the other tests on the machine.
hypothesis.settings.register_profile("smg", deadline=None, print_blob=True)
hypothesis.settings.load_profile("smg")

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SERVICE_FIXTURES = {
    "clamd", "clamd_endpoint", "start_clamd", "rspamd", "rspamd_url", "spamd", "spamd_endpoint", "postgres",
    "postgres_url", "start_postgres", "start_rbldnsd", "start_nsd", "start_unbound", "start_smtp_sink",
}  # fmt: skip
BROWSER_FIXTURES = {"page", "context", "browser"}
DATABASE_FIXTURES = {
    "db",
    "transactional_db",
    "django_db_reset_sequences",
    "live_server",
    "client",
    "admin_client",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        if names & SERVICE_FIXTURES:
            item.add_marker(pytest.mark.services)
        if names & DATABASE_FIXTURES or item.get_closest_marker("django_db"):
            item.add_marker(pytest.mark.database)
        if names & BROWSER_FIXTURES:
            item.add_marker(pytest.mark.e2e)
            if not CHROMIUM:
                item.add_marker(_without_chromium())
    # Playwright leaves a running loop in the main thread: asyncio tests after it would fail, so it comes last.
    items.sort(key=lambda item: item.get_closest_marker("e2e") is not None)


def _without_chromium() -> pytest.MarkDecorator:
    if real.REQUIRED:
        return pytest.mark.usefixtures("_no_chromium")
    return pytest.mark.skip(reason="chromium is not installed (Debian package chromium)")


@pytest.fixture
def _no_chromium() -> None:
    pytest.fail("chromium is not installed, and SMG_TEST_SERVICES=required", pytrace=False)


try:
    import pytest_playwright  # noqa: F401
except ImportError:

    @pytest.fixture
    def page() -> None:
        """Stands in for pytest-playwright's fixture where requirements-e2e.txt is not installed."""
        if real.REQUIRED:
            pytest.fail(
                "requirements-e2e.txt is not installed, and SMG_TEST_SERVICES=required", pytrace=False
            )
        pytest.skip("browser tests need requirements-e2e.txt")


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    quiet = [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ]  # fmt: skip
    return {"executable_path": CHROMIUM, "headless": True, "args": quiet}


@pytest.fixture(scope="session")
def browser_context_args() -> dict[str, Any]:
    return {
        "viewport": {"width": 1280, "height": 800},
        "locale": "en-GB",
        "timezone_id": "Europe/Berlin",
        "reduced_motion": "reduce",
    }


# ------------------------------------------------------------------------------------------------- real daemons


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    with real.running() as started:
        yield started


@pytest.fixture(scope="session")
def clamd(services: Services) -> Daemon:
    """clamd that knows EICAR; shared, so do not stop it (see start_clamd)."""
    return real.start_clamd(services)


@pytest.fixture(scope="session")
def clamd_endpoint(clamd: Daemon) -> str:
    """As SMG_CLAMD wants it: 'tcp:127.0.0.1:port'."""
    return f"tcp:{clamd.endpoint}"


@pytest.fixture(scope="session")
def rspamd(services: Services) -> Daemon:
    return real.start_rspamd(services)


@pytest.fixture(scope="session")
def rspamd_url(rspamd: Daemon) -> str:
    return rspamd.extra["url"]


@pytest.fixture(scope="session")
def spamd(services: Services) -> Daemon:
    return real.start_spamd(services)


@pytest.fixture(scope="session")
def spamd_endpoint(spamd: Daemon) -> str:
    return spamd.endpoint


@pytest.fixture(scope="session")
def postgres(services: Services) -> Daemon:
    return real.start_postgres(services)


@pytest.fixture(scope="session")
def postgres_url(postgres: Daemon) -> str:
    """DATABASE_URL of a shared cluster; a test that needs its own schema makes its own database in it."""
    return postgres.extra["url"]


def _stopping(start: Callable[..., Daemon], services: Services) -> Iterator[Callable[..., Daemon]]:
    """A starter whose daemons end with the test."""
    started: list[Daemon] = []

    def starter(*args: Any, **options: Any) -> Daemon:
        started.append(start(services, *args, **options))
        return started[-1]

    yield starter
    for daemon in reversed(started):
        daemon.stop()


@pytest.fixture
def start_clamd(services: Services) -> Iterator[Callable[[], Daemon]]:
    """start_clamd() -> a clamd of the test's own, which may be stopped."""
    yield from _stopping(real.start_clamd, services)


@pytest.fixture
def start_postgres(services: Services) -> Iterator[Callable[[], Daemon]]:
    """start_postgres() -> a cluster of the test's own, which may be killed."""
    yield from _stopping(real.start_postgres, services)


@pytest.fixture
def start_rbldnsd(services: Services) -> Iterator[Callable[[Mapping[str, tuple[str, str]]], Daemon]]:
    """start_rbldnsd({"dnsbl.example": ("ip4set", ":2:listed\\n127.0.0.2\\n")}).endpoint"""
    yield from _stopping(real.start_rbldnsd, services)


@pytest.fixture
def start_nsd(services: Services) -> Iterator[Callable[[Mapping[str, str]], Daemon]]:
    """start_nsd({"acme.example": zone file text}).endpoint"""
    yield from _stopping(real.start_nsd, services)


@pytest.fixture
def start_unbound(services: Services) -> Iterator[Callable[..., Daemon]]:
    """start_unbound({"dnsbl.example": rbl.endpoint}, local_data=["a.example. A 192.0.2.1"]).endpoint"""
    yield from _stopping(real.start_unbound, services)


@pytest.fixture
def start_smtp_sink(services: Services) -> Iterator[Callable[[Sequence[str]], Daemon]]:
    """start_smtp_sink(["-c"]).endpoint; its mails are files in extra["mails"]."""
    yield from _stopping(real.start_smtp_sink, services)


@pytest.fixture(scope="session")
def shared_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One temporary directory for all processes (xdist workers) of this run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def root_dir() -> Path:
    """The project's directory."""
    return Path(__file__).resolve().parent.parent
