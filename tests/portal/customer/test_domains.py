"""Domains: added, checked, proven, DKIM from wish to signing, removed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gateway.control import dkim, domain_checks
from gateway.models import DkimKey, Domain
from tests import factories
from tests.factories import Cast
from tests.portal.customer.helpers import Zone, text_of


def test_a_domain_is_added_checked_and_proven(alice: Client, public_dns: Zone) -> None:
    response = alice.post(reverse("domain_add"), {"name": "ACME.example"})
    assert response["Location"] == reverse("domain", args=["acme.example"])
    domain = Domain.objects.get()
    text = text_of(alice, "domain", "acme.example")
    assert domain.challenge in text
    assert "v=spf1 a:spf.smtp.smg.example ~all" in text
    assert "not accepted yet" in text
    public_dns["_smg-challenge.acme.example"] = {"TXT": [f'"{domain.challenge}"']}
    Domain.objects.update(checked_at=timezone.now() - timedelta(minutes=1))
    assert (
        "is proven"
        in alice.post(reverse("domain_check", args=["acme.example"]), follow=True).content.decode()
    )


def test_checking_again_at_once_is_not_a_hammer(alice: Client, cast: Cast, public_dns: Zone) -> None:
    factories.make_domain(cast.acme, "acme.example", checked_at=timezone.now())
    assert (
        "a moment ago"
        in alice.post(reverse("domain_check", args=["acme.example"]), follow=True).content.decode()
    )


@pytest.mark.parametrize("name", ["", "nonsense", "a b.example", "<script>.example"])
def test_what_is_no_domain_is_said_at_the_field(name: str, alice: Client) -> None:
    response = alice.post(reverse("domain_add"), {"name": name})
    assert (response.status_code, b'id="id_name_error"' in response.content) == (400, True)


def test_a_domain_that_another_customer_has_proven(alice: Client, cast: Cast, public_dns: Zone) -> None:
    factories.make_domain(cast.globex, "shared.example")
    domain = factories.make_domain(cast.acme, "shared.example", proven=False)
    public_dns["_smg-challenge.shared.example"] = {"TXT": [f'"{domain.challenge}"']}
    page = alice.post(reverse("domain_check", args=["shared.example"]), follow=True).content.decode()
    assert "Another customer has proven this domain" in page
    assert "Globex" not in page


def test_dkim_from_wish_to_signing(alice: Client, cast: Cast, public_dns: Zone) -> None:
    factories.make_domain(cast.acme, "acme.example")
    alice.post(reverse("dkim_request", args=["acme.example"]), {"kind": "txt", "note": "Newsletters"})
    key = DkimKey.objects.get()
    assert (key.state, key.note, key.requested_by) == ("requested", "Newsletters", "alice@acme.example")
    dkim.approve(key, actor="sam")
    domain_checks.check(Domain.objects.get())
    text = text_of(alice, "domain", "acme.example")
    assert dkim.record_value(key) in text
    assert "Waiting for the DNS record" in text
    assert "PRIVATE" not in text
    value = dkim.record_value(key)
    public_dns[dkim.record_name(key)] = {"TXT": [f'"{value[:200]}" "{value[200:]}"']}
    domain_checks.check(Domain.objects.get())
    assert "Signing" in text_of(alice, "domain", "acme.example")


def test_removing_a_domain_asks_first(alice: Client, cast: Cast) -> None:
    factories.make_domain(cast.acme, "acme.example")
    assert "Remove acme.example?" in text_of(alice, "domain_remove", "acme.example")
    alice.post(reverse("domain_remove", args=["acme.example"]))
    assert not Domain.objects.exists()
