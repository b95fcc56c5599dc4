"""Refusals, reports, blocked recipients, statistics, the overview."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gateway.models import Suppression
from portal.customer import statistics as statistics_page
from tests import factories
from tests.factories import Cast
from tests.portal.customer.helpers import text_of


def test_refusals_are_explained_and_searchable(alice: Client, cast: Cast) -> None:
    factories.make_refusal(cast.acme)
    factories.make_refusal(
        cast.acme, sender="shop@acme.example", code=451, text="Ratelimit reached", reason="rate_limit"
    )
    assert "domain does not exist in public DNS" in text_of(alice, "refusals")
    found = text_of(alice, "refusals", q="shop@acme.example")
    assert "Ratelimit reached" in found
    assert "must resolve" not in found


def test_refusals_are_found_by_the_servers_address(alice: Client, cast: Cast) -> None:
    factories.make_refusal(cast.acme, client_ip="192.0.2.77", text="From this server")
    factories.make_refusal(cast.acme, client_ip="192.0.2.78", text="From another one")
    found = text_of(alice, "refusals", q="192.0.2.77")
    assert "From this server" in found
    assert "From another one" not in found


@pytest.mark.parametrize(
    "path",
    [
        "/refusals/?q=a%00b", "/suppressions/?q=%00", "/ndr/?cause=%00", "/messages/?sender=%00", "/messages/?id=a%00",
        "/activity/?area=%00",
    ],
)  # fmt: skip
def test_nul_in_a_search_breaks_nothing(path: str, alice: Client) -> None:
    assert alice.get(path).status_code == 200


def test_nul_in_a_domain_name_is_404(alice: Client) -> None:
    assert alice.get("/domains/a%00b.example/").status_code == 404


def test_reports_are_grouped_by_cause(alice: Client, cast: Cast) -> None:
    message = factories.make_message(cast.acme, state="bounced")
    for number in range(3):
        factories.make_ndr(message, cause="unknown_user", address=f"n{number}@example.org")
    factories.make_ndr(message, cause="no longer in the dictionary")
    old = factories.make_ndr(message, cause="old")
    type(old).objects.filter(pk=old.pk).update(at=timezone.now() - timedelta(days=8))
    causes = alice.get(reverse("ndr")).context["causes"]
    assert [(cause.key, cause.number) for cause in causes] == [
        ("unknown_user", 3),
        ("no longer in the dictionary", 1),
    ]
    assert len(alice.get(reverse("ndr"), {"cause": "unknown_user"}).context["found"].rows) == 3


def test_suppressions_are_added_and_lifted(alice: Client, cast: Cast) -> None:
    alice.post(reverse("suppressions"), {"address": "Gone@Example.org"})
    row = Suppression.objects.get()
    assert row.address == "gone@example.org"
    assert alice.post(reverse("suppressions"), {"address": "nonsense"}).status_code == 400
    alice.post(reverse("suppression_remove", args=[row.pk]))
    assert not Suppression.objects.exists()


def test_statistics_sum_days_of_the_readers_zone(alice: Client, cast: Cast) -> None:
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    factories.make_hour(cast.acme, midnight, accepted=5, spam=1, delivered=4)
    factories.make_hour(cast.acme, midnight - timedelta(hours=1), accepted=7)
    by_day = list(statistics_page._by_day(statistics_page._counts(cast.acme, 7), 7).values())
    assert [day["accepted"] for day in by_day[-2:]] == [7, 5]
    assert alice.get(reverse("statistics")).context["totals"]["accepted"] == 12


def test_the_overview_counts_what_is_there(alice: Client, cast: Cast) -> None:
    factories.make_hour(cast.acme, accepted=7, delivered=6, bounced=1)
    factories.make_hour(cast.globex, accepted=500)
    context = alice.get("/").context
    assert (context["totals"]["accepted"], context["failed"]) == (7, 1)
    assert [step["key"] for step in context["checklist"]] == ["domain", "dns", "access", "mail", "alerts"]


@pytest.mark.parametrize(
    ("degraded", "sentence"),
    [
        ({"antivirus": "not configured"}, "mail is not scanned for viruses"),
        ({"antivirus": "connection refused"}, "answered 451"),
        ({"spam:rspamd": "does not answer"}, "rspamd does not answer"),
    ],
)
def test_what_does_not_work_is_said_on_top(
    degraded: dict[str, str], sentence: str, alice: Client, cast: Cast
) -> None:
    factories.make_worker(degraded=degraded)
    assert sentence in text_of(alice, "overview")
