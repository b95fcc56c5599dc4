"""The command line, against a DNS server that misbehaves in every way a list or a resolver can."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from blacklist.control.facts import DATA
from blacklist.models import Provider, Target
from gateway.config import Endpoint
from tests.dns_server import DnsServer
from tests.factories import make_gateway

pytestmark = pytest.mark.django_db
HEAD = (
    "slug,name,zone,kind,return_codes,error_codes,severity,needs_key,removal_method,test_positive,test_negative,"
    "status_as_known,answer_mode"
)
ROWS = """
zen,Zen,zen.lab,ip4+ip6,127.0.0.2=SBL;127.0.0.4=XBL;127.0.0.11=PBL,127.255.255.254=public,critical,no,form,2.0.0.127,1.0.0.127,active,codes
dbl,Dbl,dbl.lab,domain,127.0.1.2=spam,127.0.1.255=address asked,critical,no,form,TEST,INVALID,active,codes
bits,B,bits.lab,domain,2=black;4=grey,1=no;127.0.0.255=many,major,no,form,TEST,INVALID,active,bitmask (fourth octet)
wild,Wild,wild.lab,ip4,127.0.0.2=listed,,major,no,form,2.0.0.127,1.0.0.127,active,codes
parked,Parked,parked.lab,ip4,127.0.0.2=listed,,major,no,form,2.0.0.127,1.0.0.127,active,codes
empty,Empty,empty.lab,ip4,127.0.0.2=listed,,major,no,form,2.0.0.127,1.0.0.127,active,codes
servfail,Servfail,servfail.lab,ip4,127.0.0.2=listed,,major,no,form,2.0.0.127,1.0.0.127,active,codes
forged,Forged,forged.lab,ip4,127.0.0.2=listed,,major,no,form,2.0.0.127,1.0.0.127,active,codes
tcp,Tcp,tcp.lab,ip4,127.0.0.2=listed,,major,no,form,2.0.0.127,1.0.0.127,active,codes
slow,Slow,slow.lab,ip4,127.0.0.2=listed,,major,no,form,2.0.0.127,1.0.0.127,active,codes
keyed,Keyed,{key}.keyed.lab,ip4,127.0.0.2=listed,,major,yes,form,2.0.0.127,1.0.0.127,active,codes
unsure,Unsure,unsure.lab,ip4,127.0.0.2=listed,,major,no,form,2.0.0.127,1.0.0.127,unconfirmed,codes
sorbs,Sorbs,spam.dnsbl.sorbs.net,ip4,127.0.0.2=listed,,major,no,form,2.0.0.127,1.0.0.127,active,codes
""".strip()
HIT, CLEAN = "10.2.0.192", "77.2.0.192"


@pytest.fixture
def lists(tmp_path):
    path = tmp_path / "lists.csv"
    path.write_text(f"{HEAD}\n{ROWS}\n")
    return str(path)


@pytest.fixture
def server(dns_server: DnsServer):
    add = dns_server.add
    for zone in ("zen.lab", "tcp.lab", "slow.lab", "forged.lab", "servfail.lab"):
        add(f"2.0.0.127.{zone}", "A", "127.0.0.2")
        add(f"{HIT}.{zone}", "A", "127.0.0.2")
        add(f"{HIT}.{zone}", "TXT", "see https://zen.lab/192.0.2.10")
    add("*.wild.lab", "A", "127.0.0.2")
    add("*.parked.lab", "A", "203.0.113.80")
    add("empty.lab", "A", "192.0.2.99")
    for zone, code in (("dbl.lab", "127.0.1.2"), ("bits.lab", "127.0.0.2")):
        add(f"test.{zone}", "A", code)
    add("spam.example.dbl.lab", "A", "127.0.1.2")
    add("xn--mller-kva.example.dbl.lab", "A", "127.0.1.2")
    add("spam.example.bits.lab", "A", "127.0.0.6")
    add("2.0.0.0.0.0.f.7.f.f.f.f" + ".0" * 20 + ".zen.lab", "A", "127.0.0.2")
    add("1." + "0." * 23 + "8.b.d.0.1.0.0.2.zen.lab", "A", "127.0.0.4")
    for name in (f"2.0.0.127.{zone}" for zone in ("servfail.lab",)):
        dns_server.fail(name, "servfail")
    for name in (f"{HIT}.forged.lab", f"{CLEAN}.forged.lab"):
        dns_server.fail(name, "wrong_id")
    for name in ("2.0.0.127.tcp.lab", "1.0.0.127.tcp.lab", f"{HIT}.tcp.lab", f"{CLEAN}.tcp.lab"):
        dns_server.fail(name, "truncate")
    dns_server.delay(f"{HIT}.slow.lab", 0.1)
    with override_settings(SMG=_config(dns_server)):
        yield dns_server


def _config(server):
    from dataclasses import replace

    from django.conf import settings

    return replace(settings.SMG, dnsbl_nameservers=(Endpoint(server.host, server.port),))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Silence is silence after a fraction of a second, too."""
    monkeypatch.setattr("blacklist.probe.asker.TIMEOUT_S", 0.5)
    original = __import__("blacklist.probe.asker", fromlist=["DnsAsker"]).DnsAsker
    monkeypatch.setattr("blacklist.probe.check.DnsAsker", lambda servers: original(servers, timeout_s=0.5))


