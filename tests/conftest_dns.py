"""The fixture `dns_server`; the root conftest lists this module in `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dns_server import DnsServer


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    """A DNS server of this test's own, on loopback; see tests/dns_server.py."""
    with DnsServer() as server:
        yield server
