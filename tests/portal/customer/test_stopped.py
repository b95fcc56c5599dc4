"""A login that the abuse fuse stopped: its owner reads why, and decides about the held mail after it was counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from gateway.control import credentials
from gateway.models import AuditEntry, Credential, Message, Recipient
from portal.access import OPENED_AS
from portal.models import Membership
from tests import factories
from tests.factories import Cast

pytestmark = pytest.mark.django_db
THIEF, OWN = "203.0.113.66", "192.0.2.10"
Browser = Callable[[Any], Client]


@pytest.fixture
def stolen(cast: Cast) -> Credential:
    """Two recipients of the thief's, one of ACME's own mail; another login and another customer have held mail, too."""
    login = factories.make_credential(cast.acme, "acme-web")
    hold(login, "victim@one.example", "victim@two.example", client_ip=THIEF, category="spam", score=90)
    hold(login, "dora@example.org", client_ip=OWN)
    hold(login, "later@example.org", reason="tls_required")
    hold(factories.make_credential(cast.acme, "acme-other"), "other@example.org")
    hold(factories.make_credential(cast.globex, "globex"), "foreign@example.org")
    credentials.blow_fuse(
        login, reason="60% of the messages", signals={"bad": [0.6, 0.01], "flood": [4000, 20]}
    )
    return login


def hold(login: Credential, *to: str, reason: str = "abuse", **values: Any) -> Message:
    recipient = {"reason": reason}
    return factories.make_message(
        login.customer, to=to, state="held", credential=login, recipient=recipient, **values
    )


def text(browser: Client, name: str, *args: object, **query: object) -> str:
    return str(browser.get(reverse(name, args=args), query).content.decode())


def held() -> set[str]:
    return set(Recipient.objects.filter(state="held").values_list("address", flat=True))


@pytest.mark.parametrize("page", ["access", "messages", "credential"])
@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "60% of the messages look like spam (usual: 1%)"),
        ("de", "60% der Nachrichten sehen nach Spam aus (sonst: 1%)"),
    ],
)
def test_the_pages_say_why_in_the_readers_language(
    page: str, language: str, sentence: str, stolen: Credential, cast: Cast, browser_of: Browser
) -> None:
    for person in (cast.alice, cast.bob):
        person.language = language
        person.save(update_fields=["language"])
        args = [stolen.pk] if page == "credential" else []
        assert sentence in text(browser_of(person), page, *args)
    assert sentence not in text(browser_of(cast.charlie), "messages")


def test_the_latest_stop_counts(stolen: Credential, alice: Client) -> None:
    credentials.release_fuse(stolen, actor="alice@acme.example")
    credentials.blow_fuse(stolen, reason="x", signals={"unknown": [0.4, 0.0]})
    page = text(alice, "access")
    assert "40% of the recipients do not exist" in page
    assert "look like spam" not in page


def test_a_stop_without_numbers_shows_what_was_written(cast: Cast, alice: Client) -> None:
    credentials.blow_fuse(factories.make_credential(cast.acme), reason="<b>by hand</b>")
    assert "&lt;b&gt;by hand&lt;/b&gt;" in text(alice, "messages")


def test_a_message_says_that_its_login_was_stopped(stolen: Credential, alice: Client, cast: Cast) -> None:
    message = Message.objects.get(client_ip=THIEF)
    assert "its login was stopped" in text(alice, "message", message.text_id)
    other = factories.make_message(cast.acme, credential=stolen)
    assert "its login was stopped" not in text(alice, "message", other.text_id)


def test_a_new_secret_ends_the_old_one_at_once(stolen: Credential, alice: Client) -> None:
    assert '<option value="0" selected>' in text(alice, "credential", stolen.pk)
    alice.post(reverse("credential_rotate", args=[stolen.pk]), {"overlap_h": "0"})
    stolen.refresh_from_db()
    assert (stolen.previous_secret_hash, stolen.block) == ("", "fuse")


def test_the_list_shows_the_held_mail_of_this_login_alone(stolen: Credential, alice: Client) -> None:
    page = text(alice, "credential_held", stolen.pk)
    assert "3 recipients are held" in page
    assert all(one in page for one in ("victim@one.example", "dora@example.org", THIEF, OWN))
    assert not any(one in page for one in ("later@", "other@", "foreign@"))
    assert "dora@example.org" not in text(alice, "credential_held", stolen.pk, client_ip=THIEF)


def test_the_thiefs_mail_is_deleted_and_the_own_is_released(stolen: Credential, alice: Client) -> None:
    delete = reverse("credential_held_delete", args=[stolen.pk]) + f"?client_ip={THIEF}"
    assert "It concerns 2 recipients." in alice.get(delete).content.decode()
    assert len(held()) == 6  # the question alone does nothing
    alice.post(delete)
    assert held() == {"dora@example.org", "later@example.org", "other@example.org", "foreign@example.org"}
    release = reverse("credential_held_release", args=[stolen.pk])
    assert "It concerns 1 recipient." in alice.get(release).content.decode()
    alice.post(release)
    assert Recipient.objects.get(address="dora@example.org").state == "queued"
    assert held() == {"later@example.org", "other@example.org", "foreign@example.org"}
    told = (
        AuditEntry.objects.filter(actor="alice@acme.example").order_by("id").values_list("action", "detail")
    )
    assert [(action, detail["recipients"]) for action, detail in told] == [
        ("queue.cancel", 2),
        ("queue.release", 1),
    ]
    assert "Nothing of this login is held" in text(alice, "credential_held", stolen.pk)


@pytest.mark.parametrize(
    "query", ["client_ip=nonsense", "older_than_h=-1", "pool=ugly", "older_than_h=9" + "9" * 30]
)
def test_a_filter_that_makes_no_sense_does_nothing(query: str, stolen: Credential, alice: Client) -> None:
    assert alice.get(reverse("credential_held", args=[stolen.pk]) + f"?{query}").status_code == 400
    for name in ("credential_held_release", "credential_held_delete"):
        answer = alice.post(reverse(name, args=[stolen.pk]) + f"?{query}")
        assert (answer.status_code, answer["Location"].partition("?")[0]) == (
            302,
            reverse("credential_held", args=[stolen.pk]),
        )
    assert len(held()) == 6


@pytest.mark.parametrize("verb", ["credential_held_release", "credential_held_delete", "credential_release"])
def test_who_may(verb: str, stolen: Credential, cast: Cast, browser_of: Browser) -> None:
    address = reverse(verb, args=[stolen.pk])
    sam = browser_of(cast.sam)
    session = sam.session
    session[OPENED_AS] = cast.acme.pk
    session.save()
    answers = [
        browser.post(address).status_code for browser in (browser_of(cast.bob), browser_of(cast.charlie), sam)
    ]
    assert answers == [403, 404, 403]
    assert len(held()) == 6
    stolen.refresh_from_db()
    assert stolen.block == "fuse"
    admin = factories.make_member(cast.acme, Membership.Role.ADMIN)
    assert browser_of(admin).post(address).status_code == 302


def test_a_viewer_reads_the_list_without_the_buttons(
    stolen: Credential, cast: Cast, browser_of: Browser
) -> None:
    page = text(browser_of(cast.bob), "credential_held", stolen.pk)
    assert "3 recipients are held" in page
    assert reverse("credential_held_delete", args=[stolen.pk]) not in page


def test_what_is_left_after_the_release_stays_in_sight(stolen: Credential, alice: Client) -> None:
    alice.post(reverse("credential_release", args=[stolen.pk]))
    page = text(alice, "credential", stolen.pk)
    assert "still held" in page
    assert "3 held recipients" in page


def test_the_oldest_comes_first(cast: Cast, alice: Client) -> None:
    login = factories.make_credential(cast.acme)
    hold(login, "first@example.org")
    hold(login, "second@example.org")
    page = text(alice, "credential_held", login.pk)
    assert page.index("first@example.org") < page.index("second@example.org")
