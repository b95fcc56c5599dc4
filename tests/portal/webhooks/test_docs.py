"""The receiver's code in docs/api.md accepts what we send, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import crypto
from portal.models import WebhookEndpoint
from portal.webhooks import endpoints, signing, tasks
from tests.portal.webhooks.conftest import ALICE, Receiver

pytestmark = pytest.mark.django_db


@pytest.fixture
def is_ours(root_dir: Path) -> Callable[..., bool]:
    source = re.search(r"```python\n(.*?)```", (root_dir / "docs/api.md").read_text("utf-8"), re.DOTALL)
    assert source
    names: dict[str, Any] = {}
    exec(source[1], names)  # noqa: S102 - our own document
    return names["is_ours"]


def test_the_documents_code_knows_us(
    is_ours: Callable[..., bool], endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    endpoints.send_test(endpoint, actor=ALICE)
    tasks.deliver()
    headers, body = receiver.got[0]
    secret = crypto.decrypt(endpoint.secret)
    assert is_ours(secret, headers, body)
    assert not is_ours(secret, headers, body + b" ")
    assert not is_ours(signing.new_secret(), headers, body)
    assert not is_ours(secret, {**headers, "webhook-timestamp": "1700000000"}, body)
