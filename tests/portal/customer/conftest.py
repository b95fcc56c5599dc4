"""The cast at their browsers, and a DNS that is answered from memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from gateway.control import domain_checks
from gateway.dns import Resolver, StaticZone
from portal.models import User
from tests.factories import Cast, make_cast

BACKEND = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture
def browser_of() -> Callable[[User | None], Client]:
    """browser_of(cast.alice) -> a test client that is logged in; of None -> nobody."""

    def browser(user: User | None) -> Client:
        client = Client()
        if user is not None:
            client.force_login(user, backend=BACKEND)
        return client

    return browser


@pytest.fixture
def alice(cast: Cast, browser_of: Callable[[User | None], Client]) -> Client:
    return browser_of(cast.alice)


class WholeWorld(StaticZone):
    """Every name there is: what the test does not name exists without records."""

    def __contains__(self, name: str) -> bool:
        return True

    def answer(self, name: str, rdtype: str) -> Any:
        return super().answer(name if super().__contains__(name) else "nothing.invalid", rdtype)


@pytest.fixture
def public_dns(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, list[str]]]:
    """Fill it with {'acme.example': {'TXT': ['"v=spf1 -all"']}}; nothing is ever asked outside."""
    names: dict[str, dict[str, list[str]]] = {"nothing.invalid": {}}
    monkeypatch.setattr(domain_checks, "make_resolver", lambda: Resolver((), static=WholeWorld(names)))
    return names


@pytest.fixture(autouse=True)
def _fresh_cache() -> None:
    """What one test left in the cache is not the next one's."""
    cache.clear()
