"""A laboratory of lists, and ACME's and Globex's targets."""

from __future__ import annotations

import pytest

from blacklist.control.targets import apply_targets
from gateway.models import Customer
from tests.blacklist.lab import Lab
from tests.factories import make_customer


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def acme(db) -> Customer:
    return make_customer("acme")


@pytest.fixture
def globex(db) -> Customer:
    return make_customer("globex", language="de")


@pytest.fixture
def watch(db):
    """watch("192.0.2.10", "gateway") or watch("192.0.2.20", customer="acme")"""

    def add(value: str, role: str = "customer_ip", **values: object) -> None:
        apply_targets([{"value": value, "role": role, **values}])

    return add
