"""A write that is sent again does its work once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone
from rest_framework.test import APIClient

from gateway.models import Credential
from portal.api import idempotency
from portal.models import IdempotencyKey
from tests.portal.api.conftest import World, post


def test_a_repeated_post_gets_the_first_answer(acme: World, alice: APIClient) -> None:
    body = {"username": "acme-mail"}
    first = post(alice, "credentials/", body, headers={"Idempotency-Key": "k1"})
    second = post(alice, "credentials/", body, headers={"Idempotency-Key": "k1"})
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert second["Idempotent-Replayed"] == "true"
    assert Credential.objects.filter(username="acme-mail").count() == 1
    assert first.json()["secret"] not in str(IdempotencyKey.objects.get().body)


def test_the_key_of_another_request_is_refused(alice: APIClient) -> None:
    post(alice, "suppressions/", {"address": "a@b.example"}, headers={"Idempotency-Key": "k1"})
    other = post(alice, "suppressions/", {"address": "c@b.example"}, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 422


def test_a_running_request_is_a_conflict_a_lost_one_is_not(acme: World, alice: APIClient) -> None:
    post(alice, "suppressions/", {"address": "a@b.example"}, headers={"Idempotency-Key": "k1"})
    IdempotencyKey.objects.update(status=0)
    again = {"headers": {"Idempotency-Key": "k1"}}
    assert post(alice, "suppressions/", {"address": "a@b.example"}, **again).status_code == 409
    with time_machine.travel(timezone.now() + timedelta(minutes=3), tick=False):
        assert post(alice, "suppressions/", {"address": "a@b.example"}, **again).status_code == 201


def test_a_failed_request_may_be_tried_again(alice: APIClient) -> None:
    bad = post(alice, "suppressions/", {"address": "no address"}, headers={"Idempotency-Key": "k1"})
    assert bad.status_code == 400
    assert not IdempotencyKey.objects.exists()


def test_keys_are_the_customers_own(
    acme: World, globex: World, alice: APIClient, token_client: Callable[..., APIClient]
) -> None:
    charlie = token_client(globex)
    for client in (alice, charlie):
        answer = post(
            client, "suppressions/", {"address": "a@b.example"}, headers={"Idempotency-Key": "same"}
        )
        assert answer.status_code == 201
        assert "Idempotent-Replayed" not in answer


def test_a_day_later_the_key_is_free_and_its_answer_gone(alice: APIClient) -> None:
    body, key = {"address": "a@b.example"}, {"Idempotency-Key": "k1"}
    post(alice, "suppressions/", body, headers=key)
    assert idempotency.forget_old() == "0 keys forgotten"
    with time_machine.travel(timezone.now() + timedelta(hours=25), tick=False):
        assert "Idempotent-Replayed" not in post(alice, "suppressions/", body, headers=key)
    with time_machine.travel(timezone.now() + timedelta(hours=51), tick=False):
        assert idempotency.forget_old() == "1 keys forgotten"


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_bad_keys(key: str, alice: APIClient) -> None:
    assert (
        post(alice, "suppressions/", {"address": "a@b.example"}, headers={"Idempotency-Key": key}).status_code
        == 400
    )
