"""The loop that sends within seconds: it survives errors and ends when it is told to."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from portal.models import WebhookDelivery, WebhookEndpoint
from portal.webhooks import endpoints, tasks, worker
from tests.portal.webhooks.conftest import ALICE, Receiver
from tests.portal.webhooks.test_webhooks import happen

pytestmark = pytest.mark.django_db


def rounds(number: int) -> Any:
    """`goes_on` for so many rounds of the loop."""
    left = [number]

    def goes_on() -> bool:
        return left[0] > 0

    def sleep(_seconds: float) -> None:
        left[0] -= 1

    return {"goes_on": goes_on, "sleep": sleep}


@pytest.fixture(autouse=True)
def _keep_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "close_old_connections", lambda: None)  # the test's transaction lives in it


def test_what_happens_is_sent_in_the_next_round(endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    worker.keep_sending(**rounds(1))  # from here on events count
    happen(endpoint.customer)
    worker.keep_sending(**rounds(1))
    assert {state for (state,) in WebhookDelivery.objects.values_list("state")} == {"delivered"}
    assert len(receiver.got) == WebhookDelivery.objects.count() > 2


def test_without_webhooks_a_round_is_one_query(db: None, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        worker.keep_sending(**rounds(1))


def test_an_idle_round_takes_no_lock(endpoint: WebhookEndpoint, django_assert_max_num_queries: Any) -> None:
    worker.keep_sending(**rounds(1))
    with django_assert_max_num_queries(16) as queries:
        worker.keep_sending(**rounds(1))
    assert not [query for query in queries.captured_queries if not query["sql"].startswith("SELECT")]


def test_an_error_is_logged_and_the_next_round_goes_on(
    endpoint: WebhookEndpoint,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    endpoints.send_test(endpoint, actor=ALICE)
    deliver, calls = tasks.deliver, []

    def broken_once(*given: Any) -> int:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("the database is away")
        return deliver(*given)

    monkeypatch.setattr(tasks, "deliver", broken_once)
    with caplog.at_level(logging.ERROR):
        worker.keep_sending(**rounds(2))
    assert "webhooks could not be sent" in caplog.text
    assert len(receiver.got) == 1
