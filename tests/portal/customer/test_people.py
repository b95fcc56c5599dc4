"""People: invitations that work once, roles, settings, language and theme, switching customers, log-in."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from gateway.control import queue
from gateway.models import AuditEntry, Customer
from portal.customer.activity import changes, what
from portal.models import Invitation, Membership, User
from tests import factories
from tests.factories import PASSWORD, Cast

Browser = Any


def invite(browser: Client, email: str = "eve@acme.example", role: str = "viewer") -> str:
    """Send an invitation; returns the path of the link in the mail."""
    browser.post(reverse("team_invite"), {"email": email, "role": role})
    return "/" + re.findall(r"https?://[^/]+/(\S+)", str(mail.outbox[-1].body))[0]


def test_from_invitation_to_member(alice: Client, browser_of: Browser) -> None:
    link = invite(alice)
    assert mail.outbox[-1].to == ["eve@acme.example"]
    eve = browser_of(None)
    assert b"alice@acme.example invited eve@acme.example" in eve.get(link).content
    response = eve.post(link, {"password": PASSWORD, "again": PASSWORD})
    assert (response.status_code, response["Location"]) == (302, "/")
    assert eve.get("/").status_code == 200
    assert Membership.objects.get(user__email="eve@acme.example").role == "viewer"


def test_a_link_works_once(alice: Client, browser_of: Browser) -> None:
    link = invite(alice)
    browser_of(None).post(link, {"password": PASSWORD, "again": PASSWORD})
    assert browser_of(None).get(link).status_code == 404


def test_a_link_works_for_a_week(alice: Client, browser_of: Browser) -> None:
    link = invite(alice)
    with time_machine.travel(Invitation.objects.get().expires_at + timedelta(seconds=1)):
        assert browser_of(None).get(link).status_code == 404


def test_the_link_is_not_in_the_database(alice: Client) -> None:
    link = invite(alice)
    token = link.rstrip("/").rpartition("/")[2]
    assert token not in str(list(Invitation.objects.values())) + str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize(
    ("password", "again", "sentence"),
    [
        ("short", "short", "too short"),
        (PASSWORD, "other", "not the same"),
        ("password1234", "password1234", "too common"),
    ],
)
def test_passwords_that_are_not_taken(
    password: str, again: str, sentence: str, alice: Client, browser_of: Browser
) -> None:
    response = browser_of(None).post(invite(alice), {"password": password, "again": again})
    assert (response.status_code, sentence in response.content.decode()) == (400, True)
    assert not User.objects.filter(email="eve@acme.example").exists()


def test_an_invitation_of_somebody_else_cannot_be_taken(
    cast: Cast, alice: Client, browser_of: Browser
) -> None:
    link = invite(alice, "charlie@globex.example")
    assert b"Sign in" in browser_of(None).get(link).content
    assert browser_of(cast.bob).post(link).status_code == 400
    assert browser_of(None).post(link).status_code == 404
    assert browser_of(cast.charlie).post(link).status_code == 302
    assert cast.acme.memberships.filter(user=cast.charlie).exists()


def test_a_withdrawn_invitation_is_gone(alice: Client, browser_of: Browser) -> None:
    link = invite(alice)
    alice.post(reverse("team_withdraw", args=[Invitation.objects.get().pk]))
    assert browser_of(None).get(link).status_code == 404


def test_a_new_invitation_replaces_the_open_one(alice: Client, browser_of: Browser) -> None:
    first, second = invite(alice), invite(alice)
    assert [browser_of(None).get(link).status_code for link in (first, second)] == [404, 200]


@pytest.mark.parametrize("email", ["bob@acme.example", "nobody", ""])
def test_people_who_cannot_be_invited(email: str, alice: Client) -> None:
    assert alice.post(reverse("team_invite"), {"email": email, "role": "viewer"}).status_code == 400
    assert mail.outbox == []


def test_the_last_owner_stays(cast: Cast, alice: Client) -> None:
    member = Membership.objects.get(user=cast.alice)
    assert alice.post(reverse("member", args=[member.pk]), {"role": "viewer"}).status_code == 400
    alice.post(reverse("member_remove", args=[member.pk]))
    assert Membership.objects.get(user=cast.alice).role == "owner"


def test_an_owner_makes_an_owner_and_may_go(cast: Cast, alice: Client) -> None:
    alice.post(reverse("member", args=[Membership.objects.get(user=cast.bob).pk]), {"role": "owner"})
    alice.post(reverse("member_remove", args=[Membership.objects.get(user=cast.alice).pk]))
    assert list(cast.acme.memberships.values_list("user__email", flat=True)) == ["bob@acme.example"]
    assert alice.get("/").status_code == 403


def test_an_admin_writes_but_not_the_team(cast: Cast, browser_of: Browser) -> None:
    cast.bob.memberships.update(role="admin")
    bob = browser_of(cast.bob)
    assert bob.get(reverse("domain_add")).status_code == 200
    assert bob.post(reverse("team_invite"), {"email": "x@y.example", "role": "owner"}).status_code == 403


def test_a_removed_member_sees_nothing_at_once(cast: Cast, browser_of: Browser) -> None:
    bob = browser_of(cast.bob)
    assert bob.get("/").status_code == 200
    cast.bob.memberships.all().delete()
    assert bob.get("/").status_code == 403


# ------------------------------------------------------------------------------------------------ several customers


def test_switching_shows_the_other_customer(cast: Cast, alice: Client) -> None:
    Membership.objects.create(user=cast.alice, customer=cast.globex, role="viewer")
    factories.make_message(cast.globex, subject="Globex's own")
    assert "Globex&#x27;s own" not in alice.get(reverse("messages")).content.decode()
    alice.post(reverse("choose_customer"), {"customer": cast.globex.pk})
    assert "Globex&#x27;s own" in alice.get(reverse("messages")).content.decode()
    assert alice.get(reverse("domain_add")).status_code == 403


@pytest.mark.parametrize("wanted", ["", "x", "999"])
def test_switching_to_what_is_not_ones_own_is_404(wanted: str, alice: Client) -> None:
    assert alice.post(reverse("choose_customer"), {"customer": wanted}).status_code == 404


def test_a_stranger_cannot_switch_over(cast: Cast, browser_of: Browser) -> None:
    charlie = browser_of(cast.charlie)
    assert charlie.post(reverse("choose_customer"), {"customer": cast.acme.pk}).status_code == 404


# ------------------------------------------------------------------------------------------------ settings


def test_settings_are_saved_and_audited(cast: Cast, alice: Client) -> None:
    data = {
        "alert_email": "new@acme.example",
        "language": "de",
        "ndr_enabled": "on",
        "delay_warning_h": "8",
        "retention_days": "14",
    }
    alice.post(reverse("settings"), data)
    acme = Customer.objects.get(slug="acme")
    assert (acme.alert_email, acme.delay_warning_h, acme.retention_days, acme.ndr_on_refusal) == (
        "new@acme.example",
        8,
        14,
        False,
    )
    assert AuditEntry.objects.get(action="customer.change").detail["delay_warning_h"] == ["4", "8"]


@pytest.mark.parametrize(
    "data", [{"retention_days": "0"}, {"alert_email": "x"}, {"language": "fr"}, {"delay_warning_h": "3"}]
)
def test_settings_that_cannot_be(data: dict[str, str], cast: Cast, alice: Client) -> None:
    response = alice.post(reverse("settings"), {"language": "en", "delay_warning_h": "4"} | data)
    assert response.status_code == 400
    assert Customer.objects.get(slug="acme").alert_email == "ops@acme.example"


def test_a_viewer_changes_what_is_their_own(cast: Cast, browser_of: Browser) -> None:
    bob = browser_of(cast.bob)
    bob.post(
        reverse("settings_person"), {"me-language": "de", "me-time_zone": "Asia/Tokyo", "me-theme": "dark"}
    )
    text = bob.get("/").content.decode()
    assert '<html lang="de" data-theme="dark">' in text
    assert "Asia/Tokyo" in text


def test_appearance_before_the_login_is_a_cookie(client: Client, db: None) -> None:
    client.post(reverse("appearance"), {"theme": "dark", "language": "de", "next": "/accounts/login/"})
    text = client.get("/accounts/login/").content.decode()
    assert 'data-theme="dark"' in text
    assert '<html lang="de"' in text
    assert "Anmelden" in text


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"]
)
def test_appearance_leads_nowhere_else(target: str, client: Client, db: None) -> None:
    response = client.post(reverse("appearance"), {"theme": "dark", "next": target})
    assert response["Location"] == "/"


# ------------------------------------------------------------------------------------------------ log-in


def test_log_in_by_address_in_any_case(cast: Cast, client: Client) -> None:
    response = client.post(reverse("account_login"), {"login": "Alice@ACME.example", "password": PASSWORD})
    assert (response.status_code, response["Location"]) == (302, "/")


def test_a_wrong_password_and_a_wrong_address_look_alike(cast: Cast, client: Client) -> None:
    texts = [
        re.sub(
            r'value="[^"]*"',
            "",
            client.post(reverse("account_login"), {"login": login, "password": "x"}).content.decode(),
        )
        for login in ("alice@acme.example", "nobody@acme.example")
    ]
    assert texts[0] == texts[1]


def test_there_is_no_sign_up(client: Client, db: None) -> None:
    response = client.post(
        reverse("account_signup"), {"email": "x@y.example", "password1": PASSWORD, "password2": PASSWORD}
    )
    assert not User.objects.exists()
    assert response.status_code == 200


def test_a_stylesheet_policy_without_exceptions(alice: Client) -> None:
    response = alice.get("/")
    assert "default-src 'self'" in response["Content-Security-Policy"]
    assert "unsafe" not in response["Content-Security-Policy"]
    text = response.content.decode()
    assert not re.search(
        r"<script(?![^>]*src=)(?![^>]*application/json)|style=|\son[a-z]+=|javascript:", text
    )


def test_activity_tells_details_in_words(cast: Cast) -> None:
    told = {
        "level": ["", "encrypt"], "shadow": ["False", "True"], "note": ["", ""],
        "until": ["", "2027-02-13T07:00:00+00:00"],
    }  # fmt: skip
    entry = AuditEntry(customer=cast.acme, action="tls_rule.add", detail=told)
    with translation.override("de"), timezone.override("Europe/Berlin"):
        assert changes(entry) == [
            "Stufe: verschlüsselt",
            "nur aufgezeichnet: nein → ja",
            "bis: 2027-02-13 08:00 CET",
        ]


def test_what_was_done_to_many_is_counted_in_the_readers_language(cast: Cast) -> None:
    for n in range(2):
        factories.make_message(cast.acme, to=(f"dora{n}@example.org",), state="queued")
    mine = cast.acme.recipients.all()
    queue.hold(mine, actor="alice@acme.example", customer=cast.acme)
    queue.cancel(
        mine.filter(address__startswith="dora0"),
        actor="alice@acme.example",
        reason="abuse",
        customer=cast.acme,
    )
    cancelled, held = AuditEntry.objects.filter(action__startswith="queue.")
    assert (held.target, held.detail) == ("", {"recipients": 2})
    assert (what(held), changes(held)) == ("2 recipients", [])
    with translation.override("de"):
        assert (what(cancelled), changes(cancelled)) == ("1 Empfänger", ["Grund: ungewöhnlicher Versand"])
    assert what(AuditEntry(target="acme.example", detail={"recipients": 2})) == "acme.example"


def test_a_stopped_login_is_told_in_the_readers_language(cast: Cast) -> None:
    numbers = {"reason": ["", "412 recipients within an hour"], "signals": {"burst": [412.0, 9.0]}}
    entry = AuditEntry(customer=cast.acme, action="credential.fuse", detail=numbers)
    with translation.override("de"):
        assert changes(entry) == ["Grund: 412 Empfänger innerhalb einer Stunde (sonst: 9)"]
