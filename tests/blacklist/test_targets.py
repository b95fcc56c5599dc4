"""What is watched: from the configuration, each thing once."""

import pytest
from django.utils import timezone

from blacklist.control import apply_providers, apply_targets
from blacklist.control.facts import FactsError
from blacklist.control.targets import TargetError, sync_targets
from blacklist.models import Provider, Target
from gateway.models import SourceNetwork
from tests.factories import make_domain, make_gateway, make_message

pytestmark = pytest.mark.django_db


def watched():
    sync_targets()
    return {target.value: target.role for target in Target.objects.filter(is_active=True)}


def test_gateways_with_both_addresses_and_their_helo_name():
    make_gateway("mta01", source_ip="192.0.2.10", source_ip6="2001:db8::10", hostname="mta01.smg.example")
    assert watched() == {"192.0.2.10": "gateway", "2001:db8::10": "gateway", "mta01.smg.example": "gateway"}


def test_only_proven_domains(acme):
    make_domain(acme, "acme.example")
    make_domain(acme, "someone-elses.example", proven=False)
    assert watched() == {"acme.example": "domain"}


def test_small_networks_are_watched_whole_large_ones_where_they_sent(acme):
    SourceNetwork.objects.create(customer=acme, network="192.0.2.0/30")
    SourceNetwork.objects.create(customer=acme, network="198.51.0.0/16")
    SourceNetwork.objects.create(customer=acme, network="2001:db8::/64")
    make_message(acme, client_ip="198.51.100.7", at=timezone.now())
    make_message(acme, client_ip="2001:db8::25", at=timezone.now())
    make_message(acme, client_ip="203.0.113.9", at=timezone.now())  # in none of the networks
    assert set(watched()) == {"192.0.2.1", "192.0.2.2", "198.51.100.7", "2001:db8::25"}


def test_private_addresses_and_test_entries_are_nobodys_business(acme):
    make_gateway("mta01", source_ip="10.0.0.5", hostname="localhost")
    make_gateway("mta02", source_ip="127.0.0.2", hostname="mta02")
    SourceNetwork.objects.create(customer=acme, network="192.168.1.1/32")
    SourceNetwork.objects.create(customer=acme, network="127.0.0.0/30")
    assert watched() == {}


def test_one_address_of_two_customers_is_one_target(acme, globex):
    for customer in (acme, globex):
        SourceNetwork.objects.create(customer=customer, network="192.0.2.7")
    assert watched() == {"192.0.2.7": "customer_ip"}
    assert set(Target.objects.get().customers.all()) == {acme, globex}


def test_our_gateway_beats_a_customers_claim(acme):
    SourceNetwork.objects.create(customer=acme, network="192.0.2.10")
    make_gateway("mta01", source_ip="192.0.2.10", hostname="mta01")
    assert watched() == {"192.0.2.10": "gateway"}
    apply_targets([{"value": "192.0.2.10", "role": "customer_ip"}])
    assert watched() == {"192.0.2.10": "gateway"}


def test_what_is_gone_is_watched_no_more_and_what_was_added_by_hand_stays(acme):
    domain = make_domain(acme, "acme.example")
    apply_targets([{"value": "203.0.113.5", "note": "partner"}])
    assert set(watched()) == {"acme.example", "203.0.113.5"}
    domain.delete()
    assert set(watched()) == {"203.0.113.5"}
    assert Target.objects.count() == 2  # its history stays


def test_applying_twice_changes_nothing(acme):
    rows = [
        {"value": "192.0.2.20", "role": "customer_ip", "customers": ["acme"]},
        {"target": "Müller.example"},
    ]
    assert apply_targets(rows, check=True) == ["target 192.0.2.20: new", "target xn--mller-kva.example: new"]
    assert not Target.objects.exists()
    assert len(apply_targets(rows)) == 2
    assert apply_targets(rows) == []
    assert Target.objects.get(value="192.0.2.20").customers.get() == acme
    assert apply_targets([{**rows[0], "note": "x"}]) == ["target 192.0.2.20: changed"]


@pytest.mark.parametrize(
    ("row", "words"),
    [({"value": "nonsense"}, "neither"), ({"value": "192.0.2.1", "role": "king"}, "king"),
    ({"value": "192.0.2.1", "customer": "nobody"}, "nobody"),
     ({"value": "192.0.2.1", "gateway": "none"}, "none")],
)  # fmt: skip
def test_bad_rows_say_what_is_wrong(row, words):
    with pytest.raises(TargetError, match=words):
        apply_targets([row])


def test_providers_are_applied_the_same_way():
    row = {
        "slug": "own",
        "name": "Own",
        "zone": "bl.own.example",
        "kind": "ip4",
        "return_codes": "127.0.0.2=listed",
        "severity": "major",
    }
    assert apply_providers([row], check=True) == ["provider own: new"]
    assert not Provider.objects.exists()
    assert apply_providers([row]) == ["provider own: new"]
    assert apply_providers([row]) == []
    assert apply_providers([row | {"severity": "minor", "enabled": False}]) == [
        "provider own: enabled, severity"
    ]
    with pytest.raises(FactsError, match="kind"):
        apply_providers([row | {"kind": "ip5"}])


def test_a_dead_list_stays_off_even_if_somebody_insists():
    apply_providers(
        [
            {
                "slug": "zombie",
                "zone": "dul.sorbs.net",
                "kind": "ip4",
                "return_codes": "127.0.0.2=x",
                "enabled": True,
            }
        ]
    )
    provider = Provider.objects.get()
    assert (provider.known, provider.enabled) == ("dead", False)