def run(*args):
    out = StringIO()
    call_command(*args, stdout=out, stderr=StringIO())
    return out.getvalue()


def results(target, role):
    document = json.loads(run("check_blacklists", "--target", target, "--role", role, "--json"))
    assert all(
        set(row) == {"target", "provider", "status", "codes", "reason", "severity"}
        for row in document["results"]
    )
    return {row["provider"]: row for row in document["results"]}


def test_every_way_to_answer(server, lists):
    run("load_providers", lists, "--replace")
    found = results("192.0.2.10", "gateway")
    assert {slug: row["status"] for slug, row in found.items()} == {
        "zen": "listed", "tcp": "listed", "slow": "listed", "wild": "dead_list", "parked": "dead_list",
        "empty": "dead_list",
        "servfail": "provider_error", "forged": "timeout", "dbl": "not_applicable", "bits": "not_applicable",
        "keyed": "not_applicable", "unsure": "not_applicable", "sorbs": "dead_list",
    }  # fmt: skip
    assert found["zen"] | {"reason": ""} == {
        "target": "192.0.2.10", "provider": "zen", "status": "listed", "codes": ["127.0.0.2"], "reason": "",
        "severity": "critical",
    }  # fmt: skip
    assert found["zen"]["reason"] == "SBL - see https://zen.lab/192.0.2.10"
    clean = results("192.0.2.77", "gateway")
    assert {slug for slug, row in clean.items() if row["status"] == "not_listed"} == {"zen", "tcp", "slow"}
    assert not {slug for slug, row in clean.items() if row["status"] == "listed"}


def test_dead_off_and_unfit_lists_are_never_asked(server, lists):
    run("load_providers", lists, "--replace")
    results("192.0.2.10", "gateway")
    asked = {name for name, _ in server.asked}
    assert not [
        name
        for name in asked
        if name.endswith(("sorbs.net", "keyed.lab", "unsure.lab", "dbl.lab", "bits.lab"))
    ]


def test_ipv6_and_its_test_entries(server, lists):
    run("load_providers", lists, "--replace")
    found = results("2001:db8::1", "customer_ip")
    assert (found["zen"]["status"], found["zen"]["codes"], found["zen"]["severity"]) == (
        "listed",
        ["127.0.0.4"],
        "major",
    )
    assert found["wild"]["status"] == "not_applicable"


def test_domains(server, lists):
    run("load_providers", lists, "--replace")
    found = results("mail.spam.example", "domain")
    assert (found["dbl"]["status"], found["bits"]["status"], found["bits"]["codes"]) == (
        "listed",
        "listed",
        ["127.0.0.6"],
    )
    assert "black, grey" in found["bits"]["reason"]
    assert results("müller.example", "domain")["dbl"]["status"] == "listed"
    assert results("co.uk", "domain")["dbl"]["status"] == "not_applicable"
    asked = {name for name, _ in server.asked}
    assert "mail.spam.example.dbl.lab" in asked
    assert not {"example.dbl.lab", "co.uk.dbl.lab", "uk.dbl.lab"} & asked


def test_txt_is_asked_for_hits_only(server, lists):
    run("load_providers", lists, "--replace")
    results("192.0.2.77", "gateway")
    assert not [name for name, rdtype in server.asked if rdtype == "TXT"]


def test_one_target_leaves_no_trace(server, lists):
    run("load_providers", lists, "--replace")
    results("192.0.2.10", "gateway")
    assert not Target.objects.exists()
    assert json.loads(run("tickets", "--json")) == {"tickets": []}
    assert json.loads(run("alerts", "--json")) == {"alerts": []}


@pytest.mark.parametrize(
    "args",
    [("--target", "not a target"), ("--target", "192.0.2.1", "--role", "domain"), ("--role", "gateway")],
)
def test_nonsense_is_an_error_in_words(server, lists, args):
    run("load_providers", lists, "--replace")
    with pytest.raises(CommandError):
        run("check_blacklists", *args)


