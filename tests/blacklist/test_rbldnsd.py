"""The same questions to a real list server, with and without a resolver in front."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import override_settings

from gateway.config import Endpoint

pytestmark = [pytest.mark.django_db, pytest.mark.services]
HEAD = "$SOA 60 ns.lab. hostmaster.lab. 0 600 300 86400 60\n$NS 3600 ns.lab.\n$TTL 60\n"
ZONES = {
    "zen.lab": ("ip4set",
    HEAD + ":127.0.0.2:https://check.zen.lab/query/ip/$\n127.0.0.2 :127.0.0.2:Test\n127.0.0.2 :127.0.0.4:Test\n"
                "192.0.2.10 :127.0.0.2:SBL1\n198.51.100.0/24 :127.0.0.11:PBL range\n!198.51.100.77\n"),
    "v6.lab": ("ip6trie",
    HEAD + ":127.0.0.2:IPv6\n::ffff:7f00:2 :127.0.0.2:Test\n2001:db8:bad::/48 :127.0.0.3:range\n"
                "2001:db8:1:2::/64\n!2001:db8:1:2::25\n"),
    "dbl.lab": ("dnset",
    HEAD + "TEST :127.0.1.2:Test\nspam.example :127.0.1.2:spam\n.phish.example :127.0.1.4:phish\n"
                "xn--mller-kva.example :127.0.1.2:IDN\n"),
    "err.lab": ("ip4trie", HEAD + "0.0.0.0/0 :127.255.255.254:Error: open resolver\n"),
    "wild.lab": ("ip4trie", HEAD + "0.0.0.0/0 :127.0.0.2:list shut down\n"),
    "parked.lab": ("ip4trie", HEAD + "0.0.0.0/0 :203.0.113.80:parked\n"),
    "empty.lab": ("ip4set", HEAD),
}  # fmt: skip
LISTS = """slug,name,zone,kind,return_codes,error_codes,severity,removal_method,status_as_known
spamhaus-zen,Zen,zen.lab,ip4,127.0.0.2=SBL;127.0.0.4=XBL;127.0.0.11=PBL,127.255.255.254=public,critical,form,active
v6,V6,v6.lab,ip6,127.0.0.2=listed;127.0.0.3=range,,major,form,active
dbl,Dbl,dbl.lab,domain,127.0.1.2=spam;127.0.1.4=phish,,critical,form,active
err,Err,err.lab,ip4,127.0.0.2=listed,127.255.255.254=public,major,form,active
wild,Wild,wild.lab,ip4,127.0.0.2=listed,,major,form,active
parked,Parked,parked.lab,ip4,127.0.0.2=listed,,major,form,active
empty,Empty,empty.lab,ip4,127.0.0.2=listed,,major,form,active
"""
TABLE = [
    ("192.0.2.10", "gateway", {"spamhaus-zen": "listed"}),
    ("192.0.2.11", "gateway", {"spamhaus-zen": "not_listed"}),
    ("198.51.100.5", "customer_ip", {"spamhaus-zen": "listed"}),
    ("198.51.100.77", "customer_ip", {"spamhaus-zen": "not_listed"}),
    ("2001:db8:bad::7", "gateway", {"v6": "listed"}),
    ("2001:db8:1:2::7", "gateway", {"v6": "listed"}),
    ("2001:db8:1:2::25", "gateway", {"v6": "not_listed"}),
    ("spam.example", "domain", {"dbl": "listed"}),
    ("www.spam.example", "domain", {"dbl": "listed"}),
    ("a.b.phish.example", "domain", {"dbl": "listed"}),
    ("müller.example", "domain", {"dbl": "listed"}),
    ("good.example", "domain", {"dbl": "not_listed"}),
]


@pytest.fixture
def rbldnsd(start_rbldnsd):
    return start_rbldnsd(ZONES)


@pytest.fixture
def lists(tmp_path, db):
    path = tmp_path / "lists.csv"
    path.write_text(LISTS)
    call_command("load_providers", str(path), "--replace", stdout=StringIO())


def ask(endpoint, target, role):
    host, port = endpoint.rsplit(":", 1)
    with override_settings(SMG=replace(settings.SMG, dnsbl_nameservers=(Endpoint(host, int(port)),))):
        out = StringIO()
        call_command("check_blacklists", "--target", target, "--role", role, "--json", stdout=out)
    return {row["provider"]: row for row in json.loads(out.getvalue())["results"]}


def check_table(endpoint):
    for target, role, expected in TABLE:
        found = ask(endpoint, target, role)
        assert {slug: found[slug]["status"] for slug in expected} == expected, target
    broken = ask(endpoint, "192.0.2.10", "gateway")
    assert {slug: broken[slug]["status"] for slug in ("err", "wild", "parked", "empty")} == {
        "err": "provider_error", "wild": "dead_list", "parked": "dead_list", "empty": "dead_list",
    }  # fmt: skip
    assert ask(endpoint, "198.51.100.5", "gateway")["spamhaus-zen"]["severity"] == "critical"
    assert ask(endpoint, "198.51.100.5", "customer_ip")["spamhaus-zen"]["severity"] == "informational"


def test_rbldnsd_itself(rbldnsd, lists):
    check_table(rbldnsd.endpoint)


def test_through_an_own_resolver(rbldnsd, start_unbound, lists):
    resolver = start_unbound({"lab.": rbldnsd.endpoint})
    check_table(resolver.endpoint)
