"""People in the admin: every page opens, nobody is made support by support, locking ends log-ins and tokens."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from gateway.models import AuditEntry
from portal import tokens
from portal.models import ApiToken, Membership, User
from tests.portal.api.conftest import World, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(db: None) -> World:
    return make_world("acme", "alice", 1)


@pytest.fixture
def sam(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_user("sam@smg.example", is_staff=True))
    return client


def act(client: Client, model: Any, name: str, obj: Any) -> Any:
    url = reverse(f"admin:portal_{model._meta.model_name}_changelist")
    return client.post(
        url, {"action": name, "index": 0, "_selected_action": [obj.pk], "apply": "1"}, follow=True
    )


def test_every_page_opens_and_nothing_can_be_typed_in(acme: World, sam: Client) -> None:
    models = [model for model in admin.site._registry if model._meta.app_label == "portal"]
    assert len(models) == 5
    for model in models:
        name, obj = model._meta.model_name, model._default_manager.first()
        assert sam.get(reverse(f"admin:portal_{name}_changelist")).status_code == 200
        page = sam.get(reverse(f"admin:portal_{name}_change", args=[obj.pk]))  # type: ignore[union-attr]
        assert page.status_code == 200, model
        assert "secret_hash" not in page.content.decode()
        assert sam.get(reverse(f"admin:portal_{name}_add")).status_code == 403
        assert (
            sam.post(
                reverse(f"admin:portal_{name}_change", args=[obj.pk]), {"is_superuser": "on"}
            ).status_code
            == 403
        )  # type: ignore[union-attr]


def test_locking_a_person_ends_everything(acme: World, sam: Client) -> None:
    _row, text = tokens.create(acme.customer, acme.owner, name="x", scopes=["read"], actor="test")
    act(sam, User, "lock", acme.owner)
    assert tokens.recognise(text) is None
    assert AuditEntry.objects.filter(action="user.lock", actor="sam@smg.example").exists()
    act(sam, User, "unlock", acme.owner)
    assert tokens.recognise(text)


def test_support_makes_nobody_support(acme: World, sam: Client) -> None:
    act(sam, User, "make_support", acme.owner)
    assert not User.objects.get(pk=acme.owner.pk).is_staff
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss@smg.example", "pw"))
    act(boss, User, "make_support", acme.owner)
    assert User.objects.get(pk=acme.owner.pk).is_staff


def test_the_last_owner_stays_and_tokens_are_revoked(acme: World, sam: Client) -> None:
    page = act(sam, Membership, "remove", Membership.objects.get())
    assert Membership.objects.exists(), page
    act(sam, ApiToken, "revoke", ApiToken.objects.get())
    assert ApiToken.objects.get().revoked_at


def test_the_admins_log_in_is_the_portals(client: Client) -> None:
    answer = client.get("/admin/login/?next=/admin/")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/")
