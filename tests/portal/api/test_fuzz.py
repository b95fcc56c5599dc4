"""Schemathesis over the whole document: no request makes a 500, and every answer is what the document says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, settings
from rest_framework.test import APIClient
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.control import domain_checks
from gateway.dns import Resolver
from portal.wsgi import application
from tests.portal.api.conftest import World
from tests.portal.api.test_tenants import operations
from tests.portal.customer.conftest import WholeWorld

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


LIMITS = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@cache
def loaded() -> Any:
    return schemathesis.openapi.from_wsgi("/api/v1/schema/", application)


@pytest.fixture(autouse=True)
def _keep_the_connection() -> Iterator[None]:
    """As Django's test client does: a request must not close the connection that the test's transaction lives in."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture(autouse=True)
def _nothing_is_asked_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name there is exists, without records; TLS tests wait in the background's queue."""
    import gateway.explain

    def resolver(*_args: Any, **_options: Any) -> Resolver:
        return Resolver((), static=WholeWorld({"nothing.invalid": {}}))

    monkeypatch.setattr(gateway.explain, "Resolver", resolver)
    monkeypatch.setattr(domain_checks, "make_resolver", resolver)


@pytest.fixture
def document(db: None) -> Any:
    return loaded()  # read once, and only where a test may use the database


@pytest.fixture
def bearer(
    acme: World, token_client: Callable[..., APIClient], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    from portal.api.throttling import Throttle

    monkeypatch.setattr(Throttle, "allow_request", lambda *_args: True)
    return {"Authorization": token_client(acme)._credentials["HTTP_AUTHORIZATION"]}


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method"), list(operations()))
def test_every_answer_is_in_the_document(
    path: str, method: str, document: Any, bearer: dict[str, str], acme: World
) -> None:
    @LIMITS
    @given(case=document[path][method.upper()].as_strategy())
    def ask(case: schemathesis.Case) -> None:
        response = case.call(headers=bearer)
        case.validate_response(response, checks=CHECKS)

    ask()
