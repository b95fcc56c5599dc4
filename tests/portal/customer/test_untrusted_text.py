"""Markup in every field that strangers write: no page shows it unescaped, none breaks."""

# ruff: noqa: E501 - one row of bad text a line

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gateway.control.audit import record
from gateway.models import SetupEvent
from portal.models import Invitation
from tests import factories
from tests.factories import Cast

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{7*7}}{% debug %}"
MARKERS = ("<script>alert", "<img src=x", "onerror=alert(1)>\"'")


@pytest.fixture
def poisoned(cast: Cast) -> list[str]:
    """ACME with the same bad text everywhere; returns the addresses of all pages that show something of it."""
    acme = cast.acme
    acme.name = acme.suspended_reason = EVIL
    acme.suspended_at = timezone.now()
    acme.save()
    login = factories.make_credential(
        acme, "acme-web", label=EVIL, block="fuse", block_reason=EVIL, networks=[EVIL], senders=[EVIL]
    )
    gateway = factories.make_gateway("mta01")
    message = factories.make_message(
        acme, to=(f"{EVIL}@example.org",), state="bounced", sender=EVIL, header_from=EVIL, subject=EVIL, message_id=EVIL,
        helo=EVIL[:255], client_tls=EVIL, category="spam", score=90, symbols=[[EVIL, 90.0]], credential=login,
        trace=[{"step": EVIL, "outcome": EVIL, "detail": {EVIL: EVIL}, "ms": 1}, {"step": "authors", "outcome": "pass", "detail": {"from": EVIL}, "ms": 1},
               {"step": "virus", "outcome": "refuse", "detail": {"reply": EVIL}, "ms": 1}],
        recipient={"remote_host": EVIL, "text": EVIL, "enhanced": "5.1.1", "code": 550, "reason": EVIL[:30]},
    )  # fmt: skip
    tls = {"version": EVIL, "cipher": EVIL, "verified": True, "subject": EVIL, "policy": EVIL}
    factories.make_attempt(message.recipients.get(), gateway=gateway, remote_host=EVIL, text=EVIL, tls=tls)
    ndr = factories.make_ndr(
        message, sender=EVIL, address=EVIL, domain=EVIL, cause=EVIL[:40], text=EVIL, gateway=gateway
    )
    refusal = factories.make_refusal(
        acme,
        sender=EVIL,
        recipient=EVIL,
        helo=EVIL[:255],
        text=EVIL,
        username=EVIL[:100],
        trace=message.trace,
    )
    domain = factories.make_domain(acme, "acme.example")
    note = {"key": "spf", "name": EVIL, "type": EVIL, "expected": EVIL, "state": EVIL, "found": [EVIL], "notes": [[EVIL, EVIL], ["twice", EVIL]],
            "ttl_s": 60, "lookups": 1, "lost_since": None, "good_since": None, "resolver": EVIL}  # fmt: skip
    domain.records = {"spf": note}
    domain.save()
    factories.make_dkim_key(domain, "declined", problem=EVIL, note=EVIL, selector="x")
    rule = factories.make_tls_rule(acme, note=EVIL, probe={"state": EVIL, "problem": EVIL})
    factories.make_suppression(acme, EVIL, text=EVIL)
    factories.make_hour(acme, accepted=1)
    factories.make_worker(degraded={EVIL: EVIL})
    record(EVIL, EVIL[:60], EVIL, customer=acme, detail={EVIL: [EVIL, EVIL], "x": EVIL})
    SetupEvent.objects.create(customer=acme, at=timezone.now(), session="s", stage="sender", reply=EVIL)
    Invitation.objects.create(
        customer=acme, email="x@y.example", invited_by=EVIL, token_hash="0" * 64, expires_at=timezone.now()
    )
    return [
        "/", "/messages/", f"/messages/?q={EVIL}", reverse("message", args=[message.text_id]),
        reverse("message_cancel", args=[message.text_id]), "/refusals/", f"/refusals/?q={EVIL}",
        reverse("refusal", args=[refusal.pk]), "/ndr/", f"/ndr/?cause={EVIL}&days=30", reverse("ndr_detail", args=[ndr.pk]),
        "/suppressions/", f"/suppressions/?q={EVIL}", "/statistics/", "/domains/", "/domains/acme.example/", "/tls/",
        reverse("tls_change", args=[rule.pk]), reverse("tls_remove", args=[rule.pk]), "/access/",
        reverse("credential", args=[login.pk]), reverse("credential_revoke", args=[login.pk]), "/setup/", "/setup/live/",
        "/activity/", f"/activity/?area={EVIL}", "/team/", "/settings/", f"/help/codes/?q={EVIL}", "/explain/",
    ]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "de"])
def test_no_page_shows_markup_of_strangers(
    language: str, poisoned: list[str], cast: Cast, alice: Client
) -> None:
    type(cast.alice).objects.filter(pk=cast.alice.pk).update(language=language)
    for path in poisoned:
        response = alice.get(path)
        text = response.content.decode()
        assert response.status_code == 200, path
        assert not [marker for marker in MARKERS if marker in text], path


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("domain_add", {"name": EVIL}), ("credential_add", {"username": EVIL, "label": EVIL}), ("suppressions", {"address": EVIL}),
        ("tls_add", {"recipient_domain": EVIL, "note": EVIL}), ("tls_test", {"domain": EVIL}), ("team_invite", {"email": EVIL}),
        ("settings", {"alert_email": EVIL}), ("explain", {"text": EVIL, "sender": EVIL, "recipients": EVIL, "credential": EVIL}),
    ],
)  # fmt: skip
def test_forms_give_bad_input_back_escaped(
    name: str, data: dict[str, Any], cast: Cast, alice: Client
) -> None:
    factories.make_credential(cast.acme)
    response = alice.post(reverse(name), data)
    assert response.status_code == 400
    assert not [marker for marker in MARKERS if marker in response.content.decode()]
