"""The verbs on gateways: who may drain what, and what the relay and the audit log learn of it."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from gateway.control import gateways
from gateway.models import AuditEntry, Bar, Gateway, PolicyVersion

pytestmark = pytest.mark.django_db
SAM = "sam@smg.example"


def version() -> int:
    return PolicyVersion.objects.values_list("version", flat=True).first() or 0


@pytest.fixture
def mta01() -> Gateway:
    return gateways.create(actor=SAM, name="mta01", pool="good", hostname="mta01.smg.example")


@pytest.fixture
def mta02() -> Gateway:
    return gateways.create(actor=SAM, name="mta02", pool="good", hostname="mta02.smg.example")


def test_create_is_audited_and_told_to_the_relay() -> None:
    before = version()
    gateways.create(actor=SAM, name="mta01", pool="good", hostname="mta01.smg.example", source_ip="192.0.2.1")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.target) == (SAM, "gateway.create", "mta01")
    assert version() > before


@pytest.mark.parametrize(
    "values",
    [
        {"pool": "ugly"},
        {"next_hop": "no port"},
        {"source_ip": "not an address"},
        {"weight": 0},
        {"drained_by_listing": True},
    ],
)
def test_bad_values_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        gateways.create(
            actor=SAM, **{"name": "mta01", "pool": "good", "hostname": "mta01.smg.example", **values}
        )
    assert not Gateway.objects.exists()


def test_a_person_may_drain_the_last_one(mta01: Gateway) -> None:
    assert gateways.drain(mta01, actor=SAM, reason="new disk")
    stored = Gateway.objects.get()
    assert stored.drained_at is not None
    assert (stored.drained_reason, stored.drained_by_listing) == ("new disk", False)
    assert not gateways.drain(mta01, actor=SAM, reason="again")


def test_a_reason_is_needed(mta01: Gateway) -> None:
    with pytest.raises(ValidationError):
        gateways.drain(mta01, actor=SAM, reason="  ")


def test_a_listing_never_drains_the_last_of_the_pool(mta01: Gateway, mta02: Gateway) -> None:
    gateways.create(actor=SAM, name="mta03", pool="bad", hostname="mta03.smg.example")
    assert gateways.drain(mta01, actor="system", reason="listed by zen", by_listing=True)
    with pytest.raises(ValidationError) as caught:
        gateways.drain(mta02, actor="system", reason="listed by zen", by_listing=True)
    assert caught.value.code == "last_of_pool"
    assert Gateway.objects.get(name="mta02").drained_at is None
    assert not gateways.drain(mta01, actor="system", reason="listed by another", by_listing=True)


def test_the_end_of_a_listing_ends_only_its_own_drain(mta01: Gateway, mta02: Gateway) -> None:
    gateways.drain(mta01, actor="system", reason="listed", by_listing=True)
    gateways.drain(mta02, actor=SAM, reason="new disk")
    assert gateways.undrain(mta01, actor="system", by_listing=True)
    assert not gateways.undrain(mta02, actor="system", by_listing=True)
    assert Gateway.objects.get(name="mta02").drained_at is not None
    assert gateways.undrain(mta02, actor=SAM)
    assert not gateways.undrain(mta02, actor=SAM)


def test_a_person_takes_over_an_automatic_drain(mta01: Gateway, mta02: Gateway) -> None:
    gateways.drain(mta01, actor="system", reason="listed", by_listing=True)
    since = mta01.drained_at
    assert gateways.drain(mta01, actor=SAM, reason="stays out")
    assert not gateways.undrain(mta01, actor="system", by_listing=True)
    assert Gateway.objects.get(pk=mta01.pk).drained_at == since


def test_change_and_remove(mta01: Gateway) -> None:
    assert gateways.change(mta01, actor=SAM, weight=3, pool="good") == ["weight"]
    with pytest.raises(ValidationError):
        gateways.remove(mta01, actor=SAM)
    gateways.drain(mta01, actor=SAM, reason="going")
    gateways.remove(mta01, actor=SAM)
    assert not Gateway.objects.exists()


def test_lifting_a_bar(mta01: Gateway) -> None:
    bar = Bar.objects.create(
        gateway=mta01, destination="gmx.example", until=timezone.now(), reason="554 blocked"
    )
    before = version()
    gateways.lift_bar(bar, actor=SAM)
    assert not Bar.objects.exists()
    assert version() > before
