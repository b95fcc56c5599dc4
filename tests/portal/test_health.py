"""/healthz and /readyz with every part working, missing and silent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone, translation

from gateway.models import Worker
from portal import status
from portal.models import User

pytestmark = pytest.mark.django_db


def beat(owner: str = "node1:1", *, ago_s: int = 1, degraded: dict[str, str] | None = None) -> Worker:
    now = timezone.now()
    return Worker.objects.create(
        owner=owner,
        node="node1",
        pid=1,
        slot=0,
        started_at=now,
        seen_at=now - timedelta(seconds=ago_s),
        degraded=degraded or {},
    )


def readyz(client: Client) -> tuple[int, dict[str, Any]]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()


def test_healthz_needs_no_database(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_without_a_relay_it_is_not_ready(client: Client) -> None:
    status, body = readyz(client)
    assert (status, body["status"], body["components"]["relay"]["status"]) == (503, "down", "down")


def test_a_silent_relay_is_no_relay(client: Client) -> None:
    beat(ago_s=300)
    assert readyz(client)[0] == 503


def test_with_a_relay_it_is_ready(client: Client) -> None:
    beat()
    status, body = readyz(client)
    assert (status, body["status"]) == (200, "ok")
    assert body["components"]["database"] == {"status": "ok"}


def test_a_degraded_part_is_said_but_not_explained_to_strangers(client: Client) -> None:
    beat(degraded={"antivirus": "10.1.2.3:3310: TimeoutError"})
    status, body = readyz(client)
    assert (status, body["status"], body["components"]["antivirus"]) == (
        200,
        "degraded",
        {"status": "degraded"},
    )
    client.force_login(User.objects.create_user("sam@smg.example", is_staff=True))
    text = readyz(client)[1]["components"]["antivirus"]["text"]
    assert text.startswith("The virus scanner does not answer")
    assert text.endswith("(10.1.2.3:3310: TimeoutError)")


@pytest.mark.parametrize(
    ("part", "error", "words"),
    [
        ("antivirus", "not configured", "(SMG_CLAMD)"),
        ("antivirus", "10.1.2.3:3310: TimeoutError", "antwortet nicht: Neue E-Mails erhalten 451"),
        ("clock", "the system's clock has jumped by 7 s", "Uhr des Gateways"),
        ("disk", "no space left for new mail", "kein Platz mehr"),
        ("policy", "policy could not be read: OperationalError", "mit den Einstellungen von eben"),
        ("spam:rspamd", "does not answer", "Spam-Engine rspamd antwortet nicht"),
        ("something new", "is away", "is away"),
    ],
)
def test_what_the_relay_misses_is_said_in_the_readers_language(part: str, error: str, words: str) -> None:
    beat(degraded={part: error})
    with translation.override("de"):
        found = next(one for one in status.parts() if one.name == part)
        assert words in str(found.text)


def test_an_overdue_schedule_is_a_dead_scheduler(client: Client) -> None:
    from django_q.models import Schedule

    beat()
    Schedule.objects.all().delete()
    Schedule.objects.create(name="nightly", func="x", next_run=timezone.now() - timedelta(hours=1))
    status, body = readyz(client)
    assert (status, body["status"], body["components"]["scheduler"]["status"]) == (200, "degraded", "down")


def test_a_dead_database_is_said(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_args: Any, **_kwargs: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(connection, "cursor", gone)
    assert readyz(client) == (503, {"status": "down", "components": {"database": {"status": "down"}}})