def test_the_whole_check_records_and_tells(server, lists, monkeypatch):
    monkeypatch.setattr("blacklist.control.runs.CONFIRM_AFTER_S", 0)
    from blacklist.control import runs

    options = runs.Options(confirm_after_s=0, resolver=None)
    monkeypatch.setattr("blacklist.management.commands.check_blacklists.manual_options", lambda: options)
    make_gateway("mta01", source_ip="192.0.2.10", hostname="mta01")
    run("load_providers", lists, "--replace")
    document = json.loads(run("check_blacklists", "--json"))
    listed = {row["provider"] for row in document["results"] if row["status"] == "listed"}
    assert listed == {"zen", "tcp", "slow"}
    tickets = json.loads(run("tickets", "--json"))["tickets"]
    assert {(one["target"], one["provider"], one["state"]) for one in tickets} == {
        ("192.0.2.10", slug, "open") for slug in ("zen", "tcp", "slow")
    }
    assert {"opened", "closed"} <= set(tickets[0])
    alerts = json.loads(run("alerts", "--json"))["alerts"]
    assert {(one["provider"], one["kind"]) for one in alerts} == {
        (slug, "listed") for slug in ("zen", "tcp", "slow")
    }
    again = json.loads(run("check_blacklists", "--json"))
    assert len(again["results"]) == len(document["results"])
    assert len(json.loads(run("alerts", "--json"))["alerts"]) == 3
    assert "192.0.2.10" in run("tickets")
    assert "listed" in run("alerts")
    assert "zen" in run("check_blacklists")


def test_the_shipped_set_loads_by_itself():
    assert "87 lists loaded" in run("load_providers")
    assert Provider.objects.filter(known="dead", enabled=True).count() == 0


def test_a_file_that_is_no_list_of_lists(tmp_path):
    for name, text, words in [
        ("a.csv", "x,y\n1,2\n", "columns are missing: kind, slug, zone"),
        ("b.csv", "slug,zone,kind\na,b.lab,ip9\n", "kind"),
        ("c.csv", "slug,zone,kind\n,b.lab,ip4\n", "without a slug"),
        ("d.csv", "slug,zone,kind\na,b.lab,ip4,more\n", "line 2"),
        ("e.csv", "slug,zone,kind\na,not a zone,ip4\n", "zone"),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(CommandError, match=words):
            run("load_providers", str(tmp_path / name))
    with pytest.raises(CommandError):
        run("load_providers", str(tmp_path / "missing.csv"))
    assert not Provider.objects.exists()


def test_replace_keeps_lists_with_a_history_switched_off(server, lists, tmp_path):
    run("load_providers", lists, "--replace")
    (tmp_path / "one.csv").write_text("slug,zone,kind,return_codes\nnew,new.lab,ip4,127.0.0.2=x\n")
    run("load_providers", str(tmp_path / "one.csv"), "--replace")
    assert list(Provider.objects.values_list("slug", flat=True)) == ["new"]
    from blacklist.control.providers import ensure_providers

    assert ensure_providers() == 6  # reputation systems without DNS are in no file of lists
    run("load_providers", str(tmp_path / "one.csv"), "--replace")
    assert Provider.objects.filter(slug="t-online").exists()


def test_the_key_is_a_secret(server, lists, tmp_path, caplog):
    (tmp_path / "keyed.csv").write_text(
        f"{HEAD},key\n"
        + "\n".join(f"{row},{'TOPSECRET' if row.startswith('keyed') else ''}" for row in ROWS.splitlines())
    )
    server.add("2.0.0.127.topsecret.keyed.lab", "A", "127.0.0.2")
    server.add(f"{HIT}.topsecret.keyed.lab", "A", "127.0.0.2")
    out = run("load_providers", str(tmp_path / "keyed.csv"))
    provider = Provider.objects.get(slug="keyed")
    assert provider.enabled
    assert "topsecret" not in (out + provider.key_encrypted + provider.zone + repr(provider.__dict__)).lower()
    out = run("check_blacklists", "--target", "192.0.2.10", "--role", "gateway", "--json")
    assert {row["provider"]: row["status"] for row in json.loads(out)["results"]}["keyed"] == "listed"
    assert "topsecret" not in (out + caplog.text).lower()


def test_the_shipped_files_are_the_projects_own():
    assert {path.name for path in DATA.glob("*.csv")} == {"providers.csv", "codes.csv", "reputation.csv"}
